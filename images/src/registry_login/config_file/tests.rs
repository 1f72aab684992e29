use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::*;

fn file(text: &str) -> Result<Option<ConfigFile>, LoginError> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), text).unwrap();
    let variable = ("DOCKER_CONFIG".into(), directory.path().into());
    ConfigFile::read(&HostVariables::new([variable]))
}

fn login(text: &str, registry: &str) -> Option<(String, String)> {
    let login = file(text).unwrap().unwrap().login(registry).unwrap()?;
    assert_eq!(login.address, registry);
    Some((login.username, login.password.expose_secret().to_owned()))
}

fn pair(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.to_owned(), password.to_owned()))
}

#[test]
fn a_registry_is_found_however_it_is_written() {
    let auth = STANDARD.encode("me:pass:word");
    for written in ["r:5000", "https://r:5000", "https://r:5000/v2/"] {
        let text = format!(r#"{{"auths": {{"{written}": {{"auth": "{auth}"}}}}}}"#);
        assert_eq!(login(&text, "r:5000"), pair("me", "pass:word"), "{written}");
        assert_eq!(login(&text, "r"), None);
    }
    let hub = format!(r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{auth}"}}}}}}"#);
    assert_eq!(login(&hub, "https://index.docker.io/v1/"), pair("me", "pass:word"));
}

#[test]
fn all_forms_of_an_entry_are_read() {
    let of = |entry: &str| login(&format!(r#"{{"auths": {{"r": {entry}}}}}"#), "r");
    assert_eq!(of(r#"{"username": "me", "password": "x"}"#), pair("me", "x"));
    assert_eq!(of(r#"{"identitytoken": "t", "auth": "bWU6"}"#), pair(TOKEN_USER, "t"));
    // A helper has it.
    assert_eq!(of("{}"), None);
}

#[test]
fn the_helper_of_a_registry_comes_before_that_of_all() {
    let text = r#"{"credsStore": "all", "credHelpers": {"r:1": "own"}}"#;
    let file = file(text).unwrap().unwrap();
    assert_eq!((file.helper("r:1"), file.helper("r:2")), (Some("own"), Some("all")));
}

#[test]
fn without_a_file_there_is_no_login() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["DOCKER_CONFIG", "HOME"] {
        let variables = HostVariables::new([(name.into(), directory.path().into())]);
        assert!(ConfigFile::read(&variables).unwrap().is_none());
    }
    assert!(ConfigFile::read(&HostVariables::default()).unwrap().is_none());
}

#[test]
fn what_is_not_understood_is_named_and_not_shown() {
    let message = |text: &str| match file(text) {
        Ok(Some(file)) => file.login("r").unwrap_err().to_string(),
        Ok(None) => panic!("there is a file"),
        Err(error) => error.to_string(),
    };
    let broken = message("{\"auths\": {\"r\": {\"auth\":\n \"c2VjcmV0\"");
    assert!(broken.ends_with("config.json\": line 2 is not understood"), "{broken}");
    let entry = message(r#"{"auths": {"r": {"auth": "c2VjcmV0"}}}"#);
    assert!(entry.ends_with("its login for r is not understood"), "{entry}");
    let wrong = message(r#"{"auths": {"r": {"auth": "c2Vjc#"}}}"#);
    assert!(!wrong.contains("c2Vjc"), "{wrong}");
}
