//! What builds in containers are given of this machine: certificates, and where packages are found.
//! None of it ends in an image.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use secrecy::SecretSlice;
use snapshots::path_error::IoContext;

use super::super::{BuildError, IndexSettings, Watch, Workshop};
use super::bases::proxies;
use crate::definition::requirements::Requirements;
use crate::dockerfile::{CA_BUNDLE as CA_FILE, FILES, SETTINGS, quoted};
use crate::host::HostVariables;

/// The secrets that steps of a user's own Dockerfile can mount.
pub(super) const PIP_CONF: &str = "pip.conf";
pub(super) const CA_BUNDLE: &str = CA_FILE;

/// pip's settings that mean the same in a container.
const PASSED: &[&str] = &[
    "default-timeout",
    "extra-index-url",
    "index-url",
    "no-binary",
    "no-index",
    "only-binary",
    "pre",
    "prefer-binary",
    "proxy",
    "require-hashes",
    "retries",
    "timeout",
    "trusted-host",
];

/// What a build is given.
pub(super) struct Given {
    /// pip's settings, by long option.
    pip: BTreeMap<String, String>,
    /// Where the network is reached through.
    proxies: BTreeMap<String, String>,
    ca_bundle: Option<Vec<u8>>,
}

impl Given {
    /// Collects what the administrator lets builds have.
    pub(super) fn new(workshop: &Workshop<'_>, watch: &mut Watch<'_>) -> Result<Self, BuildError> {
        let settings = workshop.settings;
        let mut given = Self { pip: BTreeMap::new(), proxies: BTreeMap::new(), ca_bundle: None };
        if settings.index_settings {
            given.pip = passed(workshop.index, watch.log);
            given.proxies = proxies(workshop.host);
        }
        // What pip trusts here is part of how it finds packages.
        let own = workshop.index.of_pip().get("cert").filter(|_| settings.index_settings);
        let bundle = settings.ca_bundle.as_deref().or_else(|| own.map(Path::new));
        if let Some(bundle) = bundle {
            given.ca_bundle = Some(fs::read(bundle).context("read", bundle)?);
        }
        Ok(given)
    }

