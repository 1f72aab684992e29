//! What is said that nobody agreed on.

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use runner::remote::client::{Pipes, RemoteClient, RemoteError, Stream};
use runner::remote::frame::{self, GREETING, Kind, PROTOCOL};
use runner::remote::message::{Done, Hello, News, Refusal, RefusalKind, Request, Standing};
use runner::remote::report::MachineReport;
use runner::sandbox::host::HostFacts;
use runner::sandbox::{plan, probe};

use crate::conversation::{HomeRun, fetch};
use crate::machine::Machine;

fn refused<T: std::fmt::Debug>(answer: Result<T, RemoteError>) -> Refusal {
    match answer {
        Err(RemoteError::Refused { refusal }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_says_who_and_where_it_is() {
    let machine = Machine::new();
    let mut client = machine.connect();

    let hello: Hello = client.ask(&Request::Hello { protocol: PROTOCOL }).unwrap();

    assert_eq!(hello.place.home, machine.home().path().canonicalize().unwrap());
    assert_eq!(hello.machine.len(), 64);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(machine.home().path()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    let other = refused(client.ask::<Hello>(&Request::Hello { protocol: PROTOCOL + 1 }));
    assert_eq!(other.kind, RefusalKind::Protocol);
    assert!(client.is_good());
}

#[test]
fn what_is_no_request_ends_the_server_and_not_the_machine() {
    let machine = Machine::new();
    let mut oversized = u32::MAX.to_be_bytes().to_vec();
    oversized.push(b'M');
    let mut unknown = Vec::new();
    frame::write(&mut unknown, Kind::Message, br#"{"request":"format_disk"}"#).unwrap();
    let mut half = Vec::new();
    frame::write(&mut half, Kind::Message, br#"{"request":"report"}"#).unwrap();
    half.truncate(half.len() - 3);
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Kind::Bytes, b"x").unwrap();
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    for said in [oversized, unknown, half, bytes, http, vec![0; 100_000]] {
        let mut pipes = machine.serve();
        let _it_may_be_gone = pipes.to.write_all(&said);
        drop(pipes.to);

        let mut answer = Vec::new();
        pipes.from.read_to_end(&mut answer).unwrap();

        assert!(answer.starts_with(GREETING));
    }
    machine.wait_for_servers();
    let mut client = machine.connect();
    client.ask::<Hello>(&Request::Hello { protocol: PROTOCOL }).unwrap();
}

#[test]
fn a_pack_that_is_none_is_refused_at_once_and_the_next_is_taken() {
    let machine = Machine::new();
    let mut client = machine.connect();

    let mut endless = io::repeat(7);
    let refusal = refused(client.send::<Done>(&Request::Pack, &mut endless));

    assert_eq!(refusal.kind, RefusalKind::Invalid, "{refusal:?}");
    assert!(client.is_good());
    let mut broken = b"trainyard pack 1\n".chain(Broken);
    let error = client.send::<Done>(&Request::Pack, &mut broken).unwrap_err();
    assert!(matches!(error, RemoteError::Local { .. }), "{error:?}");
    assert!(client.is_good());
    HomeRun::of("", &[]).upload(&mut client).unwrap();
}

/// What cannot be read on.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("damaged"))
    }
}

#[test]
fn only_plain_files_of_outputs_and_logs_are_fetched() {
    let machine = Machine::new();
    let mut run = HomeRun::of("open('outputs/kept', 'w').write('fine')", &[]);
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    run.start(&mut client).unwrap();
    run.follow(&mut client).unwrap();
    let there = machine.home().run(&run.id);
    symlink("/etc/passwd", there.outputs().join("link")).unwrap();
    symlink("/etc", there.outputs().join("directory")).unwrap();

    for path in [
        "outputs/link",
        "outputs/directory/passwd",
        "outputs/../script.py",
        "script.py",
        "/etc/passwd",
        "outputs/missing",
        "outputs",
        "",
    ] {
        let mut none = |bytes: &[u8]| panic!("{path}: {bytes:?}");
        let refusal = refused(fetch(&mut client, &run.id, Path::new(path), 0, &mut none));
        assert_eq!(refusal.kind, RefusalKind::NotFound, "{path}: {refusal:?}");
    }
    let mut none = |_: &[u8]| Ok(());
    let kept = Path::new("outputs/kept");
    let refusal = refused(fetch(&mut client, &run.id, kept, 5, &mut none));
    assert_eq!(refusal.kind, RefusalKind::Changed);
    let mut end = Vec::new();
    let mut keep = |bytes: &[u8]| end.write_all(bytes);
    fetch(&mut client, &run.id, kept, 2, &mut keep).unwrap();
    assert_eq!(end, b"ne");
}

#[test]
fn metrics_that_are_a_link_are_not_read() {
    let machine = Machine::new();
    let secret = machine.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!("import os; os.symlink({secret:?}, 'logs/metrics.jsonl')");
    let mut run = HomeRun::of(&script, &[]);
    let mut client = machine.connect();

    run.carry_through(&mut client).unwrap();

    assert_eq!(run.mirrored("work/logs/metrics.jsonl"), b"");
}

#[test]
fn another_agents_run_is_not_ours() {
    let machine = Machine::new();
    let mut run = HomeRun::of("", &[]);
    let mut client = machine.connect();
    run.prepare(&mut client).unwrap();

    run.owner = "another".to_owned();
    let refusal = refused(run.prepare(&mut client));

    assert_eq!(refusal.kind, RefusalKind::Invalid);
    assert!(refusal.message.contains("belongs to another agent"), "{refusal:?}");
}

#[test]
fn nothing_is_known_of_a_run_that_never_was() {
    let machine = Machine::new();
    let mut run = HomeRun::of("", &[]);
    let mut client = machine.connect();

    assert_eq!(refused(run.cancel(&mut client)).kind, RefusalKind::NotFound);
    assert_eq!(refused(run.settle(&mut client)).kind, RefusalKind::NotFound);
    assert_eq!(refused(run.start(&mut client)).kind, RefusalKind::NotFound);
    assert_eq!(refused(run.collect(&mut client)).kind, RefusalKind::NotFound);
    run.release(&mut client).unwrap();
    let look = Request::Look { runs: Vec::new(), wait_ms: 0 };
    let news: News = client.receive(&look, &mut |_, _| panic!("bytes of nothing")).unwrap();
    assert!(news.runs.is_empty());
}

/// Starts a shell line in the server's place.
fn shell(line: &str) -> Result<(), RemoteError> {
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipes = Pipes { from: child.stdout.take().unwrap(), to: child.stdin.take().unwrap() };
    let greeted = RemoteClient::greet(pipes).map(drop);
    child.wait().unwrap();
    greeted
}

#[test]
fn what_a_login_shell_prints_is_passed_over_and_quoted() {
    shell(r"echo Welcome; printf '\0trainyard-remote'; printf '\0trainyard-remote 1\n'").unwrap();

    for (line, said) in [
        ("echo; echo 'sh: 1: trainyard: not found'; echo more", "sh: 1: trainyard: not found"),
        ("exit 127", "it ended without a word"),
        ("yes 'This account is currently not available.'", "This account is currently not"),
    ] {
        let error = shell(line).unwrap_err();
        let RemoteError::Protocol { said: told } = &error else { panic!("{error:?}") };
        assert!(told.starts_with(said), "{told}");
    }
}

#[test]
fn a_refusal_is_heard_after_the_break_too() {
    // Takes the request, refuses it, and is gone before what goes with it is sent.
    let mut said = GREETING.to_vec();
    let refusal = br#"{"kind":"disk_full","message":"full","hint":null}"#;
    frame::write(&mut said, Kind::Refusal, refusal).unwrap();
    let stream = Gone { said: io::Cursor::new(said), takes: 1 };
    let mut client = RemoteClient::greet(stream).unwrap();

    let refusal = refused(client.send::<Done>(&Request::Pack, &mut io::repeat(7)));

    assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::DiskFull, "full"));
}

/// A server that takes so many writes and is gone then; it does not tell what there is to read.
struct Gone {
    said: io::Cursor<Vec<u8>>,
    takes: usize,
}

impl Read for Gone {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.said.read(bytes)
    }
}

