//! Sources that are sent to a machine ahead of the runs that need them.

use tests::attached::{AttachedYard, NAME};
use tests::text;
use tests::vm::VmOptions;

#[test]
fn a_source_is_sent_once_and_runs_find_it_there() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let source = yard.project("sent", &[("train.py", "print('there')"), ("data/a.csv", "1,2\n")]);
    let source = source.to_str().unwrap();
    let send = ["snapshot", "send", source, "--target", NAME, "--json"];

    let first = yard.json(send);
    let again = yard.json(send);

    // Two files and two directories.
    assert_eq!(first["objects"], 4, "{first:#}");
    assert_eq!((&again["objects"], &again["bytes"]), (&0.into(), &0.into()), "{again:#}");
    assert!(again["roundTrips"].as_u64().unwrap() <= 3, "{again:#}");
    assert_eq!(again["snapshotId"], first["snapshotId"]);
    let run = ["run", "--target", NAME, "--source", source, "train.py"];
    assert_eq!(yard.ok(run), "there\n");

    for (target, why) in [("local", "local is this machine"), ("nobody", "\"nobody\"")] {
        let refused = yard.call(["snapshot", "send", source, "--target", target]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
}
