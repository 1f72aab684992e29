//! Programs that keep logins: `docker-credential-NAME`.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::engine::RegistryLogin;
use crate::host::HostVariables;
use crate::process_group::{self, Ended, Limits, Stream};

use super::LoginError;

/// How long a helper may take: it may ask another machine, and nobody can be asked a question.
const LIMIT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(500);

/// More than any answer has.
const ANSWER_LIMIT: usize = 1 << 20;

/// As helpers write it. Has no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for the login of `registry`. `None`: it has none.
pub(super) fn ask(
    name: &str,
    registry: &str,
    variables: &HostVariables,
    cancel: &AtomicBool,
) -> Result<Option<RegistryLogin>, LoginError> {
    let program = format!("docker-credential-{name}");
    let failed = |message: String| LoginError::Helper {
        program: program.clone(),
        registry: registry.to_owned(),
        message,
    };
    if !is_plain(name) {
        return Err(failed("that is no program's name".to_owned()));
    }
    let path = find(&program, variables).ok_or_else(|| failed("there is none".to_owned()))?;

    let input = said(registry).map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(path);
    command.arg("get").env_clear().envs(variables.iter());
    let limits = Limits { cancel, deadline: Some(Instant::now() + LIMIT), grace: GRACE };
    let mut answer = Vec::new();
    let ended = process_group::run_with(&mut command, input, &limits, &mut |stream, bytes| {
        if stream == Stream::Stdout && answer.len() < ANSWER_LIMIT {
            answer.extend_from_slice(bytes);
        }
    });
    match ended {
        Err(error) => Err(failed(error.to_string())),
        Ok(Ended::TimedOut) => Err(failed(format!("no answer within {LIMIT:?}"))),
        Ok(Ended::Cancelled) => Err(failed("cancelled".to_owned())),
        Ok(Ended::Exited(status)) if status.success() => match serde_json::from_slice(&answer) {
            Ok(Answer { username, secret }) => {
                let address = registry.to_owned();
                Ok(Some(RegistryLogin { address, username, password: secret.into() }))
            }
            // What it wrote may be a secret.
            Err(_) => Err(failed("its answer is not understood".to_owned())),
        },
        Ok(Ended::Exited(_)) if says_none(&answer) => Ok(None),
        Ok(Ended::Exited(status)) => Err(failed(status.to_string())),
    }
}

/// What `docker-credential-helpers` prints where a registry is not known: that is no failure.
fn says_none(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    text.contains("credentials not found") || text.contains("no credentials server URL")
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn find(program: &str, variables: &HostVariables) -> Option<PathBuf> {
    let path = variables.get("PATH")?;
    // A directory that depends on where we are is nobody's wish.
    let directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Returns what a program reads `text` from, and then the end.
fn said(text: &str) -> std::io::Result<Stdio> {
    let (reader, mut writer) = std::io::pipe()?;
    // Short enough for a pipe to hold.
    writer.write_all(text.as_bytes())?;
    Ok(Stdio::from(OwnedFd::from(reader)))
}

#[cfg(test)]
mod tests;
