//! Source directories as nobody makes them on purpose, and what a snapshot makes of them.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use snapshots::digest::Digest;
use snapshots::explain::{Reason, explain};
use snapshots::limits::{LimitError, Limits};
use snapshots::snapshot::{
    SnapshotError, SnapshotOptions, SpecialKind, Taken, Warning, digest_only, take,
};
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree};
use snapshots::walk::{self, ListedKind};

/// A source, a store and an index, all empty at first.
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

    fn source(&self) -> PathBuf {
        self.home.path().join("source")
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.source().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn try_take(&self) -> Result<Taken, SnapshotError> {
        take(&self.source(), &self.store, &self.options, &())
    }

    fn take(&self) -> Taken {
        self.try_take().unwrap()
    }

    fn root(&self, taken: &Taken) -> Tree {
        self.store.read_tree(&taken.record.id).unwrap()
    }

    /// Returns what a snapshot has at `path`.
    fn entry(&self, taken: &Taken, path: &str) -> Option<EntryKind> {
        let mut tree = self.root(taken);
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let kind = tree.get(name.as_bytes())?.kind.clone();
            match kind {
                EntryKind::Directory { digest } if names.peek().is_some() => {
                    tree = self.store.read_tree(&digest).unwrap();
                }
                kind => return Some(kind),
            }
        }
        None
    }

    fn content(&self, taken: &Taken, path: &str) -> Vec<u8> {
        match self.entry(taken, path) {
            Some(EntryKind::File { digest, .. }) => self.store.read(&digest).unwrap(),
            other => panic!("{path} is {other:?}"),
        }
    }

    fn listed(&self) -> Vec<String> {
        let listing = walk::list(&self.source(), &self.options).unwrap();
        listing.files.iter().map(|file| file.path.escape_ascii().to_string()).collect()
    }
}

/// Every snapshot is taken three times: anew, by the index, and without storing anything.
fn take_thrice(fixture: &Fixture) -> Taken {
    let first = fixture.take();
    let again = fixture.take();
    assert_eq!(first.record, again.record);
    assert_eq!((again.new_objects, again.warnings), (0, first.warnings.clone()));
    let (id, trees) = digest_only(&fixture.source(), &fixture.options).unwrap();
    assert_eq!(id, first.record.id);
    assert_eq!(trees.get(&id), Some(&fixture.root(&first)));
    first
}

