//! The agent as a service: drained, watched, and started by systemd.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{PATIENCE, Workspace, call};

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A run that is over as soon as the file `gate` is there.
fn gated(workspace: &Workspace) -> (String, std::path::PathBuf) {
    let (submission, gate) = workspace.gated("true");
    let run = workspace.submit(&submission);
    workspace.wait(&run, |run| run["status"] == "Running");
    (run, gate)
}

#[test]
fn a_drained_agent_starts_nothing_until_it_is_undone() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let (on, gate) = gated(&workspace);
    assert_eq!(workspace.get("/readyz").body, b"ready\n");

    let impatient = workspace.trainyard(&["agent", "drain", "--timeout", "0"]);
    assert_eq!(impatient.status.code(), Some(1));
    assert!(said(&impatient).contains("1 run still on; the agent goes on draining"));
    let waits = workspace.submit(&workspace.submission("true"));
    // Whoever drains a machine restarts things.
    workspace.kill();
    workspace.start();

    assert_eq!(workspace.get("/healthz").status, 200);
    let ready = workspace.get("/readyz");
    assert_eq!((ready.status, ready.json()["error"]["code"].as_str()), (503, Some("not_ready")));
    assert!(workspace.get("/v1/status").json()["draining"]["sinceTimeUtc"].is_string());
    let why = workspace.trainyard(&["explain", &waits]);
    assert!(String::from_utf8(why.stdout).unwrap().contains("agent is draining since"));

    std::fs::write(gate, "").unwrap();
    let drained = workspace.trainyard(&["agent", "drain"]);

    assert!(drained.status.success(), "{drained:?}");
    assert!(said(&drained).contains("Drained no run is on; 1 run in the queue"), "{drained:?}");
    assert_eq!(workspace.get(&format!("/v1/runs/{on}")).json()["status"], "Completed");
    assert_eq!(workspace.get(&format!("/v1/runs/{waits}")).json()["status"], "Queued");
    let again = workspace.trainyard(&["rerun", "-d", &on]);
    assert!(said(&again).contains("the agent is draining: the run waits"), "{again:?}");
    let resumed = workspace.trainyard(&["agent", "drain", "--undo", "--json"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(workspace.follow(&waits).iter().any(|(name, _)| name == "end"));
    assert_eq!(workspace.get("/readyz").status, 200);
}

#[test]
fn a_drain_that_somebody_undoes_is_no_success() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let (_, gate) = gated(&workspace);
    let mut drain = workspace.command(&["agent", "drain"]);
    let mut drain = drain.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = drain.stderr.take().unwrap();
    let mut first = [0; 12];
    said.read_exact(&mut first).unwrap();

    workspace.trainyard(&["agent", "drain", "--undo"]);

    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(drain.wait().unwrap().code(), Some(1));
    assert!(rest.contains("somebody ended the drain"), "{rest}");
    std::fs::write(gate, "").unwrap();
}

#[test]
fn sigterm_ends_the_agent_at_once_and_no_run() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let (run, gate) = gated(&workspace);
    let pid = workspace.get("/v1/status").json()["pid"].as_i64().unwrap();
    // Somebody who never hangs up.
    let mut follower = UnixStream::connect(workspace.socket()).unwrap();
    let asked = format!("GET /v1/runs/{run}/follow HTTP/1.1\r\nhost: agent\r\n\r\n");
    follower.write_all(asked.as_bytes()).unwrap();
    follower.read_exact(&mut [0; 12]).unwrap();

    let begun = Instant::now();
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(workspace.ended_well());

    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    std::fs::write(gate, "").unwrap();
    workspace.start();
    let events = workspace.follow(&run);
    assert_eq!(events.last().unwrap().1["run"]["exit"]["reason"], "completed");
}

#[test]
fn what_happened_is_counted() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    for line in ["true", "exit 3"] {
        workspace.follow(&workspace.submit(&workspace.submission(line)));
    }

    let metrics = workspace.get("/metrics");

    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    let page = String::from_utf8(metrics.body).unwrap();
    for line in [
        "trainyard_runs{status=\"Completed\"} 1",
        "trainyard_runs{status=\"Running\"} 0",
        "trainyard_runs_ended_total{reason=\"completed\"} 1",
        "trainyard_runs_ended_total{reason=\"script_failed\"} 1",
        "trainyard_queue_wait_seconds_count 2",
        "trainyard_preparation_seconds_count 2",
        "trainyard_draining 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    let status = workspace.trainyard(&["agent", "status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("Ended        1 completed, 1 script_failed"), "{status}");
}

/// An agent as systemd starts it: with a socket that is open, and one to be told on.
struct AsService {
    agent: Child,
    told: UnixDatagram,
}

