//! Runs on a machine, from the upload to the release.

use std::fs;

use runner::exit_record::ExitReason;
use runner::remote::client::RemoteError;
use runner::remote::files::MIRRORED;
use runner::remote::message::{RefusalKind, Standing, Started};

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
    assert_eq!(run.text().lines().count(), 4000);
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
