//! Files that make no sense: a message with its place, and never a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use runner::run_configuration::{load, not_yet};

use crate::project::{Project, chain, problem};

#[test]
fn a_wrong_value_is_named_with_its_place() {
    let texts = [
        "script: [a.py]",
        "script: a.py\narguments: --lr 1",
        "arguments: [a, [b]]",
        "arguments: [a, ~]",
        "nodeCount: two",
        "nodeCount: -1",
        "maxRunDurationSeconds: 1.5",
        "maxRunDurationSeconds: 010",
        "priority: high",
        "framework: Java",
        "communicator: smoke",
        "docker: on",
        "docker: {useDocker: yes}",
        "docker: {useDocker: true, shmSize: big}",
        "environment: [a]",
        "environmentVariables: {A: [1]}",
        "nodeCount: 1\nnode_count: 2",
        "nodeCount: 1\nnodeCount: 2",
        "- a",
        "just words",
        "",
        "environment: no/such.yml",
    ];
    let mut table = String::new();
    for text in texts {
        writeln!(table, "{}\n", problem(text)).unwrap();
    }
    insta::assert_snapshot!("wrong_values", table);
}

#[test]
fn what_is_no_file_of_text_is_refused() {
    let project = Project::new();
    let pipe = project.directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let paths = [
        project.directory.path().join("missing.runconfig"),
        project.directory.path().to_owned(),
        pipe,
        project.file("big", vec![b'a'; 10 << 20]),
        project.file("latin1", b"script: a.py\nname: caf\xe9\n"),
        project.file("binary", [0_u8, 1, 2, 255]),
    ];
    let mut table = String::new();
    for path in paths {
        let error = load(&path).unwrap_err();
        let root = project.directory.path().to_str().unwrap();
        let hint = error.hint().unwrap_or("-");
        writeln!(table, "{}\n  hint: {hint}", chain(&error).replace(root, "ROOT")).unwrap();
    }
    insta::assert_snapshot!(table, @r#"
    cannot read run configuration "ROOT/missing.runconfig"
    No such file or directory (os error 2)
      hint: Name the file with its path, as in -c .azureml/local.runconfig.
    run configuration "ROOT" is not a file
      hint: -c takes a .runconfig file or a v2 command job.
    run configuration "ROOT/pipe" is not a file
      hint: -c takes a .runconfig file or a v2 command job.
    run configuration "ROOT/big" is larger than 1048576 bytes
      hint: -c takes a .runconfig file or a v2 command job.
    cannot use run configuration "ROOT/latin1"
    line 2, column 10: not UTF-8 text
      hint: -
    cannot use run configuration "ROOT/binary"
    line 1, column 4: not UTF-8 text
      hint: -
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Breaks the SDK's own files in every way: a message or a configuration, never a panic.
    #[test]
    fn no_broken_file_panics(
        which in 0..4_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..6_u8, any::<u8>()), 1..8),
    ) {
        const FILES: [&[u8]; 4] = [
            include_bytes!("../samples/02-docker-conda/.azureml/docker.runconfig"),
            include_bytes!("../samples/run_config_wire.json"),
            include_bytes!("../samples/04-pytorch-command-separate-env/.azureml/environment.yml"),
            include_bytes!("../samples/v2-command-job.yml"),
        ];
        let mut bytes = FILES[which].to_vec();
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, b"{}[]:&*!|>'\"%@`-?#,\n\t \0~"[usize::from(byte) % 24]),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at.max(1)),
                4 => bytes.extend_from_within(at..),
                _ => bytes.splice(at..at, [b'-', b' ', byte]).for_each(drop),
            }
        }
        let project = Project::new();
        for name in ["a.runconfig", "a.yml"] {
            match load(&project.file(name, &bytes)) {
                Ok(loaded) => {
                    drop(not_yet(&loaded.configuration));
                    drop(loaded.configuration.validate());
                }
                Err(error) => prop_assert!(!chain(&error).is_empty()),
            }
        }
    }
}
