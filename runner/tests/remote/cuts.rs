//! Connections that break off, at every frame of a whole conversation.

use std::io::{self, Read, Write};

use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;
use runner::remote::client::{RemoteClient, RemoteError, Stream};
use runner::remote::frame::GREETING;

use crate::conversation::HomeRun;
use crate::machine::{Machine, ServerPipes, greet};

/// Counts the frames that went through, both ways, and is gone after so many.
struct CutAfter {
    pipes: Option<ServerPipes>,
    left: usize,
    sent: Frames,
    received: Frames,
}

/// Where a stream of frames stands.
#[derive(Default)]
struct Frames {
    /// Bytes that are no frame, at the beginning.
    skip: usize,
    header: Vec<u8>,
    payload: usize,
}

impl Frames {
    /// Takes up bytes up to the end of a frame; returns how many, and whether one ended.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len() - at);
                (self.skip, at) = (self.skip - count, at + count);
                continue;
            }
            if self.header.len() < 5 {
                self.header.push(bytes[at]);
                at += 1;
                if self.header.len() == 5 {
                    let length = self.header[..4].try_into().unwrap();
                    self.payload = u32::from_be_bytes(length) as usize;
                }
            } else {
                let count = self.payload.min(bytes.len() - at);
                (self.payload, at) = (self.payload - count, at + count);
            }
            if self.header.len() == 5 && self.payload == 0 {
                self.header.clear();
                return (at, true);
            }
        }
        (at, false)
    }
}

impl CutAfter {
    fn new(pipes: ServerPipes, frames: usize) -> Self {
        let received = Frames { skip: GREETING.len(), ..Frames::default() };
        Self { pipes: Some(pipes), left: frames, sent: Frames::default(), received }
    }

    fn open(&mut self) -> io::Result<&mut ServerPipes> {
        if self.left == 0 {
            self.pipes = None;
        }
        self.pipes.as_mut().ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl Read for CutAfter {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // Frame by frame: at most the rest of this one.
        let most = match (self.received.skip, self.received.header.len()) {
            (0, 5) => self.received.payload,
            (0, _) => 1,
            (skip, _) => skip,
        };
        let most = most.min(bytes.len());
        let count = self.open()?.read(&mut bytes[..most])?;
        let (taken, ended) = self.received.take(&bytes[..count]);
        assert_eq!(taken, count);
        self.left -= usize::from(ended);
        Ok(count)
    }
}

impl Write for CutAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open()?;
        let (count, ended) = self.sent.take(bytes);
        let pipes = self.open()?;
        pipes.write_all(&bytes[..count])?;
        pipes.flush()?;
        self.left -= usize::from(ended);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for CutAfter {
    fn has_input(&mut self) -> io::Result<bool> {
        self.open()?.has_input()
    }
}

const SCRIPT: &str = r#"
import sys
for n in range(200):
    print("out", n)
    print("err", n, file=sys.stderr)
open("outputs/model.bin", "wb").write(bytes(range(256)) * 2000)
"#;

/// Carries a run out over a connection that is gone after `frames`, and then over a good one;
/// says whether the first was enough.
fn carried_out(machine: &Machine, frames: usize) -> bool {
    let mut run = HomeRun::of(SCRIPT, &[("data", &frames.to_le_bytes().repeat(30_000))]);
    let mut client: RemoteClient<_> = greet(CutAfter::new(machine.serve(), frames));
    let first = run.carry_through(&mut client);
    drop(client);
    let enough = match &first {
        Ok(_) => true,
        Err(RemoteError::Broken { .. }) => false,
        Err(error) => panic!("after {frames} frames: {error}"),
    };
    let record = first.unwrap_or_else(|_| run.carry_through(&mut machine.connect()).unwrap());

    assert_eq!(record.reason, ExitReason::Completed, "after {frames} frames");
    for (stream, word) in [(StreamFilter::Stdout, "out"), (StreamFilter::Stderr, "err")] {
        let expected: String = (0..200).map(|n| format!("{word} {n}\n")).collect();
        assert_eq!(run.text(stream), expected, "after {frames} frames");
    }
    assert_eq!(record.log_bytes, run.text(StreamFilter::All).len() as u64);
    assert_eq!(run.mirrored("work/outputs/model.bin"), (0..=255).collect::<Vec<u8>>().repeat(2000));
    assert!(!machine.home().run(&run.id).path().exists());
    enough
}

#[test]
fn a_connection_may_break_after_any_frame() {
    let machine = Machine::new();
    let enough = (1..).find(|frames| carried_out(&machine, *frames)).unwrap();

    // Each step says something and is answered.
    assert!(enough > 20, "{enough}");
    machine.wait_until_quiet();
}