    /// Returns the variables of the step that installs `requirements`, as a text for a shell; `None`
    /// if there are none.
    pub(super) fn variables(
        &self,
        requirements: &Requirements<'_>,
        host: &HostVariables,
    ) -> Result<Option<String>, BuildError> {
        let mut text = String::new();
        let mut export = |name: &str, value: &str| {
            let _ = writeln!(text, "export {name}={}", quoted(value));
        };
        for (option, value) in &self.pip {
            export(&format!("PIP_{}", option.to_ascii_uppercase().replace('-', "_")), value);
        }
        self.proxies.iter().for_each(|(name, value)| export(name, value));
        if self.ca_bundle.is_some() {
            let path = format!("{FILES}/{SETTINGS}/{CA_FILE}");
            for name in ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
                export(name, &path);
            }
        }
        for (name, place) in requirements.variables() {
            let Some(value) = host.get(&name) else {
                return Err(BuildError::Variable { name, place });
            };
            export(&name, &value.to_string_lossy());
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub(super) fn ca_bundle(&self) -> Option<&[u8]> {
        self.ca_bundle.as_deref()
    }

    /// Returns those of the secrets for a user's own Dockerfile that there are. The certificates
    /// are expected where `--mount=type=secret` puts them when no target is named.
    pub(super) fn secrets<const N: usize>(
        &self,
        names: [&str; N],
    ) -> BTreeMap<String, SecretSlice<u8>> {
        let of = |name: &str| match name {
            PIP_CONF => Some(self.pip_conf().into_bytes()).filter(|text| !text.is_empty()),
            _ => self.ca_bundle.clone(),
        };
        let secret = |name: &str| Some((name.to_owned(), SecretSlice::from(of(name)?)));
        names.into_iter().filter_map(secret).collect()
    }

    fn pip_conf(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (option, value) in &self.pip {
            lines.push(format!("{option} = {}", value.replace('\n', "\n    ")));
        }
        if self.ca_bundle.is_some() {
            lines.push(format!("cert = /run/secrets/{CA_BUNDLE}"));
        }
        if lines.is_empty() { String::new() } else { format!("[global]\n{}\n", lines.join("\n")) }
    }
}

/// Chooses the settings that mean the same in a container, and says which do not.
fn passed(index: &IndexSettings, log: &mut dyn FnMut(&[u8])) -> BTreeMap<String, String> {
    let mut passed = BTreeMap::new();
    for (option, value) in index.of_pip() {
        if PASSED.contains(&option.as_str()) {
            passed.insert(option.clone(), value.clone());
        } else if option == "find-links" {
            let (urls, paths): (Vec<&str>, Vec<&str>) =
                value.split_whitespace().partition(|place| place.contains("://"));
            if !urls.is_empty() {
                passed.insert(option.clone(), urls.join(" "));
            }
            for path in paths {
                log(format!("pip's find-links {path} is not in the container\n").as_bytes());
            }
        } else if option == "constraint" || option == "client-cert" {
            log(format!("pip's {option} {value} is not in the container\n").as_bytes());
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::environment::RequirementsFile;
    use crate::testing::Host;

    fn given(set: &[(&str, &str)], ca_bundle: Option<&str>) -> (Given, String) {
        let variables = set.iter().map(|(name, value)| (OsString::from(name), value.into()));
        let host = HostVariables::new(variables);
        let mut log = String::new();
        let pip = passed(&IndexSettings::read(&host), &mut |bytes| {
            log.push_str(&String::from_utf8_lossy(bytes));
        });
        let ca_bundle = ca_bundle.map(|text| text.as_bytes().to_vec());
        (Given { pip, proxies: proxies(&host), ca_bundle }, log)
    }

    #[test]
    fn settings_become_variables_of_one_step() {
        let set = [
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("PIP_INDEX_URL", "https://me:it's@host/simple"),
            ("PIP_FIND_LINKS", "/srv/wheels https://host/links"),
            ("PIP_CACHE_DIR", "/x"),
            ("PIP_CONSTRAINT", "/c.txt"),
            ("https_proxy", "http://proxy:1"),
        ];
        let (given, log) = given(&set, Some("certificates"));
        let text = "six\n-i https://${TOKEN}@host/\n".to_owned();
        let files = [RequirementsFile { name: "r.txt".to_owned(), text }];
        let requirements = Requirements::check(&files).unwrap();
        let mut host = Host::offline(Path::new("/none/wheels"));

        let unset = given.variables(&requirements, &host.variables());
        assert!(matches!(unset, Err(BuildError::Variable { name, .. }) if name == "TOKEN"));
        host.set("TOKEN", "secret");
        let variables = given.variables(&requirements, &host.variables()).unwrap().unwrap();

        insta::assert_snapshot!(variables, @r"
        export PIP_FIND_LINKS='https://host/links'
        export PIP_INDEX_URL='https://me:it'\''s@host/simple'
        export https_proxy='http://proxy:1'
        export PIP_CERT='/tmp/trainyard/settings/ca-bundle'
        export SSL_CERT_FILE='/tmp/trainyard/settings/ca-bundle'
        export REQUESTS_CA_BUNDLE='/tmp/trainyard/settings/ca-bundle'
        export CURL_CA_BUNDLE='/tmp/trainyard/settings/ca-bundle'
        export TOKEN='secret'
        ");
        insta::assert_snapshot!(given.pip_conf(), @"
        [global]
        find-links = https://host/links
        index-url = https://me:it's@host/simple
        cert = /run/secrets/ca-bundle
        ");
        insta::assert_snapshot!(log, @"
        pip's constraint /c.txt is not in the container
        pip's find-links /srv/wheels is not in the container
        ");
        let secrets = given.secrets([PIP_CONF, CA_BUNDLE]);
        assert_eq!(secrets.keys().collect::<Vec<_>>(), [CA_BUNDLE, PIP_CONF]);
    }

    #[test]
    fn nothing_given_is_nothing_mounted() {
        let (given, _) = given(&[("PIP_CONFIG_FILE", "/dev/null")], None);
        let files = [RequirementsFile { name: "r.txt".to_owned(), text: "six".to_owned() }];
        let requirements = Requirements::check(&files).unwrap();

        assert_eq!(given.variables(&requirements, &HostVariables::default()).unwrap(), None);
        assert!(given.secrets([PIP_CONF, CA_BUNDLE]).is_empty());
    }
}
