//! What goes over a wire, and how commands end.

use std::io::{Read, Write};

use runner::ssh::{CommandEnd, Wire};

use crate::support::{connect, start};

const MIB: usize = 1 << 20;

/// Bytes of which no piece is like another.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..count / 8).flat_map(|_| next()).collect()
}

#[test]
fn commands_say_how_they_ended() {
    let Some(vm) = start() else { return };
    let mut connection = connect(&vm);
    let mut run = |line: &str| {
        let output = connection.run(line, &mut &b"some input"[..]).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.end, text(&output.stdout), text(&output.stderr))
    };

    let said = |out: &str, err: &str| (out.to_owned(), err.to_owned());
    for (line, end, (out, err)) in [
        ("cat", CommandEnd::Code(0), said("some input", "")),
        ("echo out; echo err >&2; exit 7", CommandEnd::Code(7), said("out\n", "err\n")),
        ("kill -KILL $$", CommandEnd::Signal("KILL".to_owned()), said("", "")),
        ("kill -TERM $$", CommandEnd::Signal("TERM".to_owned()), said("", "")),
    ] {
        assert_eq!(run(line), (end, out, err), "{line}");
    }
    let (end, _, err) = run("exec /nonsense");
    assert_eq!(end, CommandEnd::Code(127), "{err}");
}

#[test]
fn a_command_that_does_not_read_its_input_is_not_waited_for() {
    let Some(vm) = start() else { return };

    let output = connect(&vm).run("echo enough; exit 3", &mut bytes(8 * MIB).as_slice()).unwrap();

    assert_eq!((output.end, output.stdout), (CommandEnd::Code(3), b"enough\n".to_vec()));
}

#[test]
fn a_command_that_closes_its_output_may_read_on() {
    let Some(vm) = start() else { return };
    let mut connection = connect(&vm);
    let sent = bytes(8 * MIB);

    let end = connection.run("exec cat >it 2>/dev/null", &mut sent.as_slice()).unwrap().end;

    assert_eq!(end, CommandEnd::Code(0));
    let count = connection.run("wc -c <it", &mut &b""[..]).unwrap().stdout;
    assert_eq!(count, format!("{}\n", sent.len()).into_bytes());
}

#[test]
fn a_flood_of_stderr_stops_nothing_and_its_end_is_kept() {
    let Some(vm) = start() else { return };
    let flood = "head -c 8000000 /dev/zero | tr '\\0' x >&2; echo last words >&2; echo done";

    let output = connect(&vm).run(flood, &mut &b""[..]).unwrap();
    let mut wire = connect(&vm).open(flood).unwrap();
    let mut read = String::new();
    wire.read_to_string(&mut read).unwrap();

    assert_eq!((output.end, output.stdout), (CommandEnd::Code(0), b"done\n".to_vec()));
    assert!(output.stderr.ends_with(b"xlast words\n"));
    assert_eq!((output.stderr.len(), read.as_str()), (64 << 10, "done\n"));
    assert!(wire.stderr_tail().ends_with("xlast words\n"));
    assert_eq!(wire.stderr_tail().len(), 4096);
}

#[test]
fn sixty_four_mib_go_there_and_come_back_although_nobody_reads_meanwhile() {
    let Some(vm) = start() else { return };
    let sent = bytes(64 * MIB);
    let mut wire = connect(&vm).open("exec cat").unwrap();

    wire.write_all(&sent[..60 * MIB]).unwrap();
    let mut received = vec![0; 60 * MIB];
    wire.read_exact(&mut received).unwrap();
    wire.write_all(&sent[60 * MIB..]).unwrap();
    let mut rest = vec![0; 4 * MIB];
    wire.read_exact(&mut rest).unwrap();

    assert!(received == sent[..60 * MIB] && rest == sent[60 * MIB..]);
}

#[test]
fn requests_and_answers_of_all_sizes_pass_each_other() {
    let Some(vm) = start() else { return };
    let mut wire: Wire = connect(&vm).open("exec cat").unwrap();
    let stream = bytes(32 * MIB);
    let (mut written, mut read, mut size) = (0, 0, 1);
    let mut buffer = vec![0; 300_000];

    while read < stream.len() {
        size = size * 7 % 262_139;
        let end = stream.len().min(written + size);
        written += wire.write(&stream[written..end]).unwrap();
        // Never so much that it would have to wait.
        while wire.has_input().unwrap() || written == stream.len() && read < written {
            let count = wire.read(&mut buffer[..size.max(1)]).unwrap();
            assert_eq!(buffer[..count], stream[read..read + count]);
            read += count;
        }
    }
}
