//! Many writers at once, and clean-up among them, in threads and in processes.
#![expect(clippy::unwrap_used, reason = "a test")]

mod objects;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use objects::{Node, content, directory, files_below, objects_of, store_snapshot};
use snapshots::digest::Digest;
use snapshots::gc::{self, Collected};
use snapshots::materialize::materialize;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::local::LocalStore;
use snapshots::tree::EntryKind;

const STORE: &str = "TRAINYARD_TEST_STORE";

fn snapshot_of(seed: u64) -> Node {
    // What is common to all comes and goes with them.
    let common = (0..20u64).map(|n| (format!("common-{n}"), Node::File(content(n, 2000))));
    let own = (0..5).map(|n| (format!("own-{n}"), Node::File(content(seed * 10 + n + 1000, 2000))));
    directory(common.chain(own))
}

fn take(store: &LocalStore, seed: u64) -> SnapshotRecord {
    let _lease = store.lease().unwrap();
    let record = store_snapshot(store, &snapshot_of(seed));
    objects_of(store, record.id);
    record
}

/// Makes everything in the store look old.
fn age(store: &LocalStore) {
    let old = SystemTime::now() - Duration::from_secs(7200);
    for path in files_below(store.directory()) {
        std::fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
}

fn spawn(test: &str, store: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(STORE, store)
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a process of the next test does.
#[test]
fn child_that_stores_the_same_as_everybody() {
    let Ok(directory) = std::env::var(STORE) else { return };
    let store = LocalStore::open(Path::new(&directory)).unwrap();
    store_snapshot(&store, &snapshot_of(1));
}

#[test]
fn the_same_content_from_many_processes_and_threads_is_stored_soundly() {
    let home = tempfile::tempdir().unwrap();
    let mut children: Vec<_> =
        (0..8).map(|_| spawn("child_that_stores_the_same_as_everybody", home.path())).collect();
    let store = LocalStore::open(home.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store_snapshot(&store, &snapshot_of(1)));
        }
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    // Who looked before another had committed stored some objects once more, which is harmless.
    let packs = files_below(&home.path().join("packs")).len();

    let record = store_snapshot(&store, &snapshot_of(1));

    assert_eq!(objects_of(&store, record.id).len(), 26);
    assert_eq!(files_below(&home.path().join("packs")).len(), packs, "all of it was there");
}

/// Not a test of its own: what a process of the next test does.
#[test]
fn child_that_takes_snapshots_among_clean_up() {
    let Ok(directory) = std::env::var(STORE) else { return };
    let store = LocalStore::open(Path::new(&directory)).unwrap();
    let seed = u64::from(std::process::id()) * 1000;
    for round in 0..40 {
        let mut record = take(&store, seed + round);
        if round % 4 == 0 {
            record.kept = true;
            let _lease = store.lease().unwrap();
            // It may be gone since the other lease: then it is taken again.
            store_snapshot(&store, &snapshot_of(seed + round));
            store.put_record(&record).unwrap();
        }
    }
}

#[test]
fn clean_up_without_grace_takes_nothing_from_under_a_writer() {
    let home = tempfile::tempdir().unwrap();
    let mut children: Vec<_> =
        (0..2).map(|_| spawn("child_that_takes_snapshots_among_clean_up", home.path())).collect();
    let store = LocalStore::open(home.path()).unwrap();
    let over = AtomicBool::new(false);
    let collected = std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            let mut all = Vec::new();
            let other = LocalStore::open(home.path()).unwrap();
            loop {
                // Once more when all is over: where the machine is busy, there may have been no
                // moment without a lease before.
                let last = over.load(Ordering::Relaxed);
                all.push(gc::collect(&other, &[], Duration::ZERO, false).unwrap());
                if last {
                    break all;
                }
            }
        });
        for round in 0..40 {
            take(&store, round);
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        over.store(true, Ordering::Relaxed);
        cleaner.join().unwrap()
    });

    let removed: u64 = collected.iter().map(|one| one.objects).sum();
    assert!(removed > 100, "only {removed} objects were removed");
    assert!(collected.iter().all(|one| one.damaged.is_empty()));
    gc::collect(&store, &[], Duration::ZERO, false).unwrap();
    let records = store.records().unwrap();
    assert_eq!(records.len(), 20);
    for record in records {
        objects_of(&store, record.id);
    }
}

