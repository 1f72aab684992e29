//! Where packages are found and which are chosen, as the host is set up: variables and pip.conf.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;

use snapshots::digest::{Digest, Hasher};

use crate::definition::requirements::without_credentials;
use crate::host::HostVariables;

/// pip's settings that decide what is installed, by their long option.
const DECIDING: &[&str] = &[
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "pre",
    "constraint",
    "no-binary",
    "only-binary",
    "prefer-binary",
    "require-hashes",
];

/// The same for uv, by variable.
const DECIDING_UV: &[&str] = &[
    "UV_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_INDEX_URL",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
];

/// What pip would be told by its files and variables, and what uv would.
#[derive(Debug)]
pub(crate) struct IndexSettings {
    /// pip's, by long option, one value to a line.
    pip: BTreeMap<String, String>,
    digest: Digest,
}

impl IndexSettings {
    /// Reads them. A file that is not there or cannot be read says nothing.
    pub(crate) fn read(host: &HostVariables) -> Self {
        let mut pip = BTreeMap::new();
        for path in pip_files(host) {
            if let Ok(text) = fs::read_to_string(path) {
                pip.extend(parse(&text));
            }
        }
        for (name, value) in host.iter() {
            let option = name.to_str().and_then(|name| name.strip_prefix("PIP_"));
            if let (Some(option), Some(value)) = (option, value.to_str()) {
                pip.insert(option.to_ascii_lowercase().replace('_', "-"), value.to_owned());
            }
        }
        // Set and empty is not set.
        pip.retain(|_, value| !value.trim().is_empty());
        let digest = digest(&pip, host);
        Self { pip, digest }
    }

    /// Returns the digest for the key. Credentials in URLs are not part of it.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns what pip is told, by long option; several values to a line each.
    pub(crate) fn of_pip(&self) -> &BTreeMap<String, String> {
        &self.pip
    }

    /// Whether pip is told something that uv cannot be told.
    pub(crate) fn need_pip(&self) -> bool {
        ["no-binary", "only-binary"].iter().any(|option| self.pip.contains_key(*option))
    }

    /// Returns what uv has to be told so that it finds what pip finds, as arguments without secrets.
    pub(crate) fn uv_arguments(&self) -> Vec<&'static str> {
        if self.is_on("no-index") { vec!["--no-index"] } else { Vec::new() }
    }

    /// Returns the rest of it, as variables. What uv is told by variables of its own stands.
    pub(crate) fn uv_variables(&self, host: &HostVariables) -> Vec<(OsString, OsString)> {
        let mut told: Vec<(OsString, OsString)> = Vec::new();
        let mut tell = |names: &[&str], value: Option<String>| {
            if let Some(value) = value
                && names.iter().all(|name| host.get(name).is_none())
            {
                told.push((names[0].into(), value.into()));
            }
        };
        let list = |option: &str, separator: &str| {
            let value = self.pip.get(option)?;
            Some(value.split_whitespace().collect::<Vec<_>>().join(separator))
        };
        tell(&["UV_DEFAULT_INDEX", "UV_INDEX_URL"], list("index-url", " "));
        tell(&["UV_INDEX", "UV_EXTRA_INDEX_URL"], list("extra-index-url", " "));
        tell(&["UV_FIND_LINKS"], list("find-links", ","));
        tell(&["UV_CONSTRAINT"], list("constraint", " "));
        tell(&["UV_INSECURE_HOST"], list("trusted-host", " "));
        tell(&["SSL_CERT_FILE"], list("cert", " "));
        tell(&["SSL_CLIENT_CERT"], list("client-cert", " "));
        tell(&["ALL_PROXY", "all_proxy"], list("proxy", " "));
        tell(&["UV_PRERELEASE"], self.is_on("pre").then(|| "allow".to_owned()));
        tell(&["UV_REQUIRE_HASHES"], self.is_on("require-hashes").then(|| "1".to_owned()));
        // The files are pip's, and so is their meaning: the best version of all indexes.
        tell(&["UV_INDEX_STRATEGY"], Some("unsafe-best-match".to_owned()));
        told
    }

    fn is_on(&self, option: &str) -> bool {
        let off = ["0", "no", "n", "false", "f", "off"];
        self.pip
            .get(option)
            .is_some_and(|value| !off.contains(&value.trim().to_ascii_lowercase().as_str()))
    }
}

/// Returns pip's configuration files, the one that counts most last.
fn pip_files(host: &HostVariables) -> Vec<PathBuf> {
    let home = host.get("HOME").map(PathBuf::from);
    let explicit = host.get("PIP_CONFIG_FILE");
    if explicit == Some(OsStr::new("/dev/null")) {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = std::env::split_paths(
        host.get("XDG_CONFIG_DIRS").unwrap_or_else(|| OsStr::new("/etc/xdg")),
    )
    .map(|directory| directory.join("pip/pip.conf"))
    .collect();
    files.push(PathBuf::from("/etc/pip.conf"));
    files.extend(home.as_ref().map(|home| home.join(".pip/pip.conf")));
    files.extend(config_home(host).map(|config| config.join("pip/pip.conf")));
    files.extend(explicit.map(PathBuf::from));
    files
}

fn uv_files(host: &HostVariables) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/xdg/uv/uv.toml"), PathBuf::from("/etc/uv/uv.toml")];
    files.extend(config_home(host).map(|config| config.join("uv/uv.toml")));
    files.extend(host.get("UV_CONFIG_FILE").map(PathBuf::from));
    files
}

