//! What goes and what stays when space is freed, and when all of it goes.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use runner::remote::client::RemoteError;
use runner::remote::message::{Cleaned, Cleaning, Purged, RefusalKind, Request, Standing};

use crate::conversation::HomeRun;
use crate::machine::{Machine, ServerPipes, python, wait_until};
use images::environment::{Environment, RequirementsFile};
use runner::remote::client::RemoteClient;

type Client = RemoteClient<ServerPipes>;

/// A run that is over and was not released.
fn ended(client: &mut Client, script: &str, content: &[u8]) -> HomeRun {
    let mut run = HomeRun::of(script, &[("data", content)]);
    started(client, &mut run);
    run.follow(client).unwrap();
    run
}

fn started(client: &mut Client, run: &mut HomeRun) {
    run.upload(client).unwrap();
    run.prepare(client).unwrap();
    let standing = run.look_until(client, |s| !matches!(s, Standing::Preparing)).unwrap();
    assert!(matches!(standing, Standing::Prepared { .. }), "{standing:?}");
    run.start(client).unwrap();
}

const WAITS: &str = "import time\nprint('on', flush=True)\ntime.sleep(1000)";

fn clean(client: &mut Client, seconds: u64, max_bytes: Option<u64>, dry_run: bool) -> Cleaned {
    let wanted =
        Cleaning { runs_older_seconds: seconds, max_bytes, dry_run, ..Cleaning::default() };
    client.ask(&Request::Clean(wanted)).unwrap()
}

fn purge(client: &mut Client, owner: &str) -> Purged {
    client.ask(&Request::Purge { owner: owner.to_owned() }).unwrap()
}

/// Makes everything below `path` look as if it was written long ago.
fn age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            age(&entry.unwrap().path());
        }
    }
    if !path.is_symlink() {
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
}

#[test]
fn ended_runs_and_what_only_they_needed_go_when_they_are_old() {
    let machine = Machine::new();
    let mut client = machine.connect();
    // Nothing of it is in another's source: what somebody was told of lately is not old.
    let old = ended(&mut client, "print('old')", &[1; 400_000]);
    let mut on = HomeRun::of(WAITS, &[("data", &[2; 400_000])]);
    started(&mut client, &mut on);
    age(machine.home().path());
    let young = ended(&mut client, "pass", &[3; 400_000]);
    let day = 24 * 3600;

    let would = clean(&mut client, day, None, true);
    assert!(machine.home().run(&old.id).path().exists());
    let did = clean(&mut client, day, None, false);

    assert_eq!((would.runs, did.runs), (1, 1), "{would:?} {did:?}");
    assert!(did.run_bytes > 400_000, "{did:?}");
    assert!(did.objects >= 2, "{did:?}");
    assert!(!machine.home().run(&old.id).path().exists());
    for run in [&on, &young] {
        assert!(machine.home().run(&run.id).path().exists());
    }
    assert_eq!(clean(&mut client, day, None, false), Cleaned::default());
    on.cancel(&mut client).unwrap();
    on.follow(&mut client).unwrap();
}

#[test]
fn runs_that_are_to_stay_do_and_those_that_never_started_do_not() {
    let machine = Machine::new();
    let (mut client, mut theirs) = (machine.connect(), machine.connect());
    let prepared = |client: &mut Client, owner: &str| {
        let mut run = HomeRun::of("pass", &[]);
        run.owner = owner.to_owned();
        run.upload(client).unwrap();
        run.prepare(client).unwrap();
        run.look_until(client, |s| !matches!(s, Standing::Preparing)).unwrap();
        run
    };
    let kept = ended(&mut client, "pass", b"not at home yet");
    let ours = prepared(&mut client, "home");
    let others = prepared(&mut theirs, "other");
    machine.wait_until_keepers_are_gone();
    let wanted = |older: u64| {
        let keep = [kept.id.clone()].into();
        Request::Clean(Cleaning { runs_older_seconds: older, keep, ..Cleaning::default() })
    };
    let there = |run: &HomeRun| machine.home().run(&run.id).path().exists();

    let young: Cleaned = client.ask(&wanted(24 * 3600)).unwrap();
    assert_eq!((young.runs, there(&ours), there(&others)), (0, true, true), "{young:?}");
    age(machine.home().path());
    let old: Cleaned = client.ask(&wanted(24 * 3600)).unwrap();

    assert_eq!((old.runs, there(&ours), there(&others)), (2, false, false), "{old:?}");
    assert!(there(&kept), "however old it is");
}