#[test]
fn names_are_bytes() {
    let fixture = Fixture::new();
    let names: [&[u8]; 8] = [
        b"\xff\xfe",
        b"new\nline",
        b"-rf",
        b" ",
        b"*",
        b"\x1b[31m",
        b"caf\xc3\xa9",
        b"caf\x65\xcc\x81",
    ];
    for name in names {
        fs::write(fixture.path(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(fixture.path("n".repeat(255)), "longest").unwrap();

    let taken = take_thrice(&fixture);
    let root = fixture.root(&taken);
    for name in names {
        let kind = &root.get(name).unwrap().kind;
        let expected = EntryKind::File {
            digest: Digest::of(name),
            size: name.len() as u64,
            executable: false,
        };
        assert_eq!(*kind, expected, "{}", name.escape_ascii());
    }
    assert_eq!(root.entries().len(), 9);
}

#[test]
fn directories_deeper_than_a_path_can_be_long_are_kept() {
    let fixture = Fixture::new();
    let name = "d".repeat(100);
    make_deep(&fixture.source(), &name, 300);

    let taken = take_thrice(&fixture);
    assert_eq!((taken.record.directory_count, taken.record.file_count), (300, 1));
    let mut tree = fixture.root(&taken);
    for _ in 0..300 {
        let EntryKind::Directory { digest } = tree.entries()[0].kind else { panic!("{tree:?}") };
        tree = fixture.store.read_tree(&digest).unwrap();
    }
    assert_eq!(tree.entries()[0].name, b"bottom");
    assert_eq!(walk::list(&fixture.source(), &fixture.options).unwrap().files.len(), 1);

    let bottom = PathBuf::from(format!("{}bottom", format!("{name}/").repeat(300)));
    let paths = [bottom.clone(), bottom.with_file_name("none"), "n".repeat(300).into()];
    let explained = explain(&fixture.source(), &paths, &fixture.options).unwrap();
    let reasons = explained.paths.iter().map(|path| (path.included, &path.reason));
    let missing = (false, &Reason::Missing);
    assert!(reasons.eq([(true, &Reason::NoRule), missing, missing]));
    fixture.write(".gitignore", "bottom\n");
    let ignored = explain(&fixture.source(), &[], &fixture.options).unwrap().paths;
    assert!(ignored.iter().map(|path| &path.path).eq([&bottom]));
    remove_deep(&fixture.source(), &name, 300);
}

/// Makes a chain of directories with a file at its end, step by step.
fn make_deep(at: &Path, name: &str, depth: usize) {
    let mut directory = std::os::fd::OwnedFd::from(File::open(at).unwrap());
    for _ in 0..depth {
        nix::sys::stat::mkdirat(&directory, name, Mode::S_IRWXU).unwrap();
        directory = open_directory(&directory, name);
    }
    let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY;
    nix::fcntl::openat(&directory, "bottom", flags, Mode::S_IRWXU).unwrap();
}

/// Takes such a chain away again, which the standard library cannot.
fn remove_deep(at: &Path, name: &str, depth: usize) {
    let mut chain = vec![std::os::fd::OwnedFd::from(File::open(at).unwrap())];
    for _ in 0..depth {
        let inner = open_directory(chain.last().unwrap(), name);
        chain.push(inner);
    }
    use nix::unistd::{UnlinkatFlags, unlinkat};
    unlinkat(chain.pop().unwrap(), "bottom", UnlinkatFlags::NoRemoveDir).unwrap();
    while let Some(directory) = chain.pop() {
        unlinkat(directory, name, UnlinkatFlags::RemoveDir).unwrap();
    }
}

fn open_directory(parent: &std::os::fd::OwnedFd, name: &str) -> std::os::fd::OwnedFd {
    let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    nix::fcntl::openat(parent, name, flags, Mode::empty()).unwrap()
}

#[test]
fn a_wide_and_deep_tree_needs_few_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let fixture = Fixture::new();
    for outer in 0..20 {
        for inner in 0..10 {
            fixture.write(&format!("{outer}/{inner}/a/b/c/file"), &format!("{outer} {inner}"));
        }
    }
    // nextest runs every test in a process of its own.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let taken = take_thrice(&fixture);
    assert_eq!((taken.record.file_count, taken.record.directory_count), (200, 20 + 200 * 4));
}

#[test]
fn what_is_no_file_is_left_out_with_a_warning() {
    let fixture = Fixture::new();
    fixture.write("file", "x");
    nix::unistd::mkfifo(&fixture.path("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.path("socket")).unwrap();
    nix::unistd::mkfifo(&fixture.path("ignored"), Mode::S_IRWXU).unwrap();
    fixture.write(".gitignore", "ignored\n");

    let taken = take_thrice(&fixture);
    assert_eq!(fixture.root(&taken).entries().len(), 2);
    let special = |path: &str, kind| Warning::SpecialFile { path: path.into(), kind };
    let expected = [special("pipe", SpecialKind::Fifo), special("socket", SpecialKind::Socket)];
    assert_eq!(taken.warnings, expected);
    assert_eq!(taken.record.warnings[0], "\"pipe\" is left out: it is a named pipe, not a file");
    assert_eq!(walk::list(&fixture.source(), &fixture.options).unwrap().warnings, expected);
}

#[test]
fn links_inside_are_kept_as_links() {
    let fixture = Fixture::new();
    fixture.write("a/b/file", "x");
    symlink("b/file", fixture.path("a/relative")).unwrap();
    symlink("../../a", fixture.path("a/b/up")).unwrap();
    symlink(fixture.path("a/b/file"), fixture.path("a/absolute")).unwrap();
    symlink("nowhere", fixture.path("dangling")).unwrap();
    symlink("self", fixture.path("self")).unwrap();
    symlink(".", fixture.path("here")).unwrap();

    let taken = take_thrice(&fixture);
    for (path, target) in [
        ("a/relative", "b/file"),
        ("a/b/up", "../../a"),
        ("a/absolute", "../a/b/file"),
        ("dangling", "nowhere"),
        ("self", "self"),
        ("here", "."),
    ] {
        let expected = EntryKind::Symlink { target: target.as_bytes().to_vec() };
        assert_eq!(fixture.entry(&taken, path), Some(expected), "{path}");
    }
    assert_eq!(taken.record.file_count, 7);
}

#[test]
fn links_that_lead_out_are_refused_by_name() {
    for target in ["/etc/passwd", "../outside", "a/../../outside", "link-to-up/outside"] {
        let fixture = Fixture::new();
        fs::write(fixture.home.path().join("outside"), "secret").unwrap();
        fixture.write("a/file", "x");
        fixture.write(".gitignore", "link-to-up\n");
        symlink("..", fixture.path("link-to-up")).unwrap();
        symlink(target, fixture.path("out")).unwrap();

        let refused = fixture.try_take().unwrap_err();
        let SnapshotError::LinkLeadsOut { path, .. } = &refused else { panic!("{refused}") };
        assert_eq!(path, Path::new("out"), "{target}");
        assert!(refused.hint().is_some());
        assert!(fixture.store.records().unwrap().is_empty());
        assert!(walk::list(&fixture.source(), &fixture.options).is_err());

        // Ignored, it is nobody's business.
        fixture.write(".gitignore", "link-to-up\nout\n");
        assert_eq!(fixture.take().record.file_count, 2);
    }
}

#[test]
fn followed_links_have_the_content_of_what_they_lead_to() {
    let mut fixture = Fixture::new();
    fixture.options.follow_links = true;
    let outside = fixture.home.path().join("outside");
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(outside.join("inner/file"), "data").unwrap();
    symlink("inner/file", outside.join("within")).unwrap();
    symlink("../source/own", outside.join("back")).unwrap();
    fixture.write("own", "own");
    symlink("own", fixture.path("inside")).unwrap();
    symlink("../outside", fixture.path("directory")).unwrap();
    symlink(outside.join("inner/file"), fixture.path("file")).unwrap();

    let taken = take_thrice(&fixture);
    assert_eq!(fixture.content(&taken, "file"), b"data");
    assert_eq!(fixture.content(&taken, "directory/inner/file"), b"data");
    // From where it is laid out later, only what is below the followed link is inside.
    let link = |target: &str| Some(EntryKind::Symlink { target: target.as_bytes().to_vec() });
    assert_eq!(fixture.entry(&taken, "directory/within"), link("inner/file"));
    assert_eq!(fixture.content(&taken, "directory/back"), b"own");
    assert_eq!(fixture.entry(&taken, "inside"), link("own"));

    // The index looks at what the link leads to, not at the link.
    fs::write(outside.join("inner/file"), "other").unwrap();
    let taken = take_thrice(&fixture);
    assert_eq!(fixture.content(&taken, "file"), b"other");
    assert_eq!(fixture.content(&taken, "directory/inner/file"), b"other");
}

#[test]
fn followed_links_that_go_round_in_a_circle_are_refused() {
    for target in ["../source", "../source/a", "../round"] {
        let mut fixture = Fixture::new();
        fixture.options.follow_links = true;
        symlink("round", fixture.home.path().join("round")).unwrap();
        fs::create_dir(fixture.path("a")).unwrap();
        symlink(Path::new("..").join(target), fixture.path("a/loop")).unwrap();
        let refused = fixture.try_take().unwrap_err();
        assert!(matches!(refused, SnapshotError::LinkLoop { .. }), "{target}: {refused}");
    }
}

#[test]
fn hard_links_are_two_files_and_holes_are_zeros() {
    let fixture = Fixture::new();
    fixture.write("one", "same");
    fs::hard_link(fixture.path("one"), fixture.path("two")).unwrap();
    File::create(fixture.path("sparse")).unwrap().set_len(5 << 20).unwrap();

    let taken = take_thrice(&fixture);
    assert_eq!((taken.record.file_count, taken.record.total_bytes), (3, (5 << 20) + 8));
    assert_eq!(fixture.entry(&taken, "one"), fixture.entry(&taken, "two"));
    assert!(fixture.content(&taken, "sparse").iter().all(|byte| *byte == 0));
}

#[test]
fn of_the_mode_only_the_executable_bit_is_kept() {
    let fixture = Fixture::new();
    for (name, mode) in [("a", 0o644), ("b", 0o755), ("c", 0o600), ("d", 0o700), ("e", 0o611)] {
        fixture.write(name, "x");
        fs::set_permissions(fixture.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let taken = take_thrice(&fixture);
    let executable: Vec<_> = ["a", "b", "c", "d", "e"]
        .into_iter()
        .filter(|name| {
            matches!(fixture.entry(&taken, name), Some(EntryKind::File { executable: true, .. }))
        })
        .collect();
    assert_eq!(executable, ["b", "d"]);

    fs::set_permissions(fixture.path("a"), fs::Permissions::from_mode(0o744)).unwrap();
    assert_ne!(fixture.take().record.id, taken.record.id);
}

#[test]
fn empty_directories_are_kept_and_git_never_is() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.path("empty/inner")).unwrap();
    fixture.write(".git/config", "x");
    fixture.write("submodule/.git", "gitdir: elsewhere\n");
    fixture.write("submodule/file", "x");
    fixture.write("submodule/.github/file", "x");

    let taken = take_thrice(&fixture);
    let digest = Tree::default().digest();
    assert_eq!(fixture.entry(&taken, "empty/inner"), Some(EntryKind::Directory { digest }));
    assert_eq!(fixture.entry(&taken, ".git"), None);
    assert_eq!(fixture.listed(), ["submodule/.github/file", "submodule/file"]);
}

#[test]
fn state_directories_are_left_out_wherever_they_are() {
    let mut fixture = Fixture::new();
    fixture.write("deep/state/secret", "x");
    fixture.write("file", "x");
    let all = fixture.take();
    fixture.options.state_directories =
        vec![fixture.path("deep/../deep/state"), fixture.path("missing")];

    let taken = take_thrice(&fixture);
    assert_ne!(all.record.id, taken.record.id);
    assert_eq!(fixture.listed(), ["file"]);
    assert_eq!(fixture.entry(&taken, "deep/state"), None);

    fixture.options.state_directories = vec![fixture.source()];
    let refused = fixture.try_take().unwrap_err();
    assert!(matches!(refused, SnapshotError::StateDirectory { .. }), "{refused}");
}

#[test]
fn ignore_rules_hold_also_when_only_they_change() {
    let fixture = Fixture::new();
    fixture.write("a/keep.txt", "x");
    fixture.write("a/drop.log", "x");
    fixture.write("b/drop.log", "x");
    assert_eq!(take_thrice(&fixture).record.file_count, 3);
    fixture.write(".gitignore", "*.log\n");
    assert_eq!(take_thrice(&fixture).record.file_count, 2);
    fixture.write("b/.gitignore", "!*.log\n");
    assert_eq!(take_thrice(&fixture).record.file_count, 4);
    fixture.write("b/.gitignore", "");
    assert_eq!(take_thrice(&fixture).record.file_count, 3);
    // An ignore file that is a link is not read.
    fs::remove_file(fixture.path("b/.gitignore")).unwrap();
    fixture.write("rules", "!*.log\n");
    symlink("../rules", fixture.path("b/.gitignore")).unwrap();
    assert_eq!(take_thrice(&fixture).record.file_count, 4);
    assert_eq!(fixture.listed(), [".gitignore", "a/keep.txt", "b/.gitignore", "rules"]);
}

#[test]
fn limits_warn_and_refuse() {
    let mut fixture = Fixture::new();
    for file in 0..30 {
        fixture.write(&format!("data/{file}"), "0123456789");
    }
    fixture.write("train.py", "x");
    fixture.options.limits = Limits { warn_files: 20, ..Limits::default() };
    let taken = take_thrice(&fixture);
    assert!(matches!(taken.warnings[..], [Warning::Limit(_)]), "{:?}", taken.warnings);
    assert!(taken.record.warnings[0].contains("data/"), "{}", taken.record.warnings[0]);

    fixture.options.limits.max_bytes = 100;
    let refused = fixture.try_take().unwrap_err();
    let SnapshotError::Limit(LimitError::TooLarge { bytes: 301, advice, .. }) = refused else {
        panic!("{refused}")
    };
    assert_eq!(advice.largest[0].0, Path::new("data"));
    let listing = walk::list(&fixture.source(), &fixture.options).unwrap();
    assert!(matches!(listing.warnings[..], [Warning::Refused(_)]), "{:?}", listing.warnings);
}

#[test]
fn what_looks_like_a_secret_raises_a_warning_each_time() {
    let fixture = Fixture::new();
    fixture.write("config/.env", "TOKEN=1");
    fixture.write("train.py", "x");
    let taken = take_thrice(&fixture);
    assert_eq!(taken.warnings, [Warning::Secret { path: "config/.env".into() }]);
    assert!(!taken.record.warnings[0].contains("TOKEN"));
}

#[test]
fn the_listing_tells_what_would_go() {
    let fixture = Fixture::new();
    fixture.write("b/run.sh", "xyz");
    fs::set_permissions(fixture.path("b/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.write("a-b", "x");
    symlink("a-b", fixture.path("c")).unwrap();
    let listing = walk::list(&fixture.source(), &fixture.options).unwrap();
    let files: Vec<_> =
        listing.files.iter().map(|file| (&*file.path, file.size, file.kind)).collect();
    let expected: [(&[u8], u64, ListedKind); 3] = [
        (b"a-b", 1, ListedKind::File { executable: false }),
        (b"b/run.sh", 3, ListedKind::File { executable: true }),
        (b"c", 0, ListedKind::Link),
    ];
    assert_eq!(files, expected);
    assert_eq!((listing.total_bytes, listing.directories), (4, vec![b"b".to_vec()]));
}

#[test]
fn a_source_that_is_no_directory_is_named() {
    let fixture = Fixture::new();
    fixture.write("file", "x");
    for name in ["file", "missing"] {
        let path = fixture.path(name);
        let refused = take(&path, &fixture.store, &fixture.options, &()).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

/// Runs as somebody who is not root, if root it is: root reads everything.
#[test]
fn what_cannot_be_read_is_named() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fixture.write("directory/file", "x");
    fixture.write("file", "x");
    let uid = nix::unistd::Uid::from_raw(65534);
    if nix::unistd::geteuid().is_root() {
        // Of this process alone: nextest runs every test in one of its own.
        for path in ["", "directory", "directory/file", "file"] {
            nix::unistd::chown(&fixture.path(path), Some(uid.as_raw().into()), None).unwrap();
        }
        let store = fixture.home.path().join("store");
        for made in ["", "packs", "objects", "damaged", "snapshots", "temporary", "lock", "version"]
        {
            let path = store.join(made);
            if path.exists() {
                nix::unistd::chown(&path, Some(uid.as_raw().into()), None).unwrap();
            }
        }
        nix::unistd::seteuid(uid).unwrap();
    }
    for hidden in ["file", "directory/file", "directory"] {
        let path = fixture.path(hidden);
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let refused = fixture.try_take().unwrap_err();
        assert!(refused.to_string().ends_with(&format!("{hidden:?}")), "{refused}");
        assert!(refused.hint().is_some());
        fs::set_permissions(&path, mode).unwrap();
    }
    fixture.take();
}