fn config_home(host: &HostVariables) -> Option<PathBuf> {
    let config = host.get("XDG_CONFIG_HOME").map(PathBuf::from);
    config.or_else(|| Some(PathBuf::from(host.get("HOME")?).join(".config")))
}

/// Returns the settings of a `pip.conf` that concern an installation; `[install]` before `[global]`.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = "";
    let mut option = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            option = None;
            continue;
        }
        let settings = sections.entry(section).or_default();
        if line.starts_with(char::is_whitespace)
            && let Some(option) = &option
        {
            let value: &mut String = settings.entry(String::clone(option)).or_default();
            value.push('\n');
            value.push_str(trimmed);
        } else if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            let name = name.trim().to_ascii_lowercase().replace('_', "-");
            settings.insert(name.clone(), value.trim().to_owned());
            option = Some(name);
        }
    }
    let mut settings = sections.remove("global").unwrap_or_default();
    settings.extend(sections.remove("install").unwrap_or_default());
    settings
}

fn digest(pip: &BTreeMap<String, String>, host: &HostVariables) -> Digest {
    let mut hasher = Hasher::new();
    let mut put = |name: &str, value: &str| {
        let value = without_credentials(value);
        for text in [name, &value] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    };
    for option in DECIDING {
        let Some(value) = pip.get(*option) else { continue };
        put(option, &value.split_whitespace().collect::<Vec<_>>().join(" "));
        if *option == "constraint" {
            for file in value.split_whitespace() {
                put("text", &fs::read_to_string(file).unwrap_or_default());
            }
        }
    }
    for name in DECIDING_UV {
        if let Some(value) = host.get(name) {
            put(name, &value.to_string_lossy());
        }
    }
    for file in uv_files(host) {
        if let Ok(text) = fs::read_to_string(file) {
            put("uv.toml", &text);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(home: &std::path::Path, set: &[(&str, &str)]) -> HostVariables {
        let set = set.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        HostVariables::new(set.chain([("HOME".into(), home.into())]))
    }

    fn settings(conf: &str, set: &[(&str, &str)]) -> (IndexSettings, HostVariables) {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".config/pip")).unwrap();
        fs::write(home.path().join(".config/pip/pip.conf"), conf).unwrap();
        let host = host(home.path(), set);
        (IndexSettings::read(&host), host)
    }

    fn digest_of(conf: &str, set: &[(&str, &str)]) -> Digest {
        *settings(conf, set).0.digest()
    }

    #[test]
    fn only_what_decides_what_is_installed_changes_the_digest() {
        let none = digest_of("", &[]);
        let conf = "[global]\nindex-url = https://host/simple\n";
        let index = digest_of(conf, &[]);

        assert_ne!(index, none);
        assert_eq!(digest_of("", &[("PIP_INDEX_URL", "https://host/simple")]), index);
        assert_eq!(digest_of("", &[("PIP_INDEX_URL", "https://me:pw@host/simple")]), index);
        assert_eq!(digest_of(&format!("# note\n{conf}timeout = 60\n"), &[]), index);
        assert_eq!(digest_of(conf, &[("PIP_CERT", "/x")]), index);
        assert_ne!(digest_of(conf, &[("PIP_INDEX_URL", "https://other/simple")]), index);
        assert_ne!(digest_of(conf, &[("PIP_PRE", "1")]), index);
        assert_ne!(digest_of(conf, &[("UV_EXCLUDE_NEWER", "2026-01-01")]), index);
    }

    #[test]
    fn the_text_of_a_constraint_file_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let set = [("PIP_CONSTRAINT", file.path().to_str().unwrap())];

        let before = digest_of("", &set);
        fs::write(file.path(), "six<2").unwrap();

        assert_ne!(digest_of("", &set), before);
    }

    #[test]
    fn uv_is_told_what_pip_is_told() {
        let conf = "\
[global]
index_url = https://me:pw@host/simple
cert = /etc/ca.pem
[install]
extra-index-url =
    https://one/simple
    https://two/simple
find-links: /srv/a /srv/b
pre = no
no-index = yes
[list]
format = columns
";
        let (settings, host) = settings(conf, &[("UV_INDEX_STRATEGY", "first-index")]);

        let told: Vec<String> = settings
            .uv_variables(&host)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();

        assert_eq!(settings.uv_arguments(), ["--no-index"]);
        insta::assert_snapshot!(told.join("\n"), @r#"
        UV_DEFAULT_INDEX=https://me:pw@host/simple
        UV_INDEX=https://one/simple https://two/simple
        UV_FIND_LINKS=/srv/a,/srv/b
        SSL_CERT_FILE=/etc/ca.pem
        "#);
    }

    #[test]
    fn what_uv_is_told_by_its_own_variables_stands() {
        let (settings, host) =
            settings("[global]\nindex-url = https://a/\n", &[("UV_INDEX_URL", "https://b/")]);

        let told = settings.uv_variables(&host);

        assert!(!told.iter().any(|(name, _)| name == "UV_DEFAULT_INDEX"), "{told:?}");
    }

    #[test]
    fn choosing_between_wheels_and_sources_is_left_to_pip() {
        assert!(settings("", &[("PIP_ONLY_BINARY", ":all:")]).0.need_pip());
        assert!(!settings("", &[("PIP_INDEX_URL", "https://host/")]).0.need_pip());
    }
}
