//! Snapshots of what changes: between snapshots, while they are taken, and underneath the index.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use snapshots::digest::Digest;
use snapshots::gc;
use snapshots::snapshot::{Progress, SnapshotError, SnapshotOptions, Taken, take};
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree};

struct Fixture {
    home: tempfile::TempDir,
    store: LocalStore,
    options: SnapshotOptions,
}

impl Fixture {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&home.path().join("store")).unwrap();
        fs::create_dir(home.path().join("source")).unwrap();
        let options =
            SnapshotOptions { index: Some(home.path().join("index")), ..Default::default() };
        Self { home, store, options }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("source").join(name)
    }

    fn index(&self) -> &Path {
        self.options.index.as_deref().unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn try_take(&self) -> Result<Taken, SnapshotError> {
        take(&self.home.path().join("source"), &self.store, &self.options, &())
    }

    fn take(&self) -> Taken {
        self.try_take().unwrap()
    }

    /// Takes a snapshot with the index and one without; they must be the same.
    fn take_and_check(&self) -> Taken {
        let taken = self.take();
        let options = SnapshotOptions { index: None, ..self.options.clone() };
        let source = self.home.path().join("source");
        let (id, _) = snapshots::snapshot::digest_only(&source, &options).unwrap();
        assert_eq!(taken.record.id, id);
        taken
    }

    fn content(&self, taken: &Taken, name: &str) -> Vec<u8> {
        let tree = self.store.read_tree(&taken.record.id).unwrap();
        match tree.get(name.as_bytes()).unwrap().kind {
            EntryKind::File { digest, .. } => self.store.read(&digest).unwrap(),
            ref other => panic!("{other:?}"),
        }
    }
}

fn sample(fixture: &Fixture) {
    for directory in ["", "a/", "a/b/", "c/"] {
        for file in 0..5 {
            fixture.write(&format!("{directory}file-{file}"), &format!("{directory}{file}"));
        }
    }
}