#[test]
fn what_nothing_refers_to_goes_and_the_dry_run_counts_the_same() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let large = |seed| directory([("large", Node::File(content(seed, 5 << 20)))]);
    let (gone, in_use) = (store_snapshot(&store, &large(1)), store_snapshot(&store, &large(2)));
    let mut kept = store_snapshot(&store, &snapshot_of(1));
    kept.kept = true;
    store.put_record(&kept).unwrap();
    age(&store);
    let young = store_snapshot(&store, &snapshot_of(2));
    let grace = Duration::from_secs(3600);

    let foreseen = gc::collect(&store, &[in_use.id], grace, true).unwrap();
    assert_eq!(objects_of(&store, gone.id).len(), 2);
    let collected = gc::collect(&store, &[in_use.id], grace, false).unwrap();

    assert_eq!(collected, foreseen);
    let tree_bytes = store.read(&in_use.id).unwrap().len() as u64 + 49;
    let expected = Collected {
        objects: 2,
        bytes: (5 << 20) + tree_bytes,
        packs_removed: 1,
        packs_rewritten: 0,
        records_removed: 1,
        damaged: Vec::new(),
    };
    assert_eq!(collected, expected);
    for record in [in_use, kept, young] {
        assert_eq!(store.record(&record.id).unwrap().unwrap().id, record.id);
        objects_of(&store, record.id);
    }
    let digest = Digest::of(&content(1, 5 << 20));
    assert_eq!(store.missing(&[gone.id, digest]).unwrap(), [gone.id, digest]);
}

#[test]
fn mostly_dead_packs_and_many_small_ones_are_rewritten_into_one() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let mut writer = store.writer().unwrap();
    for n in 0..100 {
        let bytes = content(n, 2000);
        writer.put(Digest::of(&bytes), &bytes).unwrap();
    }
    writer.commit().unwrap();
    let roots: Vec<Digest> = (0..20).map(|seed| take(&store, seed).id).collect();
    age(&store);

    let collected = gc::collect(&store, &roots, Duration::from_secs(60), false).unwrap();

    assert_eq!((collected.objects, collected.packs_rewritten), (80, 21));
    assert_eq!(files_below(&home.path().join("packs")).len(), 2);
    for root in roots {
        assert_eq!(objects_of(&LocalStore::open(home.path()).unwrap(), root).len(), 26);
        assert_eq!(objects_of(&store, root).len(), 26);
    }
}

#[test]
fn what_clean_up_rewrites_is_compressed_where_that_pays() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let table: Vec<u8> = (0..20_000).flat_map(|n| format!("{n},0.5,2026\n").into_bytes()).collect();
    let lived = directory([
        ("random", Node::File(content(2, 50_000))),
        ("table.csv", Node::File(table.clone())),
    ]);
    let dead = Node::File(content(1, 400_000));
    let whole = store_snapshot(&store, &directory([("dead", dead), ("lived", lived)]));
    let tree = store.read_tree(&whole.id).unwrap();
    let EntryKind::Directory { digest: root } = tree.get(b"lived").unwrap().kind else { panic!() };
    age(&store);

    let collected = gc::collect(&store, &[root], Duration::from_secs(60), false).unwrap();

    assert_eq!((collected.objects, collected.packs_rewritten), (2, 1));
    let packs = files_below(&home.path().join("packs"));
    let pack = packs.iter().find(|path| path.extension().unwrap() == "pack").unwrap();
    let length = pack.metadata().unwrap().len();
    assert!((50_000..50_000 + table.len() as u64 / 2).contains(&length), "{length}");
    // Also by an index made anew, and into a directory.
    std::fs::remove_file(pack.with_extension("idx")).unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    assert_eq!(objects_of(&store, root).len(), 3);
    let out = home.path().join("out");
    materialize(&store, &root, &out, 2).unwrap();
    assert!(std::fs::read(out.join("table.csv")).unwrap() == table);
}

#[test]
fn clean_up_waits_for_a_lease_and_a_reader_follows_a_rewritten_pack() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let other = LocalStore::open(home.path()).unwrap();
    let record = take(&store, 1);
    let lease = store.lease().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            gc::collect(&other, &[], Duration::ZERO, false).unwrap();
            over.store(true, Ordering::SeqCst);
        });
        for _ in 0..20 {
            objects_of(&store, record.id);
            assert!(!over.load(Ordering::SeqCst));
        }
        drop(lease);
        cleaner.join().unwrap();
    });
    assert_eq!(store.missing(&[record.id]).unwrap(), [record.id]);
}

#[test]
fn records_that_are_removed_meanwhile_do_not_stop_clean_up() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let ids: Vec<_> = (0..200u8).map(|n| Digest::of(&[n])).collect();
    for id in &ids {
        let path = home.path().join(format!("snapshots/{id}.json"));
        std::fs::write(path, serde_json::to_vec(&objects::record(*id)).unwrap()).unwrap();
    }
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| {
            ids.iter().for_each(|id| assert!(store.remove_record(id).unwrap()));
        });
        while !removing.is_finished() {
            gc::collect(&store, &[], Duration::from_secs(60), true).unwrap();
        }
    });
    assert_eq!(store.records().unwrap(), []);
}
