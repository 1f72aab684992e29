//! A writing process killed at any point, and disks that change what was written.
#![expect(clippy::unwrap_used, reason = "a test")]

mod objects;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use objects::{Node, content, directory, files_below, objects_of, record, store_snapshot};
use snapshots::digest::Digest;
use snapshots::gc;
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree, TreeEntry};

const STORE: &str = "TRAINYARD_TEST_STORE";

/// Not a test of its own: what the killed process does. It says which snapshots are recorded.
#[test]
fn child_that_takes_snapshots_until_it_is_killed() {
    let Ok(directory) = std::env::var(STORE) else { return };
    let store = LocalStore::open(Path::new(&directory)).unwrap();
    let seed = u64::from(std::process::id());
    for round in 0.. {
        let small = |n| content(seed + round * 100 + n, 3000);
        let mut writer = store.writer().unwrap();
        let mut entries = Vec::new();
        let mut put = |name: String, digest, size| {
            let kind = EntryKind::File { digest, size, executable: false };
            entries.push(TreeEntry { name: name.into_bytes(), kind });
        };
        for n in 0..30 {
            let bytes = small(n);
            writer.put(Digest::of(&bytes), &bytes).unwrap();
            put(n.to_string(), Digest::of(&bytes), bytes.len() as u64);
        }
        let mut large = content(seed + round, 8);
        large.resize(5 << 20, 1);
        let (digest, size, _) = writer.put_large(&mut large.as_slice()).unwrap();
        put("large".to_owned(), digest, size);
        let tree = Tree::new(entries).unwrap();
        writer.put(tree.digest(), &tree.encode()).unwrap();
        writer.commit().unwrap();
        store.put_record(&record(tree.digest())).unwrap();
        std::io::stdout().write_all(format!("\nrecorded {}\n", tree.digest()).as_bytes()).unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_point_leaves_every_recorded_snapshot_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut recorded = Vec::new();
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_takes_snapshots_until_it_is_killed", "--nocapture"])
            .env(STORE, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            let ids = lines.filter_map(|line| line.strip_prefix("recorded ")?.parse().ok());
            ids.collect::<Vec<Digest>>()
        });
        // Not an event to wait for: any point will do.
        std::thread::sleep(Duration::from_millis(20 + round * 12));
        child.kill().unwrap();
        child.wait().unwrap();
        recorded.extend(reader.join().unwrap());

        let store = LocalStore::open(home.path()).unwrap();
        for record in store.records().unwrap() {
            objects_of(&store, record.id);
        }
    }
    assert!(recorded.len() > 10, "only {} snapshots were recorded", recorded.len());
    let store = LocalStore::open(home.path()).unwrap();
    assert!(recorded.iter().all(|id| store.record(id).unwrap().is_some()));

    gc::collect(&store, &recorded, Duration::ZERO, false).unwrap();

    assert_eq!(files_below(&home.path().join("temporary")), Vec::<std::path::PathBuf>::new());
    for id in recorded {
        objects_of(&store, id);
    }
}

/// Rewrites a file of the store, which is read-only, as a failing disk would.
fn damage(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What is done to an object of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    OneBit,
    Zeroed,
    CutOff,
    None,
}

fn harm(number: usize) -> Harm {
    match number {
        0..500 => Harm::OneBit,
        500..600 => Harm::Zeroed,
        600..700 => Harm::None,
        _ => Harm::CutOff,
    }
}

