//! Which variables of the host a build is given.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::definition::requirements::Requirements;
use crate::host::HostVariables;

use super::BuildError;

/// Given by name: where programs, homes, certificates, proxies and temporary files are.
const NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "NETRC",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Given by prefix: the settings of the tools.
const PREFIXES: &[&str] = &["PIP_", "UV_"];

/// Never given: they send packages somewhere else, take another interpreter or ask for more than
/// the definition does.
const DIVERTING: &[&str] = &[
    "PIP_DRY_RUN",
    "PIP_EDITABLE",
    "PIP_IGNORE_INSTALLED",
    "PIP_LOG",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_QUIET",
    "PIP_REPORT",
    "PIP_REQUIREMENT",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_DEV",
    "UV_FROZEN",
    "UV_LOCKED",
    "UV_NO_PROJECT",
    "UV_NO_SYNC",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
];

/// Returns the environment of a build: what is listed above, and what the requirements name.
pub(super) fn for_build(
    host: &HostVariables,
    requirements: &Requirements<'_>,
) -> Result<BTreeMap<OsString, OsString>, BuildError> {
    let mut given = of_host(host);
    for (name, place) in requirements.variables() {
        let Some(value) = host.get(&name) else {
            return Err(BuildError::Variable { name, place });
        };
        given.insert(OsString::from(name), value.to_owned());
    }
    Ok(given)
}

/// Returns what is listed above.
pub(super) fn of_host(host: &HostVariables) -> BTreeMap<OsString, OsString> {
    let mut given: BTreeMap<OsString, OsString> = host
        .iter()
        .filter(|(name, _)| is_given(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // The log is read by programs and people of all languages.
    given.insert("LC_ALL".into(), "C.UTF-8".into());
    given.insert("PYTHONUNBUFFERED".into(), "1".into());
    given
}

fn is_given(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    !DIVERTING.contains(&name)
        && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::RequirementsFile;

    fn given(text: &str, set: &[(&str, &str)]) -> Result<Vec<String>, BuildError> {
        let files = [RequirementsFile { name: "r.txt".to_owned(), text: text.to_owned() }];
        let host = HostVariables::new(
            set.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
        );
        let requirements = Requirements::check(&files).unwrap();
        let given = for_build(&host, &requirements)?;
        Ok(given
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect())
    }

    #[test]
    fn a_build_sees_settings_of_tools_and_network_and_nothing_else() {
        let set = [
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("HOME", "/home/me"),
            ("LD_PRELOAD", "x"),
            ("PATH", "/bin"),
            ("PIP_INDEX_URL", "https://host/"),
            ("PIP_TARGET", "/x"),
            ("PYTHONPATH", "/x"),
            ("UV_OFFLINE", "1"),
            ("UV_PYTHON", "3.9"),
            ("https_proxy", "http://proxy"),
        ];

        insta::assert_snapshot!(given("six", &set).unwrap().join("\n"), @r#"
        HOME=/home/me
        LC_ALL=C.UTF-8
        PATH=/bin
        PIP_INDEX_URL=https://host/
        PYTHONUNBUFFERED=1
        UV_OFFLINE=1
        https_proxy=http://proxy
        "#);
    }

    #[test]
    fn variables_that_requirements_name_are_given_and_have_to_be_set() {
        let text = "six\n-i https://${TOKEN}@host/\n";

        assert!(given(text, &[("TOKEN", "x")]).unwrap().contains(&"TOKEN=x".to_owned()));
        insta::assert_snapshot!(given(text, &[]).unwrap_err(), @r#""r.txt" line 2 uses ${TOKEN}, which is not set where the build runs"#);
    }
}
