//! Where the channels of a conda file are.

use std::path::{Component, Path, PathBuf};

use super::CondaFile;
use super::place;
use crate::definition::DefinitionError;
use crate::environment::CondaPackages;
use crate::host::HostVariables;

/// Where channels are that are called by a name alone.
const ALIAS: &str = "https://conda.anaconda.org";

/// What conda calls `defaults`, as far as it concerns Linux.
const DEFAULTS: &[&str] =
    &["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"];

/// How names of channels are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelSettings {
    /// `CONDA_CHANNEL_ALIAS`: where channels are that have a name alone.
    alias: Option<String>,
}

impl ChannelSettings {
    pub(crate) fn read(host: &HostVariables) -> Self {
        Self::of(&|name| Some(host.get(name)?.to_string_lossy().into_owned()))
    }

    pub(crate) fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        Self { alias: variable("CONDA_CHANNEL_ALIAS").filter(|alias| !alias.is_empty()) }
    }
}

/// Returns the URLs of the channels of `file`, the one that counts most first. Those that only a
/// `channel::package` names come last.
pub(crate) fn locations(
    file: &CondaFile,
    packages: &CondaPackages,
    settings: &ChannelSettings,
) -> Result<Vec<String>, DefinitionError> {
    let mut found = Vec::new();
    let named = file.channels.iter().filter(|name| *name != "nodefaults");
    let mut names: Vec<&str> = named.map(String::as_str).collect();
    if file.channels.is_empty() {
        names.push("defaults");
    }
    names.extend(file.specs.iter().filter_map(|spec| spec.channel.as_deref()));
    for name in names {
        for url in location(name, packages, settings)? {
            if !found.contains(&url) {
                found.push(url);
            }
        }
    }
    Ok(found)
}

/// Returns where the channel called `name` is.
pub(crate) fn location(
    name: &str,
    packages: &CondaPackages,
    settings: &ChannelSettings,
) -> Result<Vec<String>, DefinitionError> {
    if name.contains("://") {
        return Ok(vec![name.trim_end_matches('/').to_owned()]);
    }
    if name.starts_with('/') || name.starts_with("./") || name.starts_with("../") || name == "." {
        let path = match &packages.directory {
            Some(directory) => directory.join(name),
            None if name.starts_with('/') => PathBuf::from(name),
            None => {
                let line = packages.text.lines().position(|line| line.contains(name));
                let place = place(&packages.name, line.map_or(1, |line| line + 1));
                return Err(DefinitionError::RelativeChannel { channel: name.to_owned(), place });
            }
        };
        return Ok(vec![file_url(&normalized(&path))]);
    }
    match (&settings.alias, name) {
        (None, "defaults") => Ok(DEFAULTS.iter().map(ToString::to_string).collect()),
        (alias, name) => {
            let alias = alias.as_deref().unwrap_or(ALIAS).trim_end_matches('/');
            Ok(vec![format!("{alias}/{}", name.trim_matches('/'))])
        }
    }
}

fn normalized(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

fn file_url(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut url = "file://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' | b'+' => {
                url.push(char::from(*byte));
            }
            other => url += &format!("%{other:02X}"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &str, directory: Option<&str>, alias: Option<&str>) -> String {
        let text = format!("channels: [{names}]\ndependencies: [two::six]");
        let file = super::super::parse("conda.yml", &text).unwrap();
        let packages = CondaPackages {
            name: "conda.yml".to_owned(),
            text,
            requirements: Vec::new(),
            directory: directory.map(PathBuf::from),
        };
        let settings = ChannelSettings::of(&|_| alias.map(str::to_owned));
        match locations(&file, &packages, &settings) {
            Ok(found) => found.join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn channels_are_names_urls_and_directories() {
        let table = [
            of("conda-forge, bioconda, conda-forge", None, None),
            of("", None, None),
            of("'https://host/a/', file:///srv/b, two", None, None),
            of("/srv/c d, ./here, ../there", Some("/home/me/project"), None),
            of("./here", None, None),
            of("nodefaults", None, None),
            of("defaults, conda-forge/label/dev", None, Some("file:///srv/mirror/")),
        ];

        insta::assert_snapshot!(table.join("\n"), @r#"
        https://conda.anaconda.org/conda-forge https://conda.anaconda.org/bioconda https://conda.anaconda.org/two
        https://repo.anaconda.com/pkgs/main https://repo.anaconda.com/pkgs/r https://conda.anaconda.org/two
        https://host/a file:///srv/b https://conda.anaconda.org/two
        file:///srv/c%20d file:///home/me/project/here file:///home/me/there https://conda.anaconda.org/two
        "conda.yml" line 1: channel "./here" is relative, and the file has no directory
        https://conda.anaconda.org/two
        file:///srv/mirror/defaults file:///srv/mirror/conda-forge/label/dev file:///srv/mirror/two
        "#);
    }
}
