//! Snapshots sent from one store to another.
#![expect(clippy::unwrap_used, reason = "a test")]

mod objects;

use std::io::{self, Read};
use std::time::Duration;

use objects::{Node, content, directory, objects_of, store_snapshot};
use snapshots::archive::Limits;
use snapshots::digest::Digest;
use snapshots::gc;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{Destination, Receiver, Sent, TransferError, send};

fn stores() -> (tempfile::TempDir, LocalStore, LocalStore) {
    let home = tempfile::tempdir().unwrap();
    let from = LocalStore::open(&home.path().join("from")).unwrap();
    let to = LocalStore::open(&home.path().join("to")).unwrap();
    (home, from, to)
}

fn receiver(store: &LocalStore) -> Receiver {
    Receiver::new(store.clone(), Limits::default())
}

fn project(train: u64) -> Node {
    directory([
        ("data", directory((0..20u64).map(|n| (format!("{n}.csv"), Node::File(content(n, 900)))))),
        ("empty", directory::<&str>([])),
        ("model.bin", Node::File(content(77, 5 << 20))),
        ("run.sh", Node::Executable(b"#!/bin/sh\n".to_vec())),
        ("src", directory([("train.py", Node::File(content(train, 300)))])),
    ])
}

fn assert_whole(from: &LocalStore, to: &LocalStore, id: Digest) {
    assert!(objects_of(from, id) == objects_of(to, id));
    assert_eq!(from.record(&id).unwrap(), to.record(&id).unwrap());
}

#[test]
fn only_what_is_missing_travels_in_few_round_trips() {
    let (_home, from, to) = stores();
    let first = store_snapshot(&from, &project(100));

    let sent = send(&from, &first, &mut receiver(&to), &()).unwrap();
    // 20 data files, model, script, training script; 4 trees. Levels: root, its names, theirs.
    assert_eq!((sent.objects, sent.round_trips), (27, 5));
    assert_whole(&from, &to, first.id);

    let again = send(&from, &first, &mut receiver(&to), &()).unwrap();
    assert_eq!(again, Sent { objects: 0, bytes: 0, round_trips: 2 });

    let second = store_snapshot(&from, &project(101));
    let sent = send(&from, &second, &mut receiver(&to), &()).unwrap();
    // The new training script, its directory and the root.
    assert_eq!(sent.objects, 3);
    assert_whole(&from, &to, second.id);
}

#[test]
fn renames_and_moves_send_trees_only() {
    let (_home, from, to) = stores();
    let file = || Node::File(content(1, 10_000));
    let first = store_snapshot(&from, &directory([("a", directory([("f.bin", file())]))]));
    send(&from, &first, &mut receiver(&to), &()).unwrap();

    let renamed = store_snapshot(&from, &directory([("b", directory([("f.bin", file())]))]));
    assert_eq!(send(&from, &renamed, &mut receiver(&to), &()).unwrap().objects, 1);

    let moved = store_snapshot(&from, &directory([("g.bin", file()), ("h.bin", file())]));
    let sent = send(&from, &moved, &mut receiver(&to), &()).unwrap();
    assert_eq!(sent.objects, 1);
    assert!(sent.bytes < 1000);
    assert_whole(&from, &to, moved.id);
}

/// A destination to which the pack breaks off after so many bytes.
struct Interrupted {
    to: Receiver,
    after: u64,
}

impl Destination for Interrupted {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        self.to.missing(digests)
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        self.to.put_pack(&mut pack.take(self.after))
    }

    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        self.to.finish(record)
    }
}

#[test]
fn a_transfer_cut_at_any_byte_goes_on_with_the_rest() {
    let (home, from, _) = stores();
    let record = store_snapshot(
        &from,
        &directory([
            ("a", Node::File(b"first".to_vec())),
            ("d", directory([("b", Node::File(b"second".to_vec()))])),
            ("z", Node::File(content(5, 40))),
        ]),
    );
    let mut kept = Vec::new();
    for cut in (0..).step_by(13) {
        let to = LocalStore::open(&home.path().join(format!("to-{cut}"))).unwrap();
        let mut interrupted = Interrupted { to: receiver(&to), after: cut };
        let outcome = send(&from, &record, &mut interrupted, &());
        if outcome.is_ok() {
            break;
        }
        assert!(to.record(&record.id).unwrap().is_none(), "cut at {cut}");
        let rest = send(&from, &record, &mut receiver(&to), &()).unwrap();
        assert_whole(&from, &to, record.id);
        kept.push(5 - rest.objects);
    }
    assert!(kept.len() > 40, "{} cuts", kept.len());
    assert!(kept.is_sorted(), "a later cut keeps no less: {kept:?}");
    assert_eq!(kept[0], 0);
    assert!(kept[kept.len() - 1] >= 4, "{kept:?}");
}

