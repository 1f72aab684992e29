//! What containers are given, as they see it themselves.

use std::time::{Duration, Instant};

use super::*;
use crate::engine::{Engine, EngineError, LABEL, RUN_LABEL};
use crate::testing::engine::{engine, shell, unique};

const LIMIT: Duration = Duration::from_secs(30);
const SHORT: ShortRun<'_> = ShortRun { home: "/none", purpose: "test", limit: LIMIT };

/// What a line of shell writes in a container.
fn said(engine: &Engine, spec: &ContainerSpec) -> String {
    let (code, stdout, stderr) = engine.run_container(spec, SHORT).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert_eq!((code, text(stderr)), (0, String::new()));
    text(stdout)
}

#[test]
fn both_streams_and_the_code_come_back() {
    let Some(engine) = engine() else { return };
    let spec = shell(&engine, "echo out; echo err >&2; exit 7");
    let expected = (7, b"out\n".to_vec(), b"err\n".to_vec());
    assert_eq!(engine.run_container(&spec, SHORT).unwrap(), expected);
}

#[test]
fn a_container_has_what_was_asked_and_nothing_more() {
    let Some(engine) = engine() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "mounted\n").unwrap();
    let line = "cat /there/file; touch /there/x 2>/dev/null || echo read-only; id -u; id -g; pwd
        grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -d '\\t '; ulimit -n; echo $GREETING
        df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2; hostname; ls /sys/class/net; touch /scratch/a; cat /proc/1/comm";
    let mut spec = ContainerSpec {
        working_directory: "/there".to_owned(),
        environment: [("GREETING".to_owned(), "a b=c".to_owned())].into(),
        mounts: vec![Mount {
            source: directory.path().to_owned(),
            target: "/there".to_owned(),
            read_only: true,
        }],
        tmpfs: [("/scratch".to_owned(), "rw,size=1m,mode=1777".to_owned())].into(),
        ulimits: vec![("nofile".to_owned(), 100, 200)],
        shm_bytes: Some(32 << 20),
        memory_bytes: Some(256 << 20),
        cpus: Some(1.5),
        pids: Some(50),
        hostname: Some("own".to_owned()),
        read_only: true,
        init: true,
        ..shell(&engine, line)
    };
    let first = if engine.facts().init { "docker-init" } else { "sh" };
    let expected = format!(
        "mounted\nread-only\n1000\n1000\n/there\nCapEff:0000000000000000\nNoNewPrivs:1\n100\na b=c\n\
         32768\nown\nlo\n{first}\n"
    );
    assert_eq!(said(&engine, &spec), expected);

    spec.mounts[0].source = directory.path().join("missing");
    let error = engine.run_container(&spec, SHORT).unwrap_err();
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(!directory.path().join("missing").exists());
}

#[test]
fn limits_hold() {
    let Some(engine) = engine() else { return };
    // The engine tells it of a container that has ended, and only if it heard of it before that: a
    // moment later as a rule, on a busy machine a long one.
    let mut seen = Vec::new();
    for moment in [1, 4, 16] {
        let line = format!("head -c 200000000 /dev/zero | tail | wc -c; sleep {moment}");
        let spec = ContainerSpec { memory_bytes: Some(32 << 20), ..shell(&engine, &line) };
        let id = engine.create_container(&unique("memory"), &spec).unwrap().id;
        engine.start_container(&id).unwrap();
        engine.wait_container(&id).unwrap();
        seen.push(engine.container(&id).unwrap().unwrap());
        engine.remove_container(&id).unwrap();
        if seen.last().is_some_and(|state| state.oom_killed) {
            return;
        }
    }
    panic!("{seen:?}");
}

#[test]
fn what_is_not_in_the_image_is_named() {
    let Some(engine) = engine() else { return };
    for program in ["no-such-program", "/no/such/program"] {
        let mut spec = shell(&engine, "");
        spec.entrypoint = vec![program.to_owned()];
        let error = engine.run_container(&spec, SHORT).unwrap_err();
        assert!(error.to_string().starts_with(&format!("the image has no {program:?}")), "{error}");
        assert!(error.hint().is_some());
    }
    let mut spec = shell(&engine, "");
    spec.image = format!("sha256:{}", "0".repeat(64));
    let error = engine.run_container(&spec, SHORT).unwrap_err();
    assert!(matches!(error, EngineError::NoImage { .. }), "{error:?}");
}

#[test]
fn one_that_does_not_end_is_ended_and_removed() {
    let Some(engine) = engine() else { return };
    let home = unique("home");
    let spec = shell(&engine, "sleep 600");
    let short = ShortRun { home: &home, purpose: "test", limit: Duration::from_millis(800) };
    let started = Instant::now();
    let error = engine.run_container(&spec, short).unwrap_err();
    assert!(matches!(error, EngineError::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < LIMIT);
    assert_eq!(engine.our_containers(&home).unwrap(), []);
}

#[test]
fn a_repeated_create_finds_the_first() {
    let Some(engine) = engine() else { return };
    let (name, home) = (unique("twice"), unique("home"));
    let mut spec = shell(&engine, "true");
    let labels = [(LABEL, "1"), (RUN_LABEL, "r1"), (crate::engine::HOME_LABEL, &home)];
    spec.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let first = engine.create_container(&name, &spec).unwrap();
    let second = engine.create_container(&name, &spec).unwrap();
    assert_eq!((first.found, second.found, &first.id), (false, true, &second.id));

    let listed = engine.our_containers(&home).unwrap();
    let expected = OurContainer {
        id: first.id.clone(),
        name: name.clone(),
        labels: spec.labels.clone(),
        running: false,
    };
    assert_eq!(listed, [expected]);

    spec.labels.insert(RUN_LABEL.to_owned(), "r2".to_owned());
    let error = engine.create_container(&name, &spec).unwrap_err();
    engine.remove_container(&first.id).unwrap();
    assert!(matches!(error, EngineError::Refused { status: 409, .. }), "{error:?}");
    for bad in ["", "a/b", "../info", "-x", "a?b"] {
        assert!(engine.create_container(bad, &spec).is_err(), "{bad}");
        assert!(engine.container(bad).is_err(), "{bad}");
    }
}

#[test]
fn removing_twice_at_once_is_fine() {
    let Some(engine) = engine() else { return };
    let id = engine.create_container(&unique("removed"), &shell(&engine, "sleep 600")).unwrap().id;
    engine.start_container(&id).unwrap();
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| engine.remove_container(&id))).collect();
        assert!(others.into_iter().all(|other| other.join().unwrap().is_ok()));
    });
    assert_eq!(engine.container(&id).unwrap(), None);
}

#[test]
fn output_is_followed_from_the_first_byte_to_the_last() {
    let Some(engine) = engine() else { return };
    let line = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf end >&2; printf last";
    let id = engine.create_container(&unique("attached"), &shell(&engine, line)).unwrap().id;
    let attached = engine.attach(&id).unwrap();
    engine.start_container(&id).unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let followed = attached.follow(&engine, &mut |is_stderr, bytes| {
        // Whoever gets output may ask the engine.
        if is_stderr {
            engine.container(&id).unwrap();
        }
        if is_stderr { &mut stderr } else { &mut stdout }.extend_from_slice(bytes);
    });
    engine.remove_container(&id).unwrap();
    followed.unwrap();
    let expected: String = (0..2000).map(|i| format!("line {i}\n")).collect();
    assert_eq!((String::from_utf8(stdout).unwrap(), stderr), (expected + "last", b"end".to_vec()));
}
