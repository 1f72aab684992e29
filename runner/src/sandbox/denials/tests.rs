use super::*;
use crate::sandbox::landlock::Fence;
use crate::sandbox::network::RoomNetwork;
use crate::sandbox::plan::{Rooms, SandboxRecord, View};
use crate::sandbox::policy::Tier;

fn around() -> Surroundings<'static> {
    let (temporary, state) = ("/home/ana/state/runs/r/tmp", "/home/ana/state");
    Surroundings { temporary: Path::new(temporary), state: Path::new(state) }
}

/// One with rooms of its own, or as little as there is without.
fn sandbox(network: Network, has_rooms: bool) -> Plan {
    let view = |at: &str, what| View { at: at.into(), what };
    let shown = |path: &str| view(path, Seen::Shown(path.into()));
    let given = |at: &str, source: &str| view(at, Seen::Given(source.into()));
    let views = vec![
        shown("/usr"),
        view("/bin", Seen::Link("usr/bin".into())),
        view("/dev/shm", Seen::Memory(Some(512 << 20))),
        view("/run", Seen::Empty),
        given("/tmp", "/home/ana/state/runs/r/tmp/tmp"),
        given("/home/ana", "/home/ana/state/runs/r/tmp/home"),
        shown("/home/ana/venv"),
        view("/in", Seen::Shown("/data".into())),
        given("/out", "/srv/out"),
        given("/home/ana/state/runs/r/work", "/home/ana/state/runs/r/work"),
    ];
    let rooms = Rooms {
        bwrap: "/usr/bin/bwrap".into(),
        own_users: true,
        network: RoomNetwork::Alone,
        views,
    };
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
    let fence = Fence {
        read: paths(&["/usr", "/data"]),
        write: paths(&["/home/ana/state/runs/r/work", "/dev/shm"]),
        devices: paths(&["/dev/null"]),
    };
    let record = SandboxRecord {
        tier: if has_rooms { Tier::Full } else { Tier::Reduced },
        engine: String::new(),
        network,
        missing: Vec::new(),
        refused_calls: None,
        denials: Vec::new(),
    };
    Plan { record, rooms: has_rooms.then_some(rooms), fence: Some(fence), filter: true }
}

fn said(words: &str, plan: &Plan) -> String {
    let found = denials(words, None, plan, around());
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    if lines.is_empty() { "-".to_owned() } else { lines.join("\n  ") }
}

fn table(plan: &Plan, lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n  {}\n", said(line, plan))).collect()
}

#[test]
fn what_is_not_shown_is_named_with_the_mount_that_shows_it() {
    insta::assert_snapshot!(table(
        &sandbox(Network::Full, true),
        &[
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/train.csv'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/ana/data/x.csv'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/ana/x.csv'",
            "FileNotFoundError: [Errno 2] No such file or directory: 'x.csv'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/in/x.csv'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/ana/state/runs/r/work/x'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/home/ana/state/agent.db'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/var/run/docker.sock'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/etc/shadow'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/data'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/my data/x' -> '/out/x'",
            "/bin/bash: line 1: /data/x: No such file or directory",
            "cat: /data/x: No such file or directory",
            "ls: cannot access '/data/x': No such file or directory",
            "cp: cannot stat ‘/data/x’: No such file or directory",
            "open /data/x: no such file or directory",
            "java.io.FileNotFoundException: /data/x (No such file or directory)",
            "PermissionError: [Errno 13] Permission denied: '/data/x'",
            "all is well with '/data/x'",
        ]
    ));
}

#[test]
fn what_may_not_be_changed_is_named_with_the_mount_that_lets_it() {
    insta::assert_snapshot!(table(
        &sandbox(Network::Full, true),
        &[
            "OSError: [Errno 30] Read-only file system: '/in/new'",
            "OSError: [Errno 30] Read-only file system: '/results'",
            "mkdir: cannot create directory ‘/results’: Read-only file system",
            "/bin/bash: line 1: /in/new: Read-only file system",
            "touch: cannot touch '/in/x': Read-only file system",
            "OSError: [Errno 30] Read-only file system: '/usr/lib/python3/x'",
            "OSError: [Errno 30] Read-only file system: '/etc/hosts'",
            "OSError: [Errno 30] Read-only file system: '/home/ana/venv/x'",
        ]
    ));
}

#[test]
fn without_rooms_it_is_access_that_is_denied() {
    insta::assert_snapshot!(table(
        &sandbox(Network::Full, false),
        &[
            "PermissionError: [Errno 13] Permission denied: '/srv/x'",
            "PermissionError: [Errno 13] Permission denied: '/data/x'",
            "PermissionError: [Errno 13] Permission denied: '/etc/shadow'",
            "PermissionError: [Errno 13] Permission denied: '/usr/x'",
            "FileNotFoundError: [Errno 2] No such file or directory: '/srv/x'",
            "OSError: [Errno 28] No space left on device: '/dev/shm/x'",
        ]
    ));
}

#[test]
fn a_network_that_is_kept_away_is_named_with_its_host() {
    let lines = [
        "OSError: [Errno 101] Network is unreachable",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='example.org', port=443): \
         Max retries exceeded (Caused by: [Errno -2] Name or service not known)",
        "curl: (6) Could not resolve host: example.org",
        "/bin/bash: line 1: /dev/tcp/192.0.2.1/80: Network is unreachable",
    ];
    insta::assert_snapshot!(table(&sandbox(Network::None, true), &lines));
    assert_eq!(said(&lines.join("\n"), &sandbox(Network::Full, true)), "-", "it is not our doing");
}

#[test]
fn full_memory_and_refused_calls_are_told_as_far_as_they_show() {
    insta::assert_snapshot!(table(
        &sandbox(Network::Full, true),
        &[
            "OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'",
            "RuntimeError: unable to write to file </torch_1>: No space left on device (28)",
            "ERROR: Unexpected bus error in worker. This might be caused by insufficient shared memory (shm).",
            "OSError: [Errno 28] No space left on device: '/out/x'",
            "unshare: unshare failed: Operation not permitted",
            "PermissionError: [Errno 1] Operation not permitted: '/out/x'",
        ]
    ));
    let call = denials("", Some(nix::libc::SIGSYS), &sandbox(Network::Full, true), around());
    assert_eq!(
        call[0].to_string(),
        "the sandbox refused a system call of another kind of machine; --sandbox off does not"
    );
    assert_eq!(denials("", Some(nix::libc::SIGKILL), &sandbox(Network::Full, true), around()), []);
}

#[test]
fn the_last_three_are_told_each_once() {
    let line = |n: u32| format!("cat: /data{n}/x: No such file or directory\n");
    let words: String = [1, 2, 3, 4, 4].map(line).concat();

    let found = denials(&words, None, &sandbox(Network::Full, true), around());

    let options: Vec<&str> = found.iter().map(|denial| denial.option.as_str()).collect();
    assert_eq!(options, ["--mount /data4", "--mount /data3", "--mount /data2"]);
}

proptest::proptest! {
    #[test]
    fn no_words_are_too_much(words in ".{0,200}", around_it in "['\"‘/: ]{0,6}") {
        let line = format!("{words}{around_it}No such file or directory{around_it}{words}");
        drop(denials(&line, None, &sandbox(Network::None, true), around()));
    }
}
