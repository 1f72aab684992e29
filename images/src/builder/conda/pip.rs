//! The pip section of a conda file, into the same environment.

use std::ffi::OsString;
use std::path::Path;

use super::{CONDA, PIP_LOCK, lock_named};
use crate::builder::requirements_files::{self, DIRECTORY, file_path};
use crate::builder::steps::Steps;
use crate::builder::{BuildError, Watch, Workshop, install, uv, variables};
use crate::definition::requirements::{LineKind, Requirements};
use crate::environment::RequirementsFile;
use crate::interpreter::InterpreterFacts;

/// What is to be installed, and where.
pub(super) struct Plan<'a> {
    pub(super) workshop: &'a Workshop<'a>,
    pub(super) files: &'a [RequirementsFile],
    /// The locks of an earlier build.
    pub(super) previous: &'a [RequirementsFile],
    pub(super) prefix: &'a Path,
    pub(super) python: &'a InterpreterFacts,
}

impl Plan<'_> {
    /// Installs by uv if it is found, else by the environment's own pip; returns which, with its
    /// version.
    pub(super) fn install(&self, watch: &mut Watch<'_>) -> Result<String, BuildError> {
        let workshop = self.workshop;
        let locked = lock_named(PIP_LOCK, self.previous).map(|text| {
            vec![RequirementsFile { name: PIP_LOCK.to_owned(), text: text.to_owned() }]
        });
        // What a lock lists is all there is to it.
        let more: &[&str] = if locked.is_some() { &["--no-deps"] } else { &[] };
        let files = locked.as_deref().unwrap_or(self.files);
        let requirements = Requirements::check(files)?;
        let mut environment = variables::for_build(workshop.host, &requirements)?;
        environment.insert("CONDA_PREFIX".into(), self.prefix.into());
        environment.insert("PATH".into(), self.search_path());
        requirements_files::write(&requirements, &workshop.directory.join(DIRECTORY))?;
        let first = Path::new(DIRECTORY).join(file_path(&requirements, 0));
        let need_pip = workshop.index.need_pip() || requirements.have_variables_outside_urls();
        let uv = if need_pip {
            None
        } else {
            uv::find_or_fetch(workshop, Some(&self.python.executable), watch)?
        };
        let mut steps = Steps::new(workshop.directory, &self.python.version, environment, watch);
        match uv {
            Some(uv) => {
                install::tell_uv(&mut steps, workshop.index, workshop.host);
                let python = Path::new(CONDA).join("bin/python");
                install::with_uv(&mut steps, &uv, workshop.index, &python, &first, more)
            }
            None => {
                let python = self.prefix.join("bin/python");
                if steps.version(&python, &["-I", "-m", "pip", "--version"]).is_none() {
                    let make = ["-I", "-m", "ensurepip"].map(AsRef::as_ref);
                    steps.step("ensurepip", "put pip into the environment", &python, &make)?;
                }
                install::with_pip(&mut steps, &python, &first, more)
            }
        }
    }

    /// What packages are built with is the environment's first.
    fn search_path(&self) -> OsString {
        let mut path = OsString::from(self.prefix.join("bin"));
        if let Some(rest) = self.workshop.host.get("PATH") {
            path.push(":");
            path.push(rest);
        }
        path
    }
}

/// Returns a requirements file that installs `installed` again, from where `files` find packages.
pub(super) fn lock(
    files: &[RequirementsFile],
    installed: &[String],
) -> Result<RequirementsFile, BuildError> {
    let requirements = Requirements::check(files)?;
    let lines = requirements.files.iter().flat_map(|file| &file.lines);
    let options = lines.filter(|line| line.kind == LineKind::Options).map(|line| &line.text);
    let text = options.chain(installed).map(|line| format!("{line}\n")).collect();
    Ok(RequirementsFile { name: PIP_LOCK.to_owned(), text })
}
