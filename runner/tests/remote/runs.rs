//! Runs on a machine, from the upload to the release.

use std::fs;

use runner::compute_target::SupervisorState;
use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;
use runner::remote::client::RemoteError;
use runner::remote::files::MIRRORED;
use runner::remote::message::{Hidden, RefusalKind, Standing, Started};
use runner::supervisor::claim::SupervisorRecord;

use crate::conversation::HomeRun;
use crate::machine::Machine;

/// Says something on both streams, leaves a file and a metric.
const SCRIPT: &str = r#"
import json, os, sys
for n in range(2000):
    print("out", n)
    print("err", n, file=sys.stderr)
open("outputs/model.bin", "wb").write(bytes(range(256)) * 2000)
open("logs/metrics.jsonl", "a").write(json.dumps({"name": "loss", "value": 0.5}) + "\n")
sys.exit(3)
"#;

#[test]
fn a_run_goes_from_the_upload_to_the_release() {
    let machine = Machine::new();
    let mut run = HomeRun::of(SCRIPT, &[("data/numbers", &[7; 300_000])]);
    let mut client = machine.connect();

    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    let prepared = run.look_until(&mut client, |s| !matches!(s, Standing::Preparing)).unwrap();
    assert!(matches!(prepared, Standing::Prepared { .. }), "{prepared:?}");
    assert_eq!(run.start(&mut client).unwrap(), Started::Now);
    let record = run.follow(&mut client).unwrap();
    run.fetch_all(&mut client).unwrap();

    assert_eq!((record.reason, record.code), (ExitReason::ScriptFailed, Some(3)));
    let there = machine.home().run(&run.id);
    for name in MIRRORED {
        let original = fs::read(there.path().join(name)).unwrap_or_default();
        assert_eq!(run.mirrored(name), original, "{name}");
    }
    assert_eq!(run.text(StreamFilter::All).lines().count(), 4000);
    assert_eq!(run.mirrored("work/outputs/model.bin").len(), 512_000);
    run.release(&mut client).unwrap();
    assert!(!there.path().exists());
    drop(client);
    machine.wait_until_quiet();
}

#[test]
fn every_request_may_come_twice() {
    let machine = Machine::new();
    let mut run = HomeRun::of(SCRIPT, &[]);
    let (mut client, mut other) = (machine.connect(), machine.connect());

    for _ in 0..2 {
        run.upload(&mut client).unwrap();
        run.upload(&mut other).unwrap();
    }
    for _ in 0..2 {
        run.prepare(&mut client).unwrap();
        run.prepare(&mut other).unwrap();
    }
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    assert_eq!(run.start(&mut client).unwrap(), Started::Now);
    assert_eq!(run.start(&mut other).unwrap(), Started::Before);
    run.prepare(&mut other).unwrap();
    let record = run.follow(&mut client).unwrap();
    assert_eq!(run.start(&mut other).unwrap(), Started::Before);
    assert_eq!(run.settle(&mut client).unwrap(), record);
    assert_eq!(run.settle(&mut other).unwrap(), record);
    assert_eq!(run.collect(&mut client).unwrap(), run.collect(&mut other).unwrap());
    run.cancel(&mut other).unwrap();
    assert_eq!(run.follow(&mut other).unwrap(), record);
    run.release(&mut client).unwrap();
    run.release(&mut other).unwrap();

    let refused = run.start(&mut client).unwrap_err();
    let RemoteError::Refused { refusal } = refused else { panic!("{refused}") };
    assert_eq!(refusal.kind, RefusalKind::NotFound);
    assert_eq!(run.look_until(&mut client, |_| true).unwrap(), Standing::Unknown);
}

#[test]
fn two_agents_use_one_machine_at_once() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        for owner in ["one", "two"] {
            let machine = &machine;
            scope.spawn(move || {
                let mut client = machine.connect();
                for round in 0_u8..3 {
                    let mut run = HomeRun::of(SCRIPT, &[("data", &[round; 100_000])]);
                    run.owner = owner.to_owned();
                    let record = run.carry_through(&mut client).unwrap();
                    assert_eq!(record.code, Some(3));
                    assert_eq!(run.text(StreamFilter::Stdout).lines().count(), 2000);
                }
            });
        }
    });
    machine.wait_until_quiet();
}

#[test]
fn secrets_and_hostile_values_arrive_as_they_are_and_stay_nowhere() {
    let machine = Machine::new();
    let script = "import os, sys\n\
        open('outputs/seen', 'wb').write(repr((sys.argv[1:], os.environ['ODD'])).encode())\n\
        print('the token is', os.environ['TOKEN'])";
    let mut run = HomeRun::of(script, &[]);
    let odd = "a'b\"c`d$(e)\\f\ng;h|i&j\u{1f600} \u{7f}";
    run.launch.program.push(odd.to_owned());
    run.launch.environment.insert("ODD".to_owned(), odd.to_owned());
    run.launch.secret_names.push("TOKEN".to_owned());
    run.secrets.insert("TOKEN".to_owned(), Hidden("hunter2hunter2".to_owned()));
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    run.start(&mut client).unwrap();
    let record = run.follow(&mut client).unwrap();
    run.fetch_all(&mut client).unwrap();

    assert_eq!(record.reason, ExitReason::Completed);
    let seen = String::from_utf8(run.mirrored("work/outputs/seen")).unwrap();
    let again = std::process::Command::new(crate::machine::python())
        .args(["-c", "import sys; print(repr(([sys.argv[1]], sys.argv[1])), end='')", odd])
        .output()
        .unwrap();
    assert_eq!(seen, String::from_utf8(again.stdout).unwrap());
    assert!(!run.text(StreamFilter::All).contains("hunter2"));
    let there = machine.home().run(&run.id);
    assert!(!there.secrets_json().exists());
    let launch = fs::metadata(there.launch_json()).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&launch.permissions()) & 0o777, 0o600);
    let request = format!("{:?}", Hidden("hunter2".to_owned()));
    assert_eq!(request, "…");
}

#[test]
fn a_run_whose_supervisor_was_killed_is_settled() {
    let machine = Machine::new();
    let script = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(1000)";
    let mut run = HomeRun::of(script, &[]);
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    run.start(&mut client).unwrap();
    while run.mirrored(MIRRORED[0]).is_empty() {
        run.look(&mut client, 1000).unwrap();
    }
    let supervisor = SupervisorRecord::read(&machine.home().run(&run.id)).unwrap().unwrap();
    for process in [supervisor.guard, supervisor.supervisor] {
        crate::machine::kill(process.pid);
    }

    let lost = |s: &Standing| matches!(s, Standing::Supervised { state: SupervisorState::Lost(_) });
    run.look_until(&mut client, lost).unwrap();
    let record = run.settle(&mut client).unwrap();

    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert_eq!(run.follow(&mut client).unwrap(), record);
    run.release(&mut client).unwrap();
    drop(client);
    machine.wait_until_quiet();
}

#[test]
fn a_long_log_comes_in_pieces_and_whole() {
    let machine = Machine::new();
    let script = "import sys\n\
        for n in range(300000): print('line', n)\n\
        open('outputs/big', 'wb').write(bytes(range(256)) * 20000)";
    let mut run = HomeRun::of(script, &[]);
    run.launch.program.remove(1);
    let mut client = machine.connect();

    run.carry_through(&mut client).unwrap();

    let expected: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
    assert!(run.text(StreamFilter::Stdout) == expected);
    assert_eq!(run.mirrored("work/outputs/big").len(), 5_120_000);
}
