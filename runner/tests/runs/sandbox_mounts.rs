//! What a run is shown of the machine, and that nobody puts something else into its place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use runner::exit_record::{ExitReason, ExitRecord};
use runner::sandbox::policy::{Mount, Tier};

use crate::sandbox::{BWRAP, carried_out_with, sandboxed, write_program};
use crate::sandbox_layers::{Layer, can_hide, carried_out_with_only};
use crate::support::TestRun;

#[test]
fn what_is_mounted_is_seen_and_changed_only_if_that_was_said() {
    let data = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(data.path().join("x"), "data").unwrap();
    let script = "print(open('/in/x').read())\nopen('/out/y', 'w').write('new')\n\
        try: open('/in/y', 'w')\nexcept OSError as error: print(error.strerror)";
    let mut run = sandboxed(script);
    let mount = |at: &str, writable| Mount { source: data.path().into(), at: at.into(), writable };
    run.launch.sandbox.as_mut().unwrap().mounts = vec![mount("/in", false), mount("/out", true)];

    let (run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    assert_eq!(run.text(), "data\nRead-only file system\n");
    assert_eq!(fs::read_to_string(data.path().join("y")).unwrap(), "new");
}

#[test]
fn without_bubblewrap_it_is_changed_only_if_that_was_said() {
    if !can_hide() {
        return;
    }
    let data = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| data.path().join(name);
    let script = format!(
        "open({:?}, 'w').write('new')\ntry: open({:?}, 'w')\n\
         except OSError as error: print(error.strerror)",
        at("changed/x"),
        at("seen/x")
    );
    let mut run = sandboxed(&script);
    for (name, writable) in [("seen", false), ("changed", true)] {
        fs::create_dir(at(name)).unwrap();
        let mount = Mount { source: at(name), at: at(name), writable };
        run.launch.sandbox.as_mut().unwrap().mounts.push(mount);
    }

    let (run, record) = carried_out_with_only(Layer::Fence, run);

    assert_eq!(run.text(), "Permission denied\n", "{}", record.message);
    assert_eq!(fs::read_to_string(at("changed/x")).unwrap(), "new");
}

#[test]
fn a_mount_that_is_not_there_is_the_runs_end_and_not_less_of_a_sandbox() {
    let mut run = sandboxed("print('ran')");
    let policy = run.launch.sandbox.as_mut().unwrap();
    policy.minimum = Tier::None;
    policy.mounts = vec!["/nonexistent/data".parse().unwrap()];

    let (run, record) = run.carried_out();

    assert_eq!((record.reason, run.text().as_str()), (ExitReason::SandboxFailed, ""));
    assert!(record.message.contains("/nonexistent/data"), "{}", record.message);
    assert_eq!(record.process_exit_code(), 125);
}

#[test]
fn a_mount_that_is_a_link_to_what_no_run_sees_is_refused() {
    // Not beside the runs of these tests, whose state is the directory for temporary files.
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let (link, harmless) = (elsewhere.path().join("link"), elsewhere.path().join("harmless"));
    fs::create_dir(elsewhere.path().join("data")).unwrap();
    symlink(elsewhere.path().join("data"), &harmless).unwrap();
    let end = |source: &Path, to: Option<&str>| {
        let mut run = sandboxed("print('seen')");
        if let Some(to) = to {
            let _older = fs::remove_file(source);
            // As a run could that was given the directory.
            symlink(run.base().join(to), source).unwrap();
        }
        let mount = Mount { source: source.to_owned(), at: "/in".into(), writable: false };
        run.launch.sandbox.as_mut().unwrap().mounts.push(mount);
        let (run, record) = run.carried_out();
        (record.reason, record.message, run.text())
    };

    for guarded in ["/etc", "."] {
        let (reason, message, text) = end(&link, Some(guarded));
        assert_eq!((reason, text.as_str()), (ExitReason::SandboxFailed, ""), "{message}");
        assert!(message.contains("which no run is shown"), "{message}");
    }
    let (reason, message, _) = end(&harmless, None);
    assert_eq!(reason, ExitReason::Completed, "{message}");
}

/// What may be shown, what may not, and a link that leads to the first.
struct Swap {
    directory: tempfile::TempDir,
}

impl Swap {
    fn new() -> Self {
        // Not beside the runs of these tests, whose state is the directory for temporary files.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let this = Self { directory };
        fs::create_dir(this.at("data")).unwrap();
        fs::write(this.at("data/passwd"), "harmless").unwrap();
        symlink("data", this.at("link")).unwrap();
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a run that is shown what `name` leads to, and prints what that is.
    fn run(&self, name: &str) -> TestRun {
        let mut run = sandboxed("print(open('/in/passwd').read() == 'harmless')");
        let mount = Mount { source: self.at(name), at: "/in".into(), writable: false };
        run.launch.sandbox.as_mut().unwrap().mounts.push(mount);
        run
    }

    /// Carries out `run` where bubblewrap first does as `line` says, in this directory.
    fn swapped(&self, run: &TestRun, line: &str) -> Option<ExitRecord> {
        fs::copy(BWRAP, self.at("real")).unwrap();
        let here = self.directory.path().display();
        write_program(&self.at("bwrap"), &format!("cd '{here}' && {line}; exec ./real \"$@\""));
        carried_out_with(run, &self.at("bwrap"), BWRAP)
    }
}

#[test]
fn a_link_that_is_changed_after_it_was_checked_leads_nowhere_else() {
    let swap = Swap::new();
    let run = swap.run("link");

    let Some(record) = swap.swapped(&run, "ln -sfn /etc link") else { return };

    assert_eq!((run.text().as_str(), record.reason), ("True\n", ExitReason::Completed));
}

#[test]
fn a_directory_that_is_changed_after_it_was_checked_is_not_shown() {
    let swap = Swap::new();
    let run = swap.run("data");

    let line = "[ -d kept ] || { mv data kept; ln -s /etc data; }";
    let Some(record) = swap.swapped(&run, line) else { return };

    assert_eq!((run.text().as_str(), record.reason), ("", ExitReason::SandboxFailed));
    let said = "what is to be seen at /in was changed after it was checked";
    assert!(record.message.ends_with(said), "{}", record.message);
}

#[test]
fn without_bubblewrap_it_is_not_shown_either() {
    let swap = Swap::new();
    let mut run = swap.run("link");
    fs::write(run.directory.work().join("script.py"), "print(open('/etc/shadow').read())").unwrap();
    let policy = run.launch.sandbox.as_mut().unwrap();
    policy.minimum = Tier::Reduced;
    policy.mounts[0].at = swap.at("link");

    let line = "ln -sfn /etc link; echo 'no namespaces' >&2; exit 1";
    let Some(record) = swap.swapped(&run, line) else { return };

    assert_eq!((run.text().as_str(), record.reason), ("", ExitReason::SandboxFailed));
    assert!(record.message.ends_with("was changed after it was checked"), "{}", record.message);
}

#[test]
fn whenever_a_link_is_changed_nobody_sees_what_no_run_is_shown() {
    const RUNS: usize = 12;
    let swap = Swap::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for to in ["/etc", "data"] {
                    symlink(to, swap.at("next")).unwrap();
                    fs::rename(swap.at("next"), swap.at("link")).unwrap();
                }
            }
        });
        let ends = scope.spawn(|| -> Vec<_> {
            let ended = (0..RUNS).map(|_| swap.run("link").carried_out());
            ended.map(|(run, record)| (run.text(), record.reason)).collect()
        });
        let ends = ends.join();
        is_over.store(true, Ordering::Relaxed);
        let shown = ("True\n".to_owned(), ExitReason::Completed);
        let refused = (String::new(), ExitReason::SandboxFailed);
        let ends = ends.unwrap();
        assert!(ends.iter().all(|end| *end == shown || *end == refused), "{ends:?}");
    });
}