impl AsService {
    fn start(workspace: &Workspace) -> Self {
        let mut command = workspace.passed();
        let notify = workspace.source().join("notify");
        let told = UnixDatagram::bind(&notify).unwrap();
        told.set_read_timeout(Some(PATIENCE)).unwrap();
        command.env("NOTIFY_SOCKET", notify).env("WATCHDOG_USEC", "200000");
        Self { agent: command.spawn().unwrap(), told }
    }

    fn hear(&self) -> String {
        let mut heard = [0; 256];
        let length = self.told.recv(&mut heard).expect("a word in time");
        String::from_utf8(heard[..length].to_vec()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.agent.id().try_into().unwrap()), signal).unwrap();
    }
}

#[test]
fn systemd_passes_the_socket_and_hears_how_it_goes() {
    let workspace = Workspace::new(&[("a.txt", "a")]);
    let mut service = AsService::start(&workspace);

    // Who comes before it is ready waits.
    assert_eq!(workspace.get("/readyz").body, b"ready\n");
    assert_eq!(service.hear(), "READY=1");
    for _ in 0..3 {
        assert_eq!(service.hear(), "WATCHDOG=1\nSTATUS=0 on, 0 queued");
    }
    let drained = workspace.trainyard(&["agent", "drain"]);
    assert!(drained.status.success(), "{drained:?}");
    while service.hear() != "WATCHDOG=1\nSTATUS=0 on, 0 queued, draining" {}
    service.signal(Signal::SIGTERM);
    while service.hear() != "STOPPING=1" {}

    assert!(service.agent.wait().unwrap().success());
    assert!(workspace.socket().exists(), "the socket is systemd's");
}

#[test]
fn an_agent_that_hangs_gives_no_sign_of_life() {
    let workspace = Workspace::new(&[("a.txt", "a")]);
    let mut service = AsService::start(&workspace);
    assert_eq!(service.hear(), "READY=1");
    assert!(service.hear().starts_with("WATCHDOG=1"));

    // Whoever else writes keeps the records from answering.
    let records = workspace.home().join("agent.db");
    let hold = "import sqlite3, sys\n\
                held = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                held.execute('begin immediate')\n\
                print('held', flush=True)\n\
                sys.stdin.read()";
    let mut holder = std::process::Command::new("python3");
    holder.args(["-c", hold]).arg(records).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut held = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    // What was said before that.
    service.told.set_nonblocking(true).unwrap();
    while service.told.recv(&mut [0; 256]).is_ok() {}
    service.told.set_nonblocking(false).unwrap();
    service.told.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // One may have been on its way.
    drop(service.told.recv(&mut [0; 256]));

    let error = service.told.recv(&mut [0; 256]).unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    service.told.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(service.hear().starts_with("WATCHDOG=1"), "it is well again");
    service.signal(Signal::SIGTERM);
    service.agent.wait().unwrap();
}

#[test]
fn who_may_connect_to_a_passed_socket_may_use_the_agent_and_not_rule_it() {
    // Only root can be somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let workspace = Workspace::new(&[("a.txt", "a")]);
    let mut service = AsService::start(&workspace);
    assert_eq!(service.hear(), "READY=1");
    for path in [workspace.home().parent().unwrap(), &workspace.home()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(workspace.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();

    let socket = workspace.socket();
    let asked = std::thread::spawn(move || {
        // Of this thread alone.
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
        let status = call(&socket, "GET", "/v1/status", &[], b"").status;
        (status, call(&socket, "POST", "/v1/agent/stop", &[], b""))
    });
    let (status, stop) = asked.join().unwrap();

    assert_eq!((status, stop.status), (200, 403));
    assert_eq!(stop.json()["error"]["code"], "not_administrator");
    service.signal(Signal::SIGTERM);
    assert!(service.agent.wait().unwrap().success());
}

/// Counts the pools that the C library made for threads: each is a reserved 64 MiB, at a multiple of
/// that, of which the first part can be written.
#[cfg(target_env = "gnu")]
fn pools(pid: &str) -> usize {
    const RESERVED: u64 = 64 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let ranges: Vec<(u64, u64, bool)> = maps
        .lines()
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let at = |text| u64::from_str_radix(text, 16).unwrap();
            (at(from), at(to), rest.starts_with("rw-p"))
        })
        .collect();
    let is_pool = |pair: &&[(u64, u64, bool)]| {
        let [(from, to, writable), (next, end, next_writable)] = pair else { return false };
        from % RESERVED == 0 && *writable && to == next && !next_writable && end - from == RESERVED
    };
    ranges.windows(2).filter(is_pool).count()
}

#[test]
#[cfg(target_env = "gnu")]
fn many_who_ask_at_once_leave_little_memory_behind() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let pid = workspace.get("/v1/status").json()["pid"].to_string();

    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(workspace.get("/v1/runs").status, 200);
                }
            });
        }
    });

    let pools = pools(&pid);
    assert!(pools <= 1, "beside the first there are {pools}");
}