/// A fixed tree has the same id for ever, on every machine and in whatever order it was made.
#[test]
fn golden_snapshot_id() {
    let mut ids = Vec::new();
    for reversed in [false, true] {
        let fixture = Fixture::new();
        let mut names = ["z", "a/b/c", "a/B", "a-b", "ä"];
        if reversed {
            names.reverse();
        }
        for name in names {
            fixture.write(name, name);
        }
        fs::create_dir(fixture.path("empty")).unwrap();
        std::os::unix::fs::symlink("a/b", fixture.path("link")).unwrap();
        for _ in 0..10 {
            ids.push(fixture.take_and_check().record.id);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    insta::assert_snapshot!(ids[0], @"78b57d0d36e70cbe36639c28485e5e935b049a111e39f6a0a3e7a367031e345a");
}

#[test]
fn every_kind_of_change_shows() {
    let fixture = Fixture::new();
    sample(&fixture);
    let mut last = fixture.take_and_check().record.id;
    type Change = fn(&Fixture);
    let changes: [(&str, Change); 8] = [
        ("content", |f| f.write("a/file-1", "A/1")),
        ("content of the same length and times", |f| {
            let path = f.path("a/b/file-1");
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "A/B/1").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }),
        ("a new file", |f| f.write("a/b/new", "x")),
        ("a file less", |f| fs::remove_file(f.path("a/file-2")).unwrap()),
        ("a new name", |f| fs::rename(f.path("c/file-1"), f.path("c/renamed")).unwrap()),
        ("a file moved over another", |f| {
            fs::rename(f.path("c/file-2"), f.path("c/file-3")).unwrap();
        }),
        ("a directory in the place of a file", |f| {
            fs::remove_file(f.path("file-1")).unwrap();
            f.write("file-1/inner", "x");
        }),
        ("a directory less", |f| fs::remove_dir_all(f.path("a/b")).unwrap()),
    ];
    for (what, change) in changes {
        change(&fixture);
        let id = fixture.take_and_check().record.id;
        assert_ne!(id, last, "{what}");
        assert_eq!(fixture.take_and_check().record.id, id, "{what}");
        last = id;
    }
}

#[test]
fn an_index_that_is_gone_cut_or_changed_costs_only_time() {
    let fixture = Fixture::new();
    sample(&fixture);
    let id = fixture.take().record.id;
    let whole = fs::read(fixture.index()).unwrap();
    let mut damaged = vec![vec![], b"something else".to_vec(), vec![0; whole.len()]];
    for at in (0..whole.len()).step_by(53) {
        damaged.push(whole[..at].to_vec());
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        damaged.push(flipped);
    }
    for bytes in damaged {
        fs::write(fixture.index(), &bytes).unwrap();
        let taken = fixture.take();
        assert_eq!((taken.record.id, taken.new_objects), (id, 0));
    }
    fs::remove_file(fixture.index()).unwrap();
    assert_eq!(fixture.take().record.id, id);
    assert_eq!(fs::read(fixture.index()).unwrap().len(), whole.len());
}

#[test]
fn an_index_that_cannot_be_written_costs_only_time() {
    let mut fixture = Fixture::new();
    sample(&fixture);
    fixture.options.index = Some(fixture.path("file-1/index"));
    let id = fixture.take().record.id;
    assert_eq!(fixture.take().record.id, id);
}

#[test]
fn the_index_is_not_believed_about_another_store() {
    let mut fixture = Fixture::new();
    sample(&fixture);
    let first = fixture.take();
    fixture.store = LocalStore::open(&fixture.home.path().join("other")).unwrap();
    let second = fixture.take();
    assert_eq!((second.record.id, second.new_objects), (first.record.id, first.new_objects));
    assert_eq!(fixture.content(&second, "file-1"), b"1");
}

#[test]
fn objects_that_were_damaged_are_stored_again() {
    let fixture = Fixture::new();
    sample(&fixture);
    fixture.take();
    for pack in fs::read_dir(fixture.home.path().join("store/packs")).unwrap() {
        let path = pack.unwrap().path();
        if path.extension().unwrap() == "pack" {
            let mut bytes = fs::read(&path).unwrap();
            let found: Vec<_> =
                (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"a/b/")).collect();
            found.into_iter().for_each(|at| bytes[at] ^= 1);
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
    let store = LocalStore::open(fixture.store.directory()).unwrap();
    let damaged = Digest::of(b"a/b/1");
    store.read(&damaged).unwrap_err();

    let taken = fixture.take();
    assert!(taken.new_objects >= 1);
    let store = LocalStore::open(fixture.store.directory()).unwrap();
    assert_eq!(store.read(&damaged).unwrap(), b"a/b/1");
}

#[test]
fn objects_that_were_removed_are_stored_again() {
    let fixture = Fixture::new();
    sample(&fixture);
    fixture.write("large", &"0123456789abcdef".repeat(300_000));
    let first = fixture.take();
    fixture.store.remove_record(&first.record.id).unwrap();
    gc::collect(&fixture.store, &[], Duration::ZERO, false).unwrap();
    fixture.store.read(&first.record.id).unwrap_err();

    let again = fixture.take();
    assert_eq!((again.record.id, again.new_objects), (first.record.id, first.new_objects));
    assert_eq!(fixture.content(&again, "large").len(), 4_800_000);

    // What is removed besides does not matter, and costs no more than asking.
    gc::collect(&fixture.store, &[again.record.id], Duration::ZERO, false).unwrap();
    assert_eq!(fixture.take().new_objects, 0);
}

/// Writes states of a file, one after the other, until told to stop. Every state is `pages` times
/// the same eight bytes.
fn write_states(path: &Path, pages: usize, stop: &AtomicBool) -> u64 {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    let mut state = 0u64;
    while !stop.load(Ordering::Relaxed) {
        state += 1;
        let bytes: Vec<u8> = state.to_le_bytes().repeat(pages);
        file.write_all_at(&bytes, 0).unwrap();
        // Now and then it rests, so that some snapshots get it whole, and for about as long as
        // reading waits for a file to rest, so that it starts again right into the reading.
        if state.is_multiple_of(8) {
            std::thread::park_timeout(Duration::from_micros(20_000 + state / 8 % 16 * 250));
        }
    }
    state
}

#[test]
fn a_writer_of_a_file_that_is_read_at_once_races_snapshots() {
    writer_against_snapshots(448 << 10);
}

#[test]
fn a_writer_of_a_file_that_is_read_in_pieces_races_snapshots() {
    writer_against_snapshots(1 << 20);
}

/// A snapshot holds a state that the file had, or there is none.
fn writer_against_snapshots(words: usize) {
    const SNAPSHOTS: u32 = 40;
    // On a busy machine the writer may come between each time.
    const PATIENCE: u32 = 400;
    let fixture = Fixture::new();
    sample(&fixture);
    let path = fixture.path("changing");
    fs::write(&path, 0u64.to_le_bytes().repeat(words)).unwrap();
    let stop = AtomicBool::new(false);
    let (mut taken, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let writer = scope.spawn(|| write_states(&path, words, &stop));
        while taken + refused < SNAPSHOTS || (taken == 0 && refused < PATIENCE) {
            match fixture.try_take() {
                Ok(one) => {
                    let content = fixture.content(&one, "changing");
                    assert_eq!(content.len(), words * 8);
                    // Every word is the one before it.
                    let whole = content[8..] == content[..content.len() - 8];
                    assert!(whole, "torn after state {:?}", &content[..8]);
                    taken += 1;
                }
                Err(SnapshotError::ChangedWhileRead { path, .. }) => {
                    assert_eq!(path, Path::new("changing"));
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        writer.thread().unpark();
        assert!(writer.join().unwrap() > 0);
    });
    assert!(taken > 0, "none of {refused} snapshots was taken");
    // Left alone, it is as it is.
    let last = fixture.take_and_check();
    assert_eq!(fixture.content(&last, "changing"), fs::read(&path).unwrap());
}

/// Changes a file as soon as a snapshot has read it, within one step of the clock.
struct ChangeAfterReading<'a> {
    path: &'a Path,
    content: &'a [u8],
}

impl Progress for ChangeAfterReading<'_> {
    fn found(&self, _: u64, _: u64) {}
    fn hashed(&self, _: u64, _: u64) {
        let mut file = OpenOptions::new().write(true).open(self.path).unwrap();
        file.rewind().unwrap();
        file.write_all(self.content).unwrap();
    }
}

/// The change has the length, inode and, as far as its clock can tell, the time of before.
#[test]
fn a_change_right_after_reading_is_seen_next_time() {
    let fixture = Fixture::new();
    let path = fixture.path("file");
    for round in 0..20 {
        fs::write(&path, format!("before {round:04}")).unwrap();
        let after = format!("after! {round:04}");
        let change = ChangeAfterReading { path: &path, content: after.as_bytes() };
        let source = fixture.home.path().join("source");
        take(&source, &fixture.store, &fixture.options, &change).unwrap();
        assert_eq!(fixture.content(&fixture.take(), "file"), after.as_bytes());
    }
}

/// A name that comes while, or right after, its directory is listed must not stay unseen.
#[test]
fn a_name_right_after_listing_is_seen_next_time() {
    let fixture = Fixture::new();
    for round in 0..50 {
        fixture.write(&format!("d/{round}-a"), "x");
        fixture.take();
        fixture.write(&format!("d/{round}-b"), "x");
        let taken = fixture.take_and_check();
        assert_eq!(taken.record.file_count, 2 * round + 2);
    }
}

/// Ends the threads that watch a flag, also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Long enough to read, and with enough writers, that one of them gets its turn meanwhile.
#[test]
fn a_file_that_never_rests_is_named_in_the_end() {
    let fixture = Fixture::new();
    let path = fixture.path("never");
    File::create(&path).unwrap().set_len(32 << 20).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    file.write_all_at(b"more", 0).unwrap();
                }
            });
        }
        let refused = fixture.try_take().unwrap_err();
        let SnapshotError::ChangedWhileRead { path, attempts: 4 } = &refused else {
            panic!("{refused}")
        };
        assert_eq!(path, Path::new("never"));
        assert!(refused.hint().is_some());
    });
    assert!(fixture.store.records().unwrap().is_empty());
}