impl io::Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.takes = self.takes.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Gone {
    fn has_input(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

#[test]
fn a_server_at_work_says_that_it_is_there() {
    let machine = Machine::new();
    let mut pipes = machine.serve();
    let look = serde_json::to_vec(&Request::Look { runs: Vec::new(), wait_ms: 60_000 }).unwrap();
    frame::write(&mut pipes.to, Kind::Message, &look).unwrap();
    let mut greeting = vec![0; GREETING.len()];
    pipes.from.read_exact(&mut greeting).unwrap();

    let (kind, _) = frame::read(&mut pipes.from).unwrap().unwrap();
    assert_eq!(kind, Kind::Alive);
    // Nobody listens any more: it notices when it says so again, and does not wait on.
    drop(pipes);
    machine.wait_until_quiet();
}

#[test]
fn a_machine_says_what_it_is() {
    let machine = Machine::new();
    let report: MachineReport = machine.connect().ask(&Request::Report).unwrap();

    assert_eq!(report.architecture, std::env::consts::ARCH);
    assert!(report.cpus >= 1);
    assert!(report.kernel.is_some_and(|kernel| kernel.contains('.')));
    assert!(report.python.is_some_and(|version| version.starts_with("3.")));
    assert!(report.memory_bytes >= report.memory_available_bytes);
    assert!(report.disk_bytes >= report.disk_free_bytes && report.disk_free_bytes.is_some());
    assert!(report.docker.is_none() || report.docker_problem.is_none());
    assert!(report.docker_hint.is_none() || report.docker_problem.is_some());
    let (tier, _) = plan::possible(&probe::tried(HostFacts::look()));
    assert_eq!(report.sandbox, tier.to_string());
    assert!(!report.user.is_empty());
}
