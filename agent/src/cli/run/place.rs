//! Where a script or an environment file is: in the source directory, then in the current one.

use std::path::{Component, Path, PathBuf};

use runner::run_configuration::SAVED_ENVIRONMENT;
use snapshots::path_error::IoContext;

use crate::cli::Failure;

/// The directory a snapshot is taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Source {
    directory: PathBuf,
}

impl Source {
    /// Takes `directory`, which must be one.
    ///
    /// # Errors
    ///
    /// It is no directory, or cannot be reached.
    pub(in crate::cli) fn open(directory: &Path) -> Result<Self, Failure> {
        let canonical = directory
            .canonicalize()
            .context("open the source directory", directory)
            .map_err(Failure::usage)?;
        if !canonical.is_dir() {
            return Err(Failure::usage(format!("{} is not a directory", directory.display()))
                .hint("--source takes the directory that holds the script"));
        }
        Ok(Self { directory: canonical })
    }

    /// Returns its absolute path without links.
    pub(in crate::cli) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the experiment that runs of it belong to, if nobody says otherwise: its name, with
    /// what an experiment's name cannot have replaced.
    pub(in crate::cli) fn experiment(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = name.chars().map(plain).take(255).collect();
        let name = name.trim_start_matches(['_', '-']);
        if name.is_empty() { "default".to_owned() } else { name.to_owned() }
    }

    /// Finds the script: below the source directory, or below the current one if that is a place
    /// in the source directory too. Returns its path in the source directory.
    ///
    /// # Errors
    ///
    /// It is in neither, or it is outside of the source directory.
    pub(in crate::cli) fn script(&self, typed: &str, current: &Path) -> Result<String, Failure> {
        let in_source = self.directory.join(typed);
        let in_current = current.join(typed);
        let found = [&in_source, &in_current].into_iter().find(|path| path.is_file());
        let Some(found) = found else {
            return Err(Failure::usage(format!("there is no script {typed:?}")).hint(format!(
                "it was looked for in {} and in the current directory; --source names another directory",
                self.directory.display()
            )));
        };
        let inside = self.inside(found).ok_or_else(|| {
            Failure::usage(format!("the script {typed:?} is outside of the source directory")).hint(
                format!(
                    "the source directory is {}; --source names another",
                    self.directory.display()
                ),
            )
        })?;
        let inside = inside.into_os_string().into_string().map_err(|_| {
            Failure::usage(format!("the name of the script {typed:?} is not UTF-8"))
        })?;
        // What begins with a dash would be an option to Python.
        Ok(if inside.starts_with('-') { format!("./{inside}") } else { inside })
    }

    /// Finds what defines an environment: a file, or a folder that Azure ML's SDK saved one in.
    /// Another folder is found where its name is a path, to be refused by name.
    pub(in crate::cli) fn definition(&self, typed: &Path, current: &Path) -> Option<PathBuf> {
        let is_path = typed.components().count() > 1 || typed.is_absolute();
        let fits = |path: &PathBuf| {
            path.is_file() || (path.is_dir() && (is_path || path.join(SAVED_ENVIRONMENT).is_file()))
        };
        [self.directory.join(typed), current.join(typed)].into_iter().find(fits)
    }

    /// Returns a file's path in the source directory. The file itself may be a link; it is kept as
    /// one in the snapshot.
    fn inside(&self, file: &Path) -> Option<PathBuf> {
        let parent = file.parent()?.canonicalize().ok()?;
        let inside = parent.strip_prefix(&self.directory).ok()?.join(file.file_name()?);
        inside.components().all(|part| matches!(part, Component::Normal(_))).then_some(inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project/src")).unwrap();
        for file in ["project/train.py", "project/-x.py", "project/src/deep.py", "outside.py"] {
            std::fs::write(dir.path().join(file), "pass").unwrap();
        }
        let source = Source::open(&dir.path().join("project")).unwrap();
        (dir, source)
    }

    #[test]
    fn a_script_is_looked_for_in_the_source_and_then_here() {
        let (dir, source) = source();
        let root = dir.path();
        for (typed, current, found) in [
            ("train.py", root.to_owned(), "train.py"),
            ("src/deep.py", root.to_owned(), "src/deep.py"),
            ("-x.py", root.to_owned(), "./-x.py"),
            ("./-x.py", root.to_owned(), "./-x.py"),
            ("./src/../train.py", root.to_owned(), "train.py"),
            ("project/train.py", root.to_owned(), "train.py"),
            ("deep.py", root.join("project/src"), "src/deep.py"),
            ("../train.py", root.join("project/src"), "train.py"),
        ] {
            assert_eq!(source.script(typed, &current).unwrap(), found, "{typed}");
        }
        let absolute = root.join("project/src/deep.py");
        assert_eq!(source.script(absolute.to_str().unwrap(), root).unwrap(), "src/deep.py");
    }

    #[test]
    fn a_script_that_is_nowhere_or_outside_is_refused() {
        let (dir, source) = source();
        for typed in ["missing.py", "outside.py", "../outside.py", "src", ""] {
            let failure = source.script(typed, dir.path()).unwrap_err();
            assert_eq!(failure.exit(true), crate::cli::Exit::USAGE, "{typed}");
        }
    }

    #[test]
    fn an_experiment_is_called_as_its_directory() {
        let named = |name: &str| Source { directory: PathBuf::from(name) }.experiment();
        assert_eq!(named("/home/me/diabetes"), "diabetes");
        assert_eq!(named("/home/me/my project.v2"), "my_project_v2");
        assert_eq!(named("/home/me/.hidden"), "hidden");
        assert_eq!(named("/home/me/東京"), "default");
        assert_eq!(named("/"), "default");
    }
}
