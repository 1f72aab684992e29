//! What is in a conda environment, as its own records say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use snapshots::path_error::IoContext;

use super::CONDA_LOCK;
use crate::builder::BuildError;
use crate::environment::RequirementsFile;

/// One package, as `conda-meta` has it.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    build: String,
    url: String,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    md5: Option<String>,
    #[serde(default)]
    files: Vec<String>,
}

/// The packages of an environment, by name.
#[derive(Debug)]
pub(super) struct Listed(Vec<Package>);

/// Reads the records of the environment in `prefix`. Those that cannot be understood are left out,
/// as conda does.
pub(super) fn read(prefix: &Path) -> Result<Listed, BuildError> {
    let directory = prefix.join("conda-meta");
    let mut packages = Vec::new();
    for entry in fs::read_dir(&directory).context("read", &directory)? {
        let path = entry.context("read", &directory)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read(&path).context("read", &path)?;
            match serde_json::from_slice::<Package>(&text) {
                Ok(package) => packages.push(package),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "Ignoring a damaged record.");
                }
            }
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Listed(packages))
}

impl Listed {
    /// Returns `name=version=build` of each, as `conda list --export` does.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |package: &Package| {
            let Package { name, version, build, .. } = package;
            format!("{name}={version}={build}")
        };
        self.0.iter().map(line).collect()
    }

    /// Returns what all tools build the same environment from.
    pub(super) fn lock(&self, platform: &str) -> RequirementsFile {
        let mut text = format!("# platform: {platform}\n@EXPLICIT\n");
        for package in &self.0 {
            text += &package.url;
            match (&package.sha256, &package.md5) {
                (Some(sha256), _) => text += &format!("#sha256:{sha256}"),
                (None, Some(md5)) => text += &format!("#{md5}"),
                (None, None) => {}
            }
            text.push('\n');
        }
        RequirementsFile { name: CONDA_LOCK.to_owned(), text }
    }

    /// Leaves out the lines of `installed`, which are pip's, that conda's packages account for.
    pub(super) fn without_own(&self, installed: Vec<String>) -> Vec<String> {
        let own: BTreeSet<String> =
            self.0.iter().flat_map(|package| &package.files).filter_map(|f| name_of(f)).collect();
        let is_own = |line: &String| {
            let end = line.find(['=', ' ', '@']).unwrap_or(line.len());
            own.contains(&normalized(&line[..end]))
        };
        installed.into_iter().filter(|line| !is_own(line)).collect()
    }
}

/// Returns the Python package whose record the file is, if it is one.
fn name_of(file: &str) -> Option<String> {
    let (directory, name) = file.rsplit_once('/')?;
    let record = directory.rsplit('/').next().unwrap_or(directory);
    let stem = match name {
        "METADATA" => record.strip_suffix(".dist-info")?,
        "PKG-INFO" => record.strip_suffix(".egg-info")?,
        _ => return None,
    };
    Some(normalized(stem.split('-').next()?))
}

fn normalized(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_and_the_lock_come_from_the_records() {
        let prefix = tempfile::tempdir().unwrap();
        let meta = prefix.path().join("conda-meta");
        fs::create_dir(&meta).unwrap();
        let six = r#"{"name": "six", "version": "1.16.0", "build": "pyh_0", "md5": "aa", "sha256": "bb",
            "url": "file:///c/noarch/six-1.16.0-pyh_0.conda",
            "files": ["lib/python3.11/site-packages/six-1.16.0.dist-info/METADATA"]}"#;
        let python = r#"{"name": "python", "version": "3.11.7", "build": "h_0", "md5": "cc",
            "url": "file:///c/linux-64/python-3.11.7-h_0.tar.bz2"}"#;
        fs::write(meta.join("six-1.16.0-pyh_0.json"), six).unwrap();
        fs::write(meta.join("python-3.11.7-h_0.json"), python).unwrap();
        fs::write(meta.join("broken.json"), "{").unwrap();
        fs::write(meta.join("history"), "").unwrap();

        let listed = read(prefix.path()).unwrap();

        assert_eq!(listed.lines(), ["python=3.11.7=h_0", "six=1.16.0=pyh_0"]);
        let installed = ["Six==1.16.0", "idna==3.7"].map(str::to_owned).to_vec();
        assert_eq!(listed.without_own(installed), ["idna==3.7"]);
        insta::assert_snapshot!(listed.lock("linux-64").text, @r#"
        # platform: linux-64
        @EXPLICIT
        file:///c/linux-64/python-3.11.7-h_0.tar.bz2#cc
        file:///c/noarch/six-1.16.0-pyh_0.conda#sha256:bb
        "#);
    }

    #[test]
    fn a_directory_without_records_is_no_environment() {
        let empty = tempfile::tempdir().unwrap();

        assert!(read(empty.path()).unwrap_err().to_string().contains("conda-meta"));
    }
}
