//! What of a run's files is collected, and what is passed over and said to be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode as NixMode, SFlag};

use super::*;

fn run(files: &[(&str, &str)]) -> (tempfile::TempDir, RunDirectory) {
    let directory = tempfile::tempdir().unwrap();
    let run = RunDirectory::new(directory.path());
    for (path, text) in files {
        let path = run.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (directory, run)
}

fn collected(run: &RunDirectory) -> Outputs {
    collect(run, &OutputLimits::default(), &|_| None).unwrap()
}

fn paths(outputs: &Outputs) -> Vec<&str> {
    outputs.files.iter().map(|file| file.path.to_str().unwrap()).collect()
}

#[test]
fn files_of_outputs_and_logs_are_listed_with_size_and_digest() {
    let (_directory, run) = run(&[
        ("outputs/b/model.pkl", "abc"),
        ("outputs/a", ""),
        ("logs/metrics.jsonl", "{}"),
        ("train.py", "pass"),
    ]);

    let outputs = collected(&run);

    assert_eq!(paths(&outputs), ["logs/metrics.jsonl", "outputs/a", "outputs/b/model.pkl"]);
    let model = &outputs.files[2];
    assert_eq!((model.size, model.sha256), (3, Digest::of(b"abc")));
    assert!(outputs.notes.is_empty());
}

#[test]
fn what_came_with_the_snapshot_unchanged_is_not_an_output() {
    let (_directory, run) = run(&[("outputs/old", "old"), ("outputs/changed", "new")]);

    let outputs = collect(&run, &OutputLimits::default(), &|path| match path {
        b"outputs/old" | b"outputs/changed" => Some(Digest::of(b"old")),
        other => panic!("asked for {other:?}"),
    });

    assert_eq!(paths(&outputs.unwrap()), ["outputs/changed"]);
}

#[test]
fn nothing_but_plain_files_is_touched() {
    let (_directory, run) = run(&[("outputs/kept", "x"), ("secret", "s"), ("logs/l", "l")]);
    let outputs = run.outputs();
    symlink("/etc/passwd", outputs.join("link")).unwrap();
    symlink("/etc", outputs.join("linked_directory")).unwrap();
    fs::hard_link(run.work().join("secret"), outputs.join("hard")).unwrap();
    nix::unistd::mkfifo(&outputs.join("fifo"), NixMode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(outputs.join("socket")).unwrap();
    fs::set_permissions(outputs.join("kept"), fs::Permissions::from_mode(0o4755)).unwrap();

    let found = collected(&run);

    assert_eq!(paths(&found), ["logs/l", "outputs/kept"]);
    insta::assert_snapshot!(found.notes.join("\n"), @r#"
    "outputs/fifo" is a FIFO: not collected
    "outputs/hard" has other names (hard links): not collected
    "outputs/link" is a symbolic link: not collected
    "outputs/linked_directory" is a symbolic link: not collected
    "outputs/socket" is a socket: not collected
    "#);
}

#[test]
fn a_device_is_not_opened() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** NOT TESTED: only root can make a device ***\n");
        return;
    }
    let (_directory, run) = run(&[("outputs/kept", "x")]);
    // Whoever opens it, hears of it: there is none with these numbers.
    let nowhere = nix::sys::stat::makedev(511, 1);
    let device = run.outputs().join("device");
    nix::sys::stat::mknod(&device, SFlag::S_IFCHR, NixMode::S_IRWXU, nowhere).unwrap();

    let found = collected(&run);

    assert_eq!(paths(&found), ["outputs/kept"]);
    assert_eq!(found.notes, [r#""outputs/device" is a device: not collected"#]);
    assert!(found.whole);
}

/// Has `outputs/swapped` be a directory and a link to one elsewhere in turn, ever so fast.
#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nowhere() {
    let (_directory, run) = run(&[("outputs/swapped/ours", "ours"), ("elsewhere/secret", "s")]);
    let (swapped, link) = (run.outputs().join("swapped"), run.work().join("link"));
    symlink(run.work().join("elsewhere"), &link).unwrap();
    let over = AtomicBool::new(false);
    let (mut as_directory, mut as_link, mut changed) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &swapped, CWD, &link, exchange).unwrap();
            }
        });
        let until = Instant::now() + Duration::from_secs(10);
        while [as_directory, as_link, changed].contains(&0) && Instant::now() < until {
            let found = collected(&run);
            match (&paths(&found)[..], &found.notes[..]) {
                (["outputs/swapped/ours"], []) => as_directory += 1,
                ([], [note]) if note.contains("is a symbolic link") => as_link += 1,
                ([], [note]) if note.contains("changed while it was collected") => {
                    assert!(!found.whole);
                    changed += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(as_directory > 0 && as_link > 0 && changed > 0, "{as_directory} {as_link} {changed}");
}

#[test]
fn outputs_that_are_a_link_are_not_followed() {
    let (_directory, run) = run(&[("logs/l", "l")]);
    symlink("/etc", run.outputs()).unwrap();

    let found = collected(&run);

    assert_eq!(paths(&found), ["logs/l"]);
    assert_eq!(found.notes, [r#""outputs" is a symbolic link: not collected"#]);
}

#[test]
fn what_took_the_place_of_what_was_seen_is_not_collected() {
    let (_directory, run) = run(&[("outputs/a", "a"), ("outputs/b", "b"), ("secret", "s")]);
    let outputs = run.outputs();
    let at = open(CWD, &outputs, OFlags::DIRECTORY, ResolveFlags::empty()).unwrap();
    let seen = |name: &str| rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let before = [seen("a"), seen("b")];
    fs::hard_link(run.work().join("secret"), outputs.join("new")).unwrap();
    fs::rename(outputs.join("new"), outputs.join("a")).unwrap();
    fs::hard_link(outputs.join("b"), outputs.join("other")).unwrap();
    let limits = &OutputLimits::default();
    let found = Outputs::default();
    let mut collector = Collector {
        limits,
        in_snapshot: &|_| None,
        found,
        bytes: 0,
        names: 0,
        unnamed: 0,
        full: false,
    };

    for (name, before) in ["a", "b"].into_iter().zip(&before) {
        let path = Path::new(name);
        let opened = collector.open_same(&at, OsStr::new(name), path, before).unwrap();
        assert!(opened.is_none(), "{name}");
    }
    assert_eq!(collector.found.notes.len(), 2);
}

#[test]
fn what_is_mounted_in_outputs_is_not_collected() {
    let (_directory, run) = run(&[("outputs/kept", "x"), ("logs/l", "l")]);
    let mounted = run.outputs().join("mounted");
    fs::create_dir(&mounted).unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** NOT TESTED: only root can mount ***\n");
        return;
    }
    // A thread can have mounts of its own, which go with it.
    let found = std::thread::scope(|scope| {
        let own = scope.spawn(|| {
            // SAFETY: descriptors stay shared.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
            let line = "mount --make-rprivate / && mount -t tmpfs none \"$0\" && echo x > \"$0/x\"";
            let mount = std::process::Command::new("sh").args(["-c", line]).arg(&mounted).status();
            assert!(mount.unwrap().success());
            collected(&run)
        });
        own.join().unwrap()
    });

    assert_eq!(paths(&found), ["logs/l", "outputs/kept"]);
    assert_eq!(found.notes, [r#""outputs/mounted" is another file system: not collected"#]);
}

#[test]
fn limits_end_the_list_and_are_said() {
    let (_directory, run) = run(&[("outputs/a", "aaa"), ("outputs/b", "b"), ("outputs/c", "c")]);
    for limits in [
        OutputLimits { max_files: 1, ..OutputLimits::default() },
        OutputLimits { max_bytes: 3, ..OutputLimits::default() },
    ] {
        let found = collect(&run, &limits, &|_| None).unwrap();
        assert_eq!(paths(&found), ["outputs/a"]);
        assert!(found.notes[0].starts_with(r#""outputs/b" and what comes after"#));
    }
}

#[test]
fn what_is_too_deep_inside_is_said() {
    let (_directory, run) = run(&[("outputs/a/b/deep", "x"), ("outputs/a/shallow", "x")]);
    let limits = OutputLimits { max_depth: 2, ..OutputLimits::default() };

    let found = collect(&run, &limits, &|_| None).unwrap();

    assert_eq!(paths(&found), ["outputs/a/shallow"]);
    assert_eq!(found.notes, [r#""outputs/a/b" is too deep inside: not collected"#]);
    assert!(!found.whole);
}

#[test]
fn a_giant_of_holes_is_not_read() {
    let (_directory, run) = run(&[("outputs/a", "a")]);
    let giant = File::create(run.outputs().join("giant")).unwrap();
    giant.set_len((1 << 40) + 1).unwrap();

    let found = collected(&run);

    assert_eq!(paths(&found), ["outputs/a"]);
    assert!(found.notes[0].starts_with(r#""outputs/giant" and what comes after it is over"#));
}

#[test]
fn names_beyond_the_limit_are_not_looked_at() {
    let (_directory, run) = run(&[("outputs/a", "a"), ("outputs/b", "b"), ("logs/l", "l")]);
    let limits = OutputLimits { max_names: 2, ..OutputLimits::default() };

    let found = collect(&run, &limits, &|_| None).unwrap();

    assert_eq!(paths(&found), ["outputs/a", "outputs/b"]);
    assert_eq!(found.notes, [r#""logs" holds names over the limit of 2: not collected"#]);
    assert!(!found.whole);
}

#[test]
fn what_is_passed_over_is_named_up_to_a_limit_and_then_counted() {
    let (_directory, run) = run(&[("outputs/a", "a")]);
    for number in 0..5 {
        symlink("/etc/passwd", run.outputs().join(format!("link{number}"))).unwrap();
    }
    let limits = OutputLimits { max_notes: 2, ..OutputLimits::default() };

    let found = collect(&run, &limits, &|_| None).unwrap();

    insta::assert_snapshot!(found.notes.join("\n"), @r#"
    "outputs/link0" is a symbolic link: not collected
    "outputs/link1" is a symbolic link: not collected
    3 more: not collected
    "#);
}

#[test]
fn a_name_that_is_not_text_is_a_name() {
    let (_directory, run) = run(&[("outputs/a", "a")]);
    let path = Path::new("outputs").join(OsStr::from_bytes(b"\xff"));
    fs::write(run.work().join(&path), "b").unwrap();

    let found = collected(&run);

    assert_eq!(found.files[1].path, path);
    assert!(found.notes.is_empty());
}

#[test]
fn a_name_that_is_not_text_survives_json() {
    let file = OutputFile {
        path: OsStr::from_bytes(b"outputs/\xff").into(),
        size: 0,
        sha256: Digest::of(b""),
    };
    let text = serde_json::to_string(&file).unwrap();
    assert!(text.starts_with(r#"{"path":[111,117"#), "{text}");
    assert_eq!(serde_json::from_str::<OutputFile>(&text).unwrap(), file);
}

#[test]
fn a_run_without_a_working_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let gone = RunDirectory::new(directory.path().join("gone"));
    let error = collect(&gone, &OutputLimits::default(), &|_| None).unwrap_err();
    assert!(error.to_string().starts_with("cannot open "), "{error}");
}
