#![cfg(feature = "conda")]

mod fixture;
mod https;
mod tools;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::fixture::{Fixture, failed, output, scripts};
use super::*;
use crate::testing::{python, write_wheels};

#[test]
fn packages_of_a_local_channel_are_installed_and_a_lock_makes_the_same_again() {
    let fixture = Fixture::new();
    fixture.tiny_channel(&["1.0", "2.0"]);
    let text = "channels: [./channel]\ndependencies:\n- tinytool\n- tinydata<2\nprefix: /x\n";

    let first = fixture.build("first", text, &[]);
    let built = first.result.unwrap();
    fixture.tiny_channel(&["1.0", "1.5", "2.0"]);
    let again = fixture.build("again", text, &built.lock).result.unwrap();
    let fresh = fixture.build("fresh", text, &[]).result.unwrap();

    assert_eq!(output(&fixture.path("first/conda/bin/tinytool"), &[]), "1.0\n");
    assert_eq!(output(&fixture.path("again/conda/bin/tinytool"), &[]), "1.0\n");
    assert_eq!(output(&fixture.path("fresh/conda/bin/tinytool"), &[]), "1.5\n");
    assert_eq!(built.packages, ["tinydata=1.0=trainyard_0", "tinytool=0.3=trainyard_0"]);
    assert_eq!(again.packages, built.packages);
    assert_eq!(again.lock, built.lock);
    assert_ne!(fresh.lock, built.lock);
    assert_eq!(built.python, None);
    assert!(!fixture.path(".cache").exists() && !fixture.path(".conda").exists());
    // The order of these is that of two cores.
    let (order, log): (Vec<&str>, Vec<&str>) = first
        .log
        .lines()
        .partition(|line| line.starts_with("Installed") || line.starts_with("progress"));
    assert!(order.contains(&"progress 2/2 steps: Installing conda packages"), "{order:?}");
    assert!(order.contains(&"Installed tinytool 0.3"), "{order:?}");
    insta::assert_snapshot!(log.join("\n"), @r#"
    warning: "conda.yml" line 5: prefix is not used: environments are kept by their key
    Reading channel file://DIR/channel
    Solving for linux-64 (candidates: 2)
    Packages: 2
      tinydata 1.0 trainyard_0
      tinytool 0.3 trainyard_0
    "#);
}

#[test]
fn a_wish_that_cannot_be_granted_is_explained_by_the_solver() {
    let fixture = Fixture::new();
    fixture.tiny_channel(&["1.0"]);

    let text = "channels: [./channel]\ndependencies: [tinytool, tinydata>=2]";
    let failed = failed(fixture.build("env", text, &[]));

    assert_eq!(failed.cause, FailureCause::Unresolvable);
    let lines = failed.last_lines.join("\n");
    let lines = lines.replace(fixture.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(format!("{}\n{lines}", failed.what), @r#"
    cannot make the conda environment of conda.yml: no packages satisfy it
    Reading channel file://DIR/channel
    Solving for linux-64 (candidates: 1)
    No candidates were found for tinydata >=2.
    "#);
}

#[test]
fn a_channel_that_cannot_be_read_leads_to_the_offer_to_take_packages_from_pip() {
    let fixture = Fixture::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}/channel");

    for channel in ["./missing", nobody.as_str()] {
        let text = format!("channels: [{channel}]\ndependencies: [six]");
        let failed = failed(fixture.build("env", &text, &[]));

        assert_eq!(failed.cause, FailureCause::NoChannel, "{failed:?}");
        assert!(failed.cause.hint().unwrap().contains("--conda-from-pip"));
        assert!(failed.last_lines.join("\n").contains("channel"), "{failed:?}");
    }
}

#[test]
fn a_cancelled_build_ends_at_once_also_where_a_server_is_silent() {
    let fixture = Fixture::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "channels: ['http://{}/channel']\ndependencies: [six]",
        silent.local_addr().unwrap()
    );
    let cancel = AtomicBool::new(false);

    thread::scope(|scope| {
        let cancelling = scope.spawn(|| {
            let mut connection = silent.accept().unwrap().0;
            connection.read_exact(&mut [0; 4]).unwrap();
            cancel.store(true, Ordering::Relaxed);
            // Open until the end of the test.
            (Instant::now(), connection)
        });
        let made = fixture.build_until("env", &text, &[], &cancel);
        let (cancelled, _connection) = cancelling.join().unwrap();
        let took = cancelled.elapsed();

        assert!(matches!(made.result, Err(BuildError::Cancelled)), "{}", made.log);
        // 200 ms, and patience with a busy machine.
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn packages_are_laid_out_for_where_they_will_be_in_an_image() {
    let fixture = Fixture::new();
    fixture.tiny_channel(&["1.0"]);
    let packages = fixture.packages("channels: [./channel]\ndependencies: [tinytool, pip: [idna]]");
    let directory = fixture.path("layout");
    let mut watch = Watch {
        log: &mut |_: &[u8]| {},
        marker: ("TRAINYARD_TEST_MARKER", "layout"),
        cancel: &AtomicBool::new(false),
    };
    let place = ForImage {
        directory: &directory,
        target_prefix: "/opt/trainyard/env",
        platform: "linux/amd64",
    };

    let laid_out = fixture
        .workshop(&fixture.path("env"), |workshop| {
            lay_out_for_image(workshop, &packages, &place, &[], &mut watch)
        })
        .unwrap();

    let script = fs::read_to_string(directory.join("bin/tinytool")).unwrap();
    assert_eq!(script, "#!/bin/sh\ncat /opt/trainyard/env/share/tiny.txt\n");
    assert_eq!(laid_out.packages.len(), 2);
    assert_eq!(laid_out.pip.unwrap()[0].text.trim(), "idna");
    assert!(laid_out.lock.text.contains("/linux-64/tinydata-1.0-trainyard_0.conda#sha256:"));
}

#[test]
fn a_python_with_packages_of_conda_and_pip_runs() {
    let mut fixture = Fixture::new();
    let channel = scripts().join("../target/test-tools/channel");
    let made =
        Command::new(python()).arg(scripts().join("channel.py")).arg(&channel).arg("six").status();
    assert!(made.unwrap().success());
    write_wheels(&fixture.path("wheels"), &[("trainyard-sample", "1.2")]);
    let text = format!(
        "channels: [{}]\ndependencies: [python, six, pip: [trainyard-sample]]",
        channel.canonicalize().unwrap().display()
    );

    let made = fixture.build("env", &text, &[]);
    let built = made.result.unwrap_or_else(|error| panic!("{error:?}\n{}", made.log));

    let python = prefix(&fixture.path("env")).join("bin/python");
    let code =
        "import six, trainyard_sample, ssl, sys; print(trainyard_sample.version, sys.prefix)";
    let said = output(&python, &["-c", code]);
    assert_eq!(said, format!("1.2 {}\n", fixture.path("env/conda").display()));
    let facts = built.python.unwrap();
    assert_eq!(facts.prefix, fixture.path("env/conda"));
    assert_eq!(built.python_version.as_deref(), Some(facts.version.as_str()));
    assert_eq!(built.packages.last().unwrap(), "trainyard-sample==1.2");
    assert_eq!(built.lock[1].text, "trainyard-sample==1.2\n");
    assert!(built.built_by.starts_with("rattler (built in), pip "), "{}", built.built_by);

    if let Some(uv) = crate::testing::uv() {
        fixture.host.put_first_on_path(uv.parent().unwrap());
        let again = fixture.build("again", &text, &built.lock).result.unwrap();
        assert!(again.built_by.starts_with("rattler (built in), uv "), "{}", again.built_by);
        assert_eq!(again.lock, built.lock);
    }
}

#[test]
fn a_section_for_pip_needs_a_python() {
    let fixture = Fixture::new();
    fixture.tiny_channel(&["1.0"]);

    let text = "channels: [./channel]\ndependencies: [tinytool, pip: [idna]]";
    let failed = failed(fixture.build("env", text, &[]));

    assert_eq!(failed.what, "conda.yml has a section for pip, but no Python to install into");
}

/// Makes a directory with a `channel` of packages without Python, for other tests.
pub(crate) fn tiny_channel(versions: &[&str]) -> tempfile::TempDir {
    let fixture = Fixture::new();
    fixture.tiny_channel(versions);
    fixture.directory
}