#[test]
fn who_may_be_shown_a_directory_alone_is_not_led_out_of_it() {
    let swap = Swap::new();
    fs::create_dir(swap.at("data/inner")).unwrap();
    fs::create_dir(swap.at("other")).unwrap();
    for (to, name) in [("../other", "data/out"), ("inner", "data/in"), ("data", "listed")] {
        symlink(to, swap.at(name)).unwrap();
    }
    let end = |listed: &str, source: &str| {
        let mut run = sandboxed("print('seen')");
        let mount =
            |name: &str, at: &str| Mount { source: swap.at(name), at: at.into(), writable: false };
        let policy = run.launch.sandbox.as_mut().unwrap();
        policy.mounts = vec![mount(source, "/in")];
        policy.within = Some(vec![mount(listed, "/listed")]);
        let (run, record) = run.carried_out();
        (run.text(), record.reason, record.message)
    };

    for (listed, source) in [("data", "data/in"), ("listed", "listed/inner"), ("data", "data")] {
        let (text, reason, message) = end(listed, source);
        assert_eq!((text.as_str(), reason), ("seen\n", ExitReason::Completed), "{message}");
    }
    for (listed, source) in [("data", "data/out"), ("listed", "listed/out"), ("data/in", "data")] {
        let (text, reason, message) = end(listed, source);
        assert_eq!((text.as_str(), reason), ("", ExitReason::SandboxFailed), "{message}");
        let said = "it is in none of the directories that the administrator shows";
        assert!(message.ends_with(said), "{message}");
    }
}
