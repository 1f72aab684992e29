use std::sync::atomic::AtomicBool;

use secrecy::ExposeSecret;

use super::*;
use crate::testing::write_executable;

/// Asks a helper that is this shell script.
fn asked(script: &str) -> Result<Option<RegistryLogin>, LoginError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker-credential-own");
    write_executable(&path, &format!("#!/bin/sh\n{script}\n"));
    ask("own", "r:1", &variables(directory.path()), &AtomicBool::new(false))
}

fn variables(directory: &Path) -> HostVariables {
    let path = format!("here:{}:/usr/bin:/bin", directory.display());
    HostVariables::new([("PATH".into(), path.into()), ("MINE".into(), "m".into())])
}

#[test]
fn a_helper_reads_the_registry_and_has_our_variables() {
    let script = r#"read -r it; printf '{"ServerURL": "x", "Username": "%s", "Secret": "%s"}' "$it $1" "$MINE""#;
    let login = asked(script).unwrap().unwrap();
    assert_eq!((login.address.as_str(), login.username.as_str()), ("r:1", "r:1 get"));
    assert_eq!(login.password.expose_secret(), "m");
    assert!(!format!("{login:?}").contains("\"m\""), "{login:?}");
}

#[test]
fn a_helper_may_have_none() {
    let none = asked("echo 'credentials not found in native keychain'; exit 1").unwrap();
    assert!(none.is_none());
}

#[test]
fn what_goes_wrong_is_said_without_what_it_wrote() {
    let said = |script: &str| asked(script).unwrap_err().to_string();
    assert_eq!(
        said("echo secret; exit 3"),
        "\"docker-credential-own\" gave no login for r:1: exit status: 3"
    );
    assert_eq!(
        said("echo '{\"Secret\": \"secret\"}'"),
        "\"docker-credential-own\" gave no login for r:1: its answer is not understood"
    );
}

#[test]
fn only_programs_of_the_search_path_are_helpers() {
    let directory = tempfile::tempdir().unwrap();
    for (name, expected) in [("none", "there is none"), ("../x", "no program's name"), ("", "name")]
    {
        let cancel = AtomicBool::new(false);
        let error = ask(name, "r", &variables(directory.path()), &cancel).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn one_that_hangs_ends_when_somebody_cancels() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("docker-credential-own");
    write_executable(&path, "#!/bin/sh\nexec sleep 600\n");
    let cancel = AtomicBool::new(true);
    let error = ask("own", "r", &variables(directory.path()), &cancel).unwrap_err();
    assert!(error.to_string().ends_with("cancelled"), "{error}");
}