/// With its change time in the future nothing tells when a file was changed.
#[test]
fn times_set_by_hand_hide_nothing() {
    let fixture = Fixture::new();
    let path = fixture.path("file");
    fixture.write("file", "one");
    let future = SystemTime::now() + Duration::from_secs(1 << 30);
    let set = |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    set(future);
    fixture.take();
    fs::write(&path, "two").unwrap();
    set(future);
    assert_eq!(fixture.content(&fixture.take(), "file"), b"two");
}

#[derive(Clone, Debug)]
enum Edit {
    Write(u8, u8),
    Remove(u8),
    Rename(u8, u8),
    Ignore(u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(file, text)| Edit::Write(file, text)),
        2 => any::<u8>().prop_map(Edit::Remove),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => any::<u8>().prop_map(Edit::Ignore),
    ]
}

/// A few names in a few directories, so that edits meet.
fn name(number: u8) -> String {
    format!("{}file-{}", ["", "a/", "a/b/", "c/"][usize::from(number % 4)], number / 4 % 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is done to the source, the index never makes a difference to the result.
    #[test]
    fn with_and_without_an_index_snapshots_are_the_same(
        rounds in prop::collection::vec(prop::collection::vec(edit(), 0..6), 1..6)
    ) {
        let fixture = Fixture::new();
        sample(&fixture);
        for edits in rounds {
            for edit in edits {
                match edit {
                    Edit::Write(file, text) => fixture.write(&name(file), &text.to_string()),
                    Edit::Remove(file) => drop(fs::remove_file(fixture.path(&name(file)))),
                    Edit::Rename(from, to) => {
                        drop(fs::rename(fixture.path(&name(from)), fixture.path(&name(to))));
                    }
                    Edit::Ignore(file) => fixture.write(
                        ["a/.gitignore", ".gitignore"][usize::from(file % 2)],
                        &format!("file-{}\n", file / 2 % 8),
                    ),
                }
            }
            let taken = fixture.take_and_check();
            let tree = fixture.store.read_tree(&taken.record.id).unwrap();
            prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        }
    }
}
