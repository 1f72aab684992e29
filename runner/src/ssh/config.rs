//! `~/.ssh/config`: what an alias stands for.

use std::io;
use std::path::{Path, PathBuf};

use ssh2_config::{ParseRule, SshConfig};

use super::SshError;

/// What the configuration says of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`s, with `~` and tokens replaced.
    pub identity_files: Vec<PathBuf>,
    /// `ProxyJump`, each as `[user@]host[:port]`, the nearest first; empty for `none`.
    pub jumps: Vec<String>,
}

/// Looks `host` up in the configuration file at `path`, and in those that it includes; one that
/// does not exist says nothing.
///
/// Of `Match`, `all`, `host` and `originalhost` are understood, and only in the file itself; what
/// stands under other conditions is passed over. Tokens are `%%`, `%h`, `%n`, `%p`, `%r`, `%d` and
/// `%u`.
///
/// # Errors
///
/// [`SshError::Config`]: it cannot be read, or uses another token.
pub fn look_up(path: &Path, host: &str) -> Result<HostConfig, SshError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HostConfig::default()),
        Err(error) => return Err(SshError::config(path, error)),
    };
    // `~` is the home of whom the file belongs to.
    let home = path.parent().filter(|directory| directory.ends_with(".ssh"));
    let home = home.and_then(Path::parent).map(Path::to_owned).or_else(std::env::home_dir);
    let home = home.unwrap_or_default();
    let rule = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    let found = SshConfig::default()
        .home_dir(&home)
        .parse(&mut without_match(&text).as_bytes(), rule)
        .map_err(|error| SshError::config(path, error))?
        .query(host);

    let user = found.user.clone();
    let mut tokens = Tokens { path, original: host, host, home: &home, port: found.port, user };
    let host_name = found.host_name.map(|name| tokens.replace(&name)).transpose()?;
    tokens.host = host_name.as_deref().unwrap_or(host);
    let files = found.identity_file.unwrap_or_default();
    let files = files.iter().filter(|file| !file.as_os_str().eq_ignore_ascii_case("none"));
    let identity_files = files
        .map(|file| tokens.replace(&file.to_string_lossy()).map(PathBuf::from))
        .collect::<Result<_, _>>()?;
    let jumps = found.proxy_jump.unwrap_or_default();
    let jumps = jumps.iter().map(|jump| jump.trim()).filter(|jump| !jump.is_empty());
    let jumps = jumps
        .filter(|jump| !jump.eq_ignore_ascii_case("none"))
        .map(|jump| tokens.replace(jump))
        .collect::<Result<_, _>>()?;
    Ok(HostConfig { port: found.port, user: found.user, identity_files, jumps, host_name })
}

/// Writes what is understood of `Match` as `Host`, which the parser knows. Without that, what
/// stands under `Match` would count as a part of the section before.
fn without_match(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let words: Vec<_> =
            line.split([' ', '\t', '=', '"']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [first, conditions @ ..] if first.eq_ignore_ascii_case("match") => {
                lines.push_str(&as_host(conditions));
            }
            _ => lines.push_str(line),
        }
        lines.push('\n');
    }
    lines
}

fn as_host(conditions: &[&str]) -> String {
    match conditions {
        [all] if all.eq_ignore_ascii_case("all") => "Host *".to_owned(),
        [name, patterns]
            if ["host", "originalhost"].iter().any(|known| name.eq_ignore_ascii_case(known)) =>
        {
            format!("Host {}", patterns.replace(',', " "))
        }
        // Nobody.
        _ => "Host !*".to_owned(),
    }
}

/// What tokens stand for.
struct Tokens<'a> {
    path: &'a Path,
    original: &'a str,
    host: &'a str,
    home: &'a Path,
    port: Option<u16>,
    user: Option<String>,
}

impl Tokens<'_> {
    fn replace(&self, text: &str) -> Result<String, SshError> {
        let mut replaced = String::new();
        let mut rest = text.chars();
        while let Some(letter) = rest.next() {
            if letter != '%' {
                replaced.push(letter);
                continue;
            }
            let token = rest.next();
            let value = token.and_then(|token| self.value(token)).ok_or_else(|| {
                let token = token.map(String::from).unwrap_or_default();
                SshError::config(self.path, format!("%{token} in {text:?} is not known"))
            })?;
            replaced.push_str(&value);
        }
        Ok(replaced)
    }

    fn value(&self, token: char) -> Option<String> {
        let local_user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        Some(match token {
            '%' => "%".to_owned(),
            'h' => self.host.to_owned(),
            'n' => self.original.to_owned(),
            'p' => self.port.unwrap_or(22).to_string(),
            'd' => self.home.display().to_string(),
            'u' => local_user()?,
            'r' => self.user.clone().or_else(local_user)?,
            _ => return None,
        })
    }
}
