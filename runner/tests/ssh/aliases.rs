//! `~/.ssh/config`.

use std::fs;
use std::path::PathBuf;

use runner::ssh::SshError;
use runner::ssh::config::{HostConfig, look_up};
use tempfile::TempDir;

/// A home directory with these files in its `.ssh`.
fn home(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".ssh");
    fs::create_dir(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    (home, directory.join("config"))
}

#[test]
fn an_alias_stands_for_what_the_file_says() {
    let (home, config) = home(&[
        (
            "config",
            "Include more\n\
             Host gpu\n  HostName 10.1.2.3\n  Port 2222\n  User azureuser\n\
             \x20 IdentityFile ~/.ssh/gpu_key\n  ProxyJump ana@gate:2200,inner\n\
             Host *.lab\n  HostName %h.example.com\n  IdentityFile %d/keys/%n-%r\n  User me\n\
             Host here\n  ProxyJump none\n  IdentityFile none\n\
             Host *\n  Port 22000\n  ServerAliveInterval 5\n  SomethingNew yes\n  ProxyJump far\n",
        ),
        ("more", "Host included\n  HostName 10.9.9.9\n"),
    ]);
    let path = |name: &str| home.path().join(name);

    let gpu = look_up(&config, "gpu").unwrap();
    let lab = look_up(&config, "a.lab").unwrap();
    let here = look_up(&config, "here").unwrap();
    let included = look_up(&config, "included").unwrap();

    assert_eq!(
        gpu,
        HostConfig {
            host_name: Some("10.1.2.3".to_owned()),
            port: Some(2222),
            user: Some("azureuser".to_owned()),
            identity_files: vec![path(".ssh/gpu_key")],
            jumps: vec!["ana@gate:2200".to_owned(), "inner".to_owned()],
        }
    );
    assert_eq!(lab.host_name.as_deref(), Some("a.lab.example.com"));
    assert_eq!(lab.identity_files, [path("keys/a.lab-me")]);
    assert_eq!((here.jumps, here.identity_files, here.port), (vec![], vec![], Some(22000)));
    assert_eq!(included.host_name.as_deref(), Some("10.9.9.9"));
    assert_eq!(included.jumps, ["far"]);
}

#[test]
fn conditions_that_are_not_understood_hold_for_nobody() {
    let (_home, config) = home(&[(
        "config",
        "Host gpu\n  User ana\n\
         Match host gpu exec \"false\"\n  Port 1\n\
         Match originalhost gpu,other\n  HostName 10.1.2.3\n\
         Match all\n  Port 3\n",
    )]);

    let gpu = look_up(&config, "gpu").unwrap();
    let third = look_up(&config, "third").unwrap();

    assert_eq!((gpu.user.as_deref(), gpu.host_name.as_deref()), (Some("ana"), Some("10.1.2.3")));
    assert_eq!((gpu.port, third.port, third.host_name), (Some(3), Some(3), None));
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (_home, config) = home(&[("config", "Host a\n  Port many\nHost *\n  HostName %C\n")]);
    let refusal = look_up(&config, "a").unwrap_err();
    assert!(
        matches!(&refusal, SshError::Config { file, .. } if *file == config.display().to_string())
    );
    assert!(refusal.to_string().contains("port number"), "{refusal}");

    fs::write(&config, "Host *\n  HostName %C\n").unwrap();
    let refusal = look_up(&config, "a").unwrap_err();
    assert!(refusal.to_string().ends_with("%C in \"%C\" is not known"), "{refusal}");

    fs::remove_file(&config).unwrap();
    assert_eq!(look_up(&config, "a").unwrap(), HostConfig::default());
    assert!(look_up(config.parent().unwrap(), "a").is_err());
}
