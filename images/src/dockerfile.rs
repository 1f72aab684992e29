//! The Dockerfile of an image with packages on top: a pure function of plain data.
//!
//! Packages go to [`PREFIX`], a virtual environment made from the image's Python or a conda
//! environment with one of its own. What the build is given of this machine (certificates, where
//! packages are found, values of variables) is mounted as secrets while pip runs.

use std::fmt::Write;

/// Where packages are within an image.
pub const PREFIX: &str = "/opt/trainyard/env";

/// What is on the search path of a base that says nothing of one: what engines take then.
const ENGINES_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the files of a build are while it runs.
pub(crate) const FILES: &str = "/tmp/trainyard";

/// The directories of the build context.
pub(crate) const REQUIREMENTS: &str = "requirements";
pub(crate) const CONDA: &str = "conda";

/// Where secrets are, in [`FILES`].
pub(crate) const SETTINGS: &str = "settings";

/// The settings of this machine as a text for a shell, and certificates: secrets of the build.
pub(crate) const VARIABLES: &str = "variables";
pub(crate) const CA_BUNDLE: &str = "ca-bundle";

/// What the output of a build says where the image lacks something. Read by
/// [`FailureCause`](crate::builder::FailureCause).
pub(crate) const NO_PYTHON: &str = "trainyard: the image has no";
pub(crate) const NO_VENV: &str =
    "trainyard: the Python of the image cannot make virtual environments";
pub(crate) const NO_PIP: &str = "trainyard: the conda environment has no pip";

/// What an image is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe<'a> {
    /// What it is based on: a name with a digest, or a name of ours.
    pub(crate) base: &'a str,
    /// The user that the base sets, if it sets one.
    pub(crate) user: &'a str,
    /// The Python to make a virtual environment from. Default: `python`, else `python3`.
    pub(crate) interpreter: Option<&'a str>,
    pub(crate) packages: Packages<'a>,
    /// Which of [`VARIABLES`] and [`CA_BUNDLE`] the build is given.
    pub(crate) settings: &'a [&'a str],
}

/// What is put on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packages<'a> {
    /// A virtual environment with what the requirements file of this path, in
    /// [`REQUIREMENTS`], says.
    Pip { requirements: &'a str },
    /// The conda environment in [`CONDA`], and on top what such a file says.
    Conda { pip: Option<&'a str> },
}

/// Returns the text.
pub(crate) fn generate(recipe: &Recipe<'_>) -> String {
    let mut text = format!("FROM {}\n", recipe.base);
    let is_root = ["", "root", "0", "0:0", "root:root"].contains(&recipe.user);
    if !is_root {
        text.push_str("USER root\n");
    }
    if let Packages::Conda { .. } = recipe.packages {
        let _ = writeln!(text, "COPY {CONDA} {PREFIX}");
    }
    if let Some(requirements) = recipe.requirements() {
        recipe.install(requirements, &mut text);
    }
    if !is_root {
        let _ = writeln!(text, "USER {}", recipe.user);
    }
    // Who starts the image by its name alone finds the packages' Python, too.
    let _ = writeln!(text, "ENV PATH={PREFIX}/bin:${{PATH:-{ENGINES_PATH}}}");
    text
}

impl Recipe<'_> {
    fn requirements(&self) -> Option<&str> {
        match self.packages {
            Packages::Pip { requirements } => Some(requirements),
            Packages::Conda { pip } => pip,
        }
    }

    /// Writes the step that installs packages with pip.
    fn install(&self, requirements: &str, text: &mut String) {
        let mut steps = vec!["set -e".to_owned()];
        if self.settings.contains(&VARIABLES) {
            steps.push(format!(". {FILES}/{SETTINGS}/{VARIABLES}"));
        }
        steps.push(match self.packages {
            Packages::Pip { .. } => self.find_python(),
            Packages::Conda { .. } => {
                let python = format!("{PREFIX}/bin/python");
                format!("{python} -I -m pip --version || {{ echo '{NO_PIP}'; exit 1; }}")
            }
        });
        if let Packages::Pip { .. } = self.packages {
            let make = format!("\"$python\" -I -m venv {PREFIX}");
            steps.push(format!("{make} || {{ echo '{NO_VENV}'; exit 1; }}"));
        }
        // Bytecode is compiled here, unlike on the host: whoever runs in the image cannot write it.
        steps.push(format!(
            "{PREFIX}/bin/python -I -m pip install --no-input --no-cache-dir \
             --disable-pip-version-check --progress-bar=off --requirement \
             {FILES}/{REQUIREMENTS}/{requirements}"
        ));
        let steps = steps.join("; \\\n    ");
        let _ = writeln!(text, "RUN {} \\\n    {steps}", self.mounts().join(" \\\n    "));
    }

    /// Returns a step that sets `python`.
    fn find_python(&self) -> String {
        let (find, shown) = match self.interpreter {
            Some(interpreter) => {
                let interpreter = quoted(interpreter);
                (format!("command -v {interpreter}"), interpreter)
            }
            None => {
                let both = "command -v python || command -v python3";
                (both.to_owned(), "python and no python3".to_owned())
            }
        };
        format!("python=$({find}) || {{ echo '{NO_PYTHON}' {shown}; exit 1; }}")
    }

    fn mounts(&self) -> Vec<String> {
        let requirements =
            format!("--mount=type=bind,source={REQUIREMENTS},target={FILES}/{REQUIREMENTS}");
        let secret =
            |name: &&str| format!("--mount=type=secret,id={name},target={FILES}/{SETTINGS}/{name}");
        std::iter::once(requirements).chain(self.settings.iter().map(secret)).collect()
    }
}

/// Returns `word` as one word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
