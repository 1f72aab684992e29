//! Virtual environments from requirements files, by uv where it is found, else by pip.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use snapshots::path_error::IoContext;

use super::failure::{BuildError, FailedBuild, FailureCause, last_lines};
use super::{Built, IndexSettings, Watch, variables};
use crate::definition::requirements::{LineKind, Requirements};
use crate::host::HostVariables;
use crate::interpreter::{self, InterpreterFacts};
use crate::process_group::{self, Ended, Limits};

/// The directories of a build.
const VENV: &str = "venv";
const REQUIREMENTS: &str = "requirements";

/// How long a tool has to end when it is asked to.
const GRACE: Duration = Duration::from_secs(3);

/// How long listing the packages may take.
const PACKAGES_DEADLINE: Duration = Duration::from_secs(60);

/// How much of the end of the log is kept in memory, to tell why a build failed.
const TAIL_BYTES: usize = 32 * 1024;

/// What is to be built, and where.
pub(crate) struct Plan<'a> {
    /// Of the interpreter to base it on.
    pub(crate) base: &'a InterpreterFacts,
    pub(crate) requirements: &'a Requirements<'a>,
    pub(crate) host: &'a HostVariables,
    pub(crate) settings: &'a IndexSettings,
    /// Exists and is empty.
    pub(crate) directory: &'a Path,
    /// Where uv may be if it is not on `PATH`.
    pub(crate) tools: &'a Path,
}

/// Returns the directory of the virtual environment within that of the build.
pub(crate) fn prefix(directory: &Path) -> PathBuf {
    directory.join(VENV)
}

/// Builds what `plan` says.
pub(crate) fn build(plan: &Plan<'_>, watch: &mut Watch<'_>) -> Result<Built, BuildError> {
    let mut environment = variables::for_build(plan.host, plan.requirements)?;
    environment.insert(watch.marker.0.into(), watch.marker.1.into());
    write_requirements(plan.requirements, &plan.directory.join(REQUIREMENTS))?;
    // Relative to the directory of the build, where the tools run: their messages are for people.
    let requirements = Path::new(REQUIREMENTS).join(file_path(plan.requirements, 0));
    let mut steps = Steps { plan, watch, environment, tail: Vec::new() };
    let need_pip = plan.settings.need_pip() || plan.requirements.have_variables_outside_urls();
    let uv = if need_pip { None } else { find_uv(plan) };
    let built_by = match uv {
        Some(uv) => steps.with_uv(&uv, &requirements)?,
        None => steps.with_pip(&requirements)?,
    };
    let python = prefix(plan.directory).join("bin/python");
    let facts = interpreter::describe(&python)?;
    let packages = interpreter::packages(&python, PACKAGES_DEADLINE)?;
    Ok(Built {
        python_version: Some(facts.version.clone()),
        python: Some(facts),
        packages,
        lock: Vec::new(),
        built_by,
        image: None,
    })
}

fn find_uv(plan: &Plan<'_>) -> Option<PathBuf> {
    let search_path = plan.host.get("PATH").unwrap_or_default();
    let both = std::env::join_paths(
        std::env::split_paths(search_path).chain([plan.tools.to_owned(), plan.tools.join("bin")]),
    );
    interpreter::on_path(OsStr::new("uv"), &both.ok()?)
}

/// Writes the files into `directory`.
///
/// Each gets a directory of its own, and references between them are written anew: no name from a
/// definition becomes a path, and nothing but these files is read.
fn write_requirements(requirements: &Requirements<'_>, directory: &Path) -> Result<(), BuildError> {
    for (at, file) in requirements.files.iter().enumerate() {
        // Line by line, so that the line numbers in a tool's messages are the user's.
        let mut lines: Vec<String> = file.text.lines().map(str::to_owned).collect();
        for (index, line) in file.lines.iter().enumerate() {
            let LineKind::Include { constraint, .. } = line.kind else { continue };
            let option = if constraint { "-c" } else { "-r" };
            let start = line.number - 1;
            lines[start..start + line.span].fill(String::new());
            lines[start] =
                format!("{option} ../{}", file_path(requirements, file.includes[&index]).display());
        }
        let path = directory.join(file_path(requirements, at));
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).context("create", parent)?;
        fs::write(&path, lines.join("\n") + "\n").context("write", &path)?;
    }
    Ok(())
}

/// Returns where the file of that number is written: a directory of its own, and a plain name.
fn file_path(requirements: &Requirements<'_>, at: usize) -> PathBuf {
    let name = Path::new(requirements.files[at].name).file_name().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    Path::new(&at.to_string()).join(name.to_string_lossy().chars().map(plain).collect::<String>())
}

struct Steps<'a, 'b> {
    plan: &'a Plan<'a>,
    watch: &'a mut Watch<'b>,
    environment: BTreeMap<OsString, OsString>,
    tail: Vec<u8>,
}