#[test]
fn a_large_object_cut_in_the_middle_is_sent_again() {
    let (_home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    let mut interrupted = Interrupted { to: receiver(&to), after: 3 << 20 };

    let error = send(&from, &record, &mut interrupted, &()).unwrap_err();
    assert!(matches!(error, TransferError::Archive(ref error) if error.is_interruption()));

    send(&from, &record, &mut receiver(&to), &()).unwrap();
    assert_whole(&from, &to, record.id);
}

#[test]
fn a_receiver_that_has_a_tree_but_not_what_is_in_it_gets_it_all() {
    let (_home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    let tree = from.read(&record.id).unwrap();
    let mut writer = to.writer().unwrap();
    writer.put(record.id, &tree).unwrap();
    writer.commit().unwrap();

    let incomplete = receiver(&to).finish(&record);
    assert!(matches!(incomplete, Err(TransferError::Incomplete { .. })));
    assert!(to.record(&record.id).unwrap().is_none());

    let sent = send(&from, &record, &mut receiver(&to), &()).unwrap();
    assert_eq!(sent.objects, 26);
    assert_whole(&from, &to, record.id);
}

#[test]
fn damage_at_the_receiver_is_healed_by_sending_again() {
    let (home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    send(&from, &record, &mut receiver(&to), &()).unwrap();
    for path in objects::files_below(&home.path().join("to/objects")) {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, content(3, 5 << 20)).unwrap();
    }
    let model = Digest::of(&content(77, 5 << 20));
    to.read(&model).unwrap_err();

    assert_eq!(send(&from, &record, &mut receiver(&to), &()).unwrap().objects, 1);

    assert_whole(&from, &to, record.id);
    assert_eq!(to.missing(&[model]).unwrap(), []);
}

#[test]
fn damage_at_the_sender_is_named_and_healed_there() {
    let (home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    let model = content(77, 5 << 20);
    for wrong in [content(3, 5 << 20), content(77, (5 << 20) - 1)] {
        for path in objects::files_below(&home.path().join("from/objects")) {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(path, &wrong).unwrap();
        }

        let refused = send(&from, &record, &mut receiver(&to), &()).unwrap_err();

        let TransferError::Store(StoreError::Damaged { digest }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(digest, Digest::of(&model));
        assert!(to.record(&record.id).unwrap().is_none());
        let mut writer = from.writer().unwrap();
        assert!(writer.put(digest, &model).unwrap(), "the store knows that its copy is damaged");
        writer.commit().unwrap();
    }
    send(&from, &record, &mut receiver(&to), &()).unwrap();
    assert_whole(&from, &to, record.id);
}

#[test]
fn a_pack_with_one_wrong_byte_is_rejected_whole() {
    let (_home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    struct Flipped(Receiver);
    impl Destination for Flipped {
        fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
            self.0.missing(digests)
        }
        fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
            let mut bytes = Vec::new();
            pack.read_to_end(&mut bytes).unwrap();
            let last = bytes.len() - 100;
            bytes[last] ^= 1;
            self.0.put_pack(&mut io::Cursor::new(bytes))
        }
        fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
            self.0.finish(record)
        }
    }

    send(&from, &record, &mut Flipped(receiver(&to)), &()).unwrap_err();

    let all: Vec<Digest> = objects_of(&from, record.id).into_keys().collect();
    assert_eq!(to.missing(&all).unwrap().len(), all.len());
}

#[test]
fn what_a_transfer_was_told_about_survives_clean_up_until_it_finishes() {
    let (_home, from, to) = stores();
    let record = store_snapshot(&from, &project(1));
    send(&from, &record, &mut receiver(&to), &()).unwrap();
    to.remove_record(&record.id).unwrap();
    let grace = Duration::from_secs(3600);

    struct Cleaning(Receiver, LocalStore, Duration);
    impl Destination for Cleaning {
        fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
            self.0.missing(digests)
        }
        fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
            self.0.put_pack(pack)
        }
        fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
            gc::collect(&self.1, &[], self.2, false).unwrap();
            self.0.finish(record)
        }
    }
    // Everything is old and nothing refers to it.
    let old = std::time::SystemTime::now() - Duration::from_secs(7200);
    for path in objects::files_below(to.directory()) {
        std::fs::File::open(path).unwrap().set_modified(old).unwrap();
    }

    let sent = send(&from, &record, &mut Cleaning(receiver(&to), to.clone(), grace), &()).unwrap();

    assert_whole(&from, &to, record.id);
    // The pack was told of, the large file was not: the sender asked again and sent it.
    assert_eq!(sent.objects, 1);
}