#[test]
fn environments_that_nobody_used_for_an_hour_go_when_there_is_no_room() {
    let machine = Machine::with_gate();
    machine.open_gate();
    let mut client = machine.connect();
    let environment = |text: &str| Environment::Requirements {
        interpreter: python().into(),
        files: vec![RequirementsFile { name: "r.txt".to_owned(), text: text.to_owned() }],
    };
    for text in ["# old\na\n", "# young\nb\n"] {
        let mut run = HomeRun::of("pass", &[]);
        run.needs.environment = environment(text);
        run.carry_through(&mut client).unwrap();
        if text.contains("old") {
            machine.wait_until_keepers_are_gone();
            age(&machine.home().environments());
        }
    }
    machine.wait_until_keepers_are_gone();

    let did = clean(&mut client, 0, Some(0), false);

    assert_eq!(did.environments, 1, "{did:?}");
    assert!(did.environment_bytes > 0);
    assert_eq!(clean(&mut client, 0, Some(u64::MAX), false).environments, 0);
}

#[test]
fn programs_that_nobody_runs_go_when_they_are_old() {
    let machine = Machine::new();
    let mut client = machine.connect();
    let programs = machine.home().programs();
    for name in ["0.1.0-aaaa", "0.1.0-bbbb", "0.1.0-cccc"] {
        fs::create_dir_all(programs.join(name)).unwrap();
        fs::copy("/bin/sleep", programs.join(name).join("trainyard")).unwrap();
    }
    fs::write(programs.join(".upload-1"), "half").unwrap();
    age(&programs);
    fs::create_dir_all(programs.join("0.1.0-dddd")).unwrap();
    let mut running = std::process::Command::new(programs.join("0.1.0-bbbb/trainyard"))
        .arg("1000")
        .spawn()
        .unwrap();
    wait_until("it runs", || {
        fs::read_link(format!("/proc/{}/exe", running.id()))
            .is_ok_and(|exe| exe.starts_with(&programs))
    });

    let did = clean(&mut client, 0, None, false);

    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(did.programs, 3, "{did:?}");
    let mut left: Vec<_> =
        fs::read_dir(&programs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["0.1.0-bbbb", "0.1.0-dddd"]);
}

#[test]
fn a_purge_leaves_others_and_what_is_on_alone() {
    let machine = Machine::new();
    let (mut client, mut theirs) = (machine.connect(), machine.connect());
    let ours = ended(&mut client, "pass", b"ours");
    let mut on = HomeRun::of(WAITS, &[]);
    started(&mut client, &mut on);
    let mut other = HomeRun::of("print('theirs')", &[]);
    other.owner = "other".to_owned();
    started(&mut theirs, &mut other);
    other.follow(&mut theirs).unwrap();

    let purged = purge(&mut client, "home");

    assert!(!purged.whole);
    assert!(!machine.home().run(&ours.id).path().exists());
    let refused =
        client.ask::<runner::remote::message::Done>(&Request::Release { run: on.id.clone() });
    let Err(RemoteError::Refused { refusal }) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.kind, RefusalKind::StillSupervised);
    other.fetch_all(&mut theirs).unwrap();
    other.release(&mut theirs).unwrap();
    on.cancel(&mut client).unwrap();
    on.follow(&mut client).unwrap();

    let outside = machine.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    std::os::unix::fs::symlink(&outside, machine.home().programs()).unwrap();
    let purged = purge(&mut client, "home");

    assert!(purged.whole, "{purged:?}");
    assert!(purged.bytes > 0);
    assert!(!machine.home().path().exists());
    assert!(outside.join("kept").exists());
    assert!(purge(&mut machine.connect(), "home").whole);
}

#[test]
fn a_purge_ends_preparations_and_leaves_what_is_not_ours() {
    let machine = Machine::with_gate();
    let mut client = machine.connect();
    let mut run = HomeRun::of("pass", &[]);
    run.needs.environment = Environment::Requirements {
        interpreter: python().into(),
        files: vec![RequirementsFile { name: "r.txt".to_owned(), text: String::new() }],
    };
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    wait_until("the build has begun", || machine.builds() == 1);
    fs::write(machine.home().path().join("notes.txt"), "of the user").unwrap();

    let purged = purge(&mut client, "home");

    assert!(!purged.whole, "{purged:?}");
    let left: Vec<_> = fs::read_dir(machine.home().path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["notes.txt"]);
    drop(client);
    machine.wait_until_quiet();
}