#[test]
fn every_flipped_bit_zeroed_and_cut_off_object_is_found_named_and_healed() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let contents: Vec<_> = (0..800).map(|n| content(n, 500)).collect();
    let digests: Vec<_> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
    let store_all = |store: &LocalStore| {
        let mut writer = store.writer().unwrap();
        for (digest, bytes) in digests.iter().zip(&contents) {
            writer.put(*digest, bytes).unwrap();
        }
        writer.commit().unwrap().objects
    };
    assert_eq!(store_all(&store), 800);
    let pack = files_below(&home.path().join("packs")).pop().unwrap();
    damage(&pack, |bytes| {
        let begin = |n: usize| 17 + n * (49 + 500) + 49;
        for (n, content) in contents.iter().enumerate() {
            let object = &mut bytes[begin(n)..begin(n) + 500];
            assert!(object == *content);
            match harm(n) {
                Harm::OneBit => object[n] ^= 1 << (n % 8),
                Harm::Zeroed => object.fill(0),
                Harm::CutOff | Harm::None => {}
            }
        }
        // Of the first that is cut off, a part is left.
        bytes.truncate(begin(700) + 250);
    });

    let fresh = LocalStore::open(home.path()).unwrap();
    for (n, digest) in digests.iter().enumerate() {
        match (fresh.read(digest), harm(n)) {
            (Ok(bytes), Harm::None) => assert!(bytes == contents[n], "{n}"),
            (Err(StoreError::Damaged { digest: named }), Harm::OneBit | Harm::Zeroed)
            | (Err(StoreError::Missing { digest: named }), Harm::CutOff) => {
                assert!(named == *digest, "{n}");
            }
            (read, harm) => panic!("{n}, {harm:?}: {:?}", read.map(|bytes| bytes.len())),
        }
    }
    let other = LocalStore::open(home.path()).unwrap();
    assert_eq!(other.missing(&digests).unwrap().len(), 700);

    assert_eq!(store_all(&other), 700);

    for store in [fresh, other] {
        assert_eq!(store.missing(&digests).unwrap(), []);
        assert!(digests.iter().zip(&contents).all(|(at, bytes)| store.read(at).unwrap() == *bytes));
    }
}

#[test]
fn a_truncated_pack_loses_what_was_cut_off_and_no_more() {
    let home = tempfile::tempdir().unwrap();
    let root = directory((0..100u64).map(|n| (n.to_string(), Node::File(content(n, 400)))));
    let store = LocalStore::open(home.path()).unwrap();
    let id = store_snapshot(&store, &root).id;
    let all: Vec<_> = objects_of(&store, id).into_keys().collect();
    let pack = files_below(&home.path().join("packs")).pop().unwrap();
    damage(&pack, |bytes| bytes.truncate(bytes.len() / 2));

    let store = LocalStore::open(home.path()).unwrap();
    let missing = store.missing(&all).unwrap();
    assert!((45..60).contains(&missing.len()), "{}", missing.len());

    store_snapshot(&store, &root);
    assert_eq!(store.missing(&all).unwrap(), []);
    assert_eq!(objects_of(&store, id).len(), all.len());
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_its_pack() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let id = store_snapshot(&store, &directory([("a", Node::File(content(1, 100)))])).id;
    let whole = objects_of(&store, id);
    let index = files_below(&home.path().join("packs")).remove(0);
    assert_eq!(index.extension().unwrap(), "idx");
    let sound = fs::read(&index).unwrap();

    for at in (0..=sound.len()).step_by(13) {
        match at {
            0 => fs::remove_file(&index).unwrap(),
            cut if cut % 2 == 0 => damage(&index, |bytes| bytes.truncate(cut - 1)),
            flip => damage(&index, |bytes| bytes[flip - 1] ^= 4),
        }
        let store = LocalStore::open(home.path()).unwrap();
        assert!(objects_of(&store, id) == whole, "at {at}");
        assert!(fs::read(&index).unwrap() == sound, "at {at}");
    }
}

#[test]
fn a_large_object_that_changed_is_named_and_healed() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let bytes = content(9, 5 << 20);
    let digest = Digest::of(&bytes);
    let mut writer = store.writer().unwrap();
    writer.put_large(&mut bytes.as_slice()).unwrap();
    writer.commit().unwrap();
    let path = files_below(&home.path().join("objects")).pop().unwrap();
    for how in [|bytes: &mut Vec<u8>| bytes[7] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(100)] {
        damage(&path, how);
        assert!(matches!(store.read(&digest), Err(StoreError::Damaged { .. })));
        assert_eq!(store.missing(&[digest]).unwrap(), [digest]);

        let mut writer = store.writer().unwrap();
        assert_eq!(writer.put_large(&mut bytes.as_slice()).unwrap(), (digest, 5 << 20, true));
        writer.commit().unwrap();

        assert!(store.read(&digest).unwrap() == bytes);
        assert_eq!(store.missing(&[digest]).unwrap(), []);
    }
}