impl Steps<'_, '_> {
    fn with_uv(&mut self, uv: &Path, requirements: &Path) -> Result<String, BuildError> {
        let version = self.version(uv, &["--version"]);
        self.environment.extend(self.plan.settings.uv_variables(self.plan.host));
        let python = &self.plan.base.base_executable;
        // By variable: older versions have no such option.
        self.environment.insert("UV_PYTHON_DOWNLOADS".into(), "never".into());
        let make: [&OsStr; 5] = [
            "venv".as_ref(),
            "--no-project".as_ref(),
            "--python".as_ref(),
            python.as_ref(),
            VENV.as_ref(),
        ];
        self.step("uv", "make the virtual environment", uv, &make)?;
        let python = Path::new(VENV).join("bin/python");
        // uv compiles no bytecode unless it is told to: that took 16 of the 18 s of a build with
        // scikit-learn and pandas, where a script that uses them imports a tenth of the modules.
        let mut install: Vec<&OsStr> = vec!["pip".as_ref(), "install".as_ref()];
        install.extend(self.plan.settings.uv_arguments().into_iter().map(OsStr::new));
        install.extend([
            OsStr::new("--python"),
            python.as_ref(),
            "-r".as_ref(),
            requirements.as_ref(),
        ]);
        self.step("uv", "install the requirements", uv, &install)?;
        Ok(version.unwrap_or_else(|| "uv".to_owned()))
    }

    fn with_pip(&mut self, requirements: &Path) -> Result<String, BuildError> {
        let python = &self.plan.base.base_executable;
        let make: [&OsStr; 4] = ["-I".as_ref(), "-m".as_ref(), "venv".as_ref(), VENV.as_ref()];
        self.step("venv", "make the virtual environment", python, &make)?;
        let python = prefix(self.plan.directory).join("bin/python");
        let install: Vec<&OsStr> = [
            "-I",
            "-m",
            "pip",
            "install",
            "--no-input",
            // As uv does.
            "--no-compile",
            "--disable-pip-version-check",
            "--progress-bar=off",
            "--requirement",
        ]
        .iter()
        .map(OsStr::new)
        .chain([requirements.as_os_str()])
        .collect();
        self.step("pip", "install the requirements", &python, &install)?;
        let version = self.version(&python, &["-I", "-m", "pip", "--version"]);
        Ok(version.unwrap_or_else(|| "pip".to_owned()))
    }

    /// Runs one step, which `tool` does.
    fn step(
        &mut self,
        tool: &str,
        what: &str,
        program: &Path,
        arguments: &[&OsStr],
    ) -> Result<(), BuildError> {
        let shown = program.strip_prefix(self.plan.directory).unwrap_or(program);
        let mut announced = format!("+ {}", shown.display());
        for argument in arguments {
            announced = announced + " " + &argument.display().to_string();
        }
        self.say(format!("{announced}\n").as_bytes());
        let mut command = Command::new(program);
        // Where no pyproject.toml or uv.toml of somebody else is above.
        command.args(arguments).env_clear().envs(&self.environment);
        command.current_dir(self.plan.directory);
        let limits = Limits { cancel: self.watch.cancel, deadline: None, grace: GRACE };
        let (log, tail) = (&mut self.watch.log, &mut self.tail);
        let ended = process_group::run(&mut command, &limits, &mut |_, bytes| {
            log(bytes);
            keep_tail(tail, bytes);
        })
        .map_err(|source| BuildError::Run { program: program.to_owned(), source })?;
        let status = match ended {
            Ended::Cancelled | Ended::TimedOut => return Err(BuildError::Cancelled),
            Ended::Exited(status) if status.success() => return Ok(()),
            Ended::Exited(status) => status,
        };
        let cause =
            FailureCause::guess(&String::from_utf8_lossy(&self.tail), &self.plan.base.version);
        let last_lines = last_lines(&self.tail);
        let what = format!("{tool} could not {what} ({status})");
        Err(BuildError::Failed(FailedBuild { what, cause, last_lines }))
    }

    fn say(&mut self, bytes: &[u8]) {
        (self.watch.log)(bytes);
        keep_tail(&mut self.tail, bytes);
    }

    /// Asks a tool for its version: the first two words, as `pip 24.0`. Only for the record.
    fn version(&mut self, program: &Path, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment);
        let limits = Limits { cancel: self.watch.cancel, deadline: None, grace: GRACE };
        let mut said = Vec::new();
        let ended = process_group::run(&mut command, &limits, &mut |_, bytes| {
            said.extend_from_slice(bytes);
        });
        let Ok(Ended::Exited(status)) = ended else { return None };
        let said = String::from_utf8_lossy(&said);
        let words: Vec<&str> = said.split_whitespace().take(2).collect();
        (status.success() && words.len() == 2).then(|| words.join(" "))
    }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    if tail.len() > 2 * TAIL_BYTES {
        tail.drain(..tail.len() - TAIL_BYTES);
    }
}

#[cfg(test)]
mod tests;
