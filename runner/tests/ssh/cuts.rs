//! What is heard when the other side is not there any more.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use runner::ssh::{Endpoint, HostKeyPolicy, Patience, SshConnection, SshError, Wire};

use crate::support::{PATIENCE, connect, endpoint, password, start};
use crate::vm::{PASSWORD, Vm};

/// As long as a server may be silent here.
const SILENCE: Duration = Duration::from_secs(6);

/// Far longer than anything here takes, and far shorter than what the system would wait.
const LONG: Duration = Duration::from_secs(60);

fn impatient(vm: &Vm) -> SshConnection {
    let patience = Patience { silence: SILENCE, ..PATIENCE };
    SshConnection::connect(&endpoint(vm, password(PASSWORD)), patience).unwrap()
}

/// Opens an echo and sees that it works.
fn echo(connection: SshConnection) -> Wire {
    let mut wire = connection.open("exec cat").unwrap();
    wire.write_all(b"x").unwrap();
    wire.read_exact(&mut [0]).unwrap();
    wire
}

/// Says what `work` fails with, which must not take long, nor dropping what it is done with.
fn failure<T>(mut wire: T, work: impl FnOnce(&mut T) -> io::Result<usize>) -> io::Error {
    let begun = Instant::now();
    let error = work(&mut wire).unwrap_err();
    assert!(begun.elapsed() < LONG, "{:?}: {error}", begun.elapsed());
    dropped_at_once(wire);
    error
}

fn dropped_at_once<T>(what: T) {
    let begun = Instant::now();
    drop(what);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Writes until that fails.
fn flood(wire: &mut Wire) -> io::Result<usize> {
    let chunk = vec![0; 1 << 20];
    loop {
        wire.write_all(&chunk)?;
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        user: "ana".to_owned(),
        host_key: HostKeyPolicy::Any,
        credentials: Vec::new(),
        jumps: Vec::new(),
    };
    let patience = Patience { connect: Duration::from_secs(1), ..PATIENCE };
    let begun = Instant::now();

    let error = SshConnection::connect(&endpoint, patience).err().unwrap();

    assert!(matches!(error, SshError::Silent { .. }) && error.is_passing(), "{error}");
    assert!(begun.elapsed() >= patience.connect && begun.elapsed() < LONG);

    let closing =
        std::thread::spawn(move || drop((listener.accept(), listener.accept(), listener)));
    let error = SshConnection::connect(&endpoint, PATIENCE).err().unwrap();
    assert!(matches!(error, SshError::Lost { .. }), "{error}");
    drop(std::net::TcpStream::connect(("127.0.0.1", endpoint.port)));
    closing.join().unwrap();
    let error = SshConnection::connect(&endpoint, PATIENCE).err().unwrap();
    assert!(matches!(error, SshError::Unreachable { .. }) && error.is_passing(), "{error}");
}

#[test]
fn what_does_not_speak_ssh_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&b"220 mail.example.com ESMTP\r\n".repeat(1000)).unwrap();
        drop(stream.read(&mut [0; 100]));
    });
    let endpoint = Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
        user: "ana".to_owned(),
        host_key: HostKeyPolicy::Any,
        credentials: Vec::new(),
        jumps: Vec::new(),
    };

    let error = SshConnection::connect(&endpoint, PATIENCE).err().unwrap();

    server.join().unwrap();
    assert!(!matches!(error, SshError::Denied { .. } | SshError::Silent { .. }), "{error:?}");
}

#[test]
fn a_link_that_is_cut_is_noticed_within_patience() {
    let Some(vm) = start() else { return };
    let (reading, writing) = (echo(impatient(&vm)), echo(impatient(&vm)));
    let running = impatient(&vm);

    vm.cut();

    let error = failure(reading, |wire| wire.read(&mut [0]));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    let error = failure(writing, |wire| {
        let error = flood(wire);
        // Who asks again is not made to wait again, not even when the link is mended.
        vm.mend();
        let again = wire.read(&mut [0]).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::ConnectionReset, "{again}");
        vm.cut();
        error
    });
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    let error = failure(running, |running| Ok(running.run("true", &mut io::empty())?.stdout.len()));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    let patience = Patience { connect: Duration::from_secs(2), ..PATIENCE };
    let error = SshConnection::connect(&endpoint(&vm, password(PASSWORD)), patience).err().unwrap();
    assert!(error.is_passing(), "{error}");
    vm.mend();
    // What is sent right after that may still be lost, and the time to connect is short here.
    let again = || SshConnection::connect(&endpoint(&vm, password(PASSWORD)), PATIENCE).ok();
    echo((0..5).find_map(|_| again()).expect("a connection over the mended link"));
}

#[test]
fn a_machine_that_stands_still_is_noticed_and_one_that_goes_on_in_time_is_not() {
    let Some(vm) = start() else { return };
    let dead = echo(impatient(&vm));
    let mut sleeping = echo(connect(&vm));

    vm.pause();
    let error = failure(dead, |wire| wire.read(&mut [0]));
    vm.unpause();

    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    sleeping.write_all(b"y").unwrap();
    let mut read = [0];
    sleeping.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"y");
}

#[test]
fn a_server_that_is_killed_is_noticed_at_once() {
    let Some(vm) = start() else { return };
    let (reading, writing) = (echo(connect(&vm)), echo(connect(&vm)));

    vm.reset();

    for error in [failure(reading, |wire| wire.read(&mut [0])), failure(writing, flood)] {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }
    vm.restart_sshd();
    echo(connect(&vm));
}

#[test]
fn a_command_may_be_silent_as_long_as_the_server_is_there() {
    let Some(vm) = start() else { return };
    let mut connection = impatient(&vm);

    // Longer than a server may be silent, and it is one event that is awaited.
    let line = format!("sleep {}; echo there", SILENCE.as_secs() * 2);
    let output = connection.run(&line, &mut io::empty()).unwrap();

    assert_eq!(output.stdout, b"there\n");
}

#[test]
fn a_command_that_never_answers_is_given_up() {
    let Some(vm) = start() else { return };
    let patience = Patience { answer: Duration::from_secs(3), ..PATIENCE };
    let endpoint = endpoint(&vm, password(PASSWORD));
    let stuck = || SshConnection::connect(&endpoint, patience).unwrap().open("exec sleep 1000");

    let reading = failure(stuck().unwrap(), |wire| wire.read(&mut [0]));
    let writing = failure(stuck().unwrap(), flood);

    assert!(reading.to_string().contains("has not begun to carry out a command"), "{reading}");
    for error in [reading, writing] {
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }
}
