//! Output arrives byte for byte, told apart, at any speed, in bounded memory.

use std::fs;

use runner::exit_record::ExitReason;
use runner::log_index::Stream;
use runner::log_reader::{LogReader, StreamFilter};

use crate::support::TestRun;

/// Returns the most memory that the process ever had, in bytes.
fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn binary_output_is_kept_to_the_byte() {
    let (run, record) = TestRun::of(
        "
import os
for n in range(256):
    os.write(1, bytes([n]))
os.write(2, bytes(range(255, -1, -1)))
",
    )
    .carried_out();

    let expected: Vec<u8> = (0..=255).collect();
    assert_eq!(run.output(StreamFilter::Stdout), expected);
    assert_eq!(run.output(StreamFilter::Stderr), expected.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(record.log_bytes, 512);
}

#[test]
fn a_character_that_is_written_in_pieces_arrives_whole() {
    let (run, _) = TestRun::of(
        "
import os, time
for byte in '€🚂'.encode():
    os.write(1, bytes([byte]))
    time.sleep(0.005)
",
    )
    .carried_out();
    assert_eq!(run.text(), "€🚂");
}

#[test]
fn streams_are_told_apart_with_times() {
    let (run, record) = TestRun::of(
        "
import os, time
os.write(1, b'first\\n')
time.sleep(0.05)
os.write(2, b'second\\n')
time.sleep(0.05)
os.write(1, b'third\\n')
",
    )
    .carried_out();

    let mut reader = LogReader::open(&run.directory).unwrap();
    let (segments, _) = reader.read(0, 1000, StreamFilter::All).unwrap();
    let seen: Vec<_> = segments.iter().map(|s| (s.stream, s.bytes.as_slice())).collect();
    assert_eq!(
        seen,
        [
            (Stream::Stdout, b"first\n".as_slice()),
            (Stream::Stderr, b"second\n"),
            (Stream::Stdout, b"third\n"),
        ]
    );
    let start = u64::try_from(record.started_time_utc.unwrap().as_nanosecond()).unwrap();
    let times: Vec<u64> = segments.iter().map(|segment| segment.time_ns).collect();
    assert!(start <= times[0]);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 40_000_000), "{times:?}");
}

#[test]
fn output_is_seen_while_the_script_runs() {
    let run = TestRun::of("input_ = print('question'); import time; time.sleep(1000)");
    run.start();
    run.wait_for_output("question\n");
    assert!(!run.directory.exit_json().exists());
    run.cancel(true);
    run.end();
}

#[test]
fn the_last_words_of_a_killed_script_are_kept() {
    let (run, _) = TestRun::of(
        "
import os
os.write(1, b'x' * 500_000)
os.kill(os.getpid(), 9)
",
    )
    .carried_out();
    assert_eq!(run.output(StreamFilter::All).len(), 500_000);
}

/// 200 MB, or 1 GB where `TRAINYARD_TEST_LARGE` is set.
#[test]
fn a_flood_without_a_line_end_takes_no_memory() {
    let pieces = if std::env::var_os("TRAINYARD_TEST_LARGE").is_some() { 1000 } else { 200 };
    let run = TestRun::of(&format!(
        "
import os, time
piece = b'x' * 1_000_000
for _ in range({pieces}):
    left = piece
    while left:
        left = left[os.write(1, left):]
open('flooded', 'w')
time.sleep(1000)
"
    ));
    run.start();
    run.wait_for_file("flooded");

    let supervisor = run.supervisor();
    for process in [&supervisor.guard, &supervisor.supervisor] {
        let peak = peak_memory(process.pid);
        eprintln!("peak memory: {peak} bytes");
        assert!(peak < 64_000_000, "{peak}");
    }
    run.cancel(true);
    let record = run.end();
    assert_eq!(record.log_bytes, pieces * 1_000_000);
    assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), record.log_bytes);
}

#[test]
fn a_hundred_thousand_lines_of_both_streams_are_all_there() {
    let (run, record) = TestRun::of(
        "
import sys
for n in range(50_000):
    print(n)
    print(n, file=sys.stderr)
",
    )
    .carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    let expected: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    for filter in [StreamFilter::Stdout, StreamFilter::Stderr] {
        assert!(run.output(filter) == expected.as_bytes(), "{filter:?}");
    }
}
