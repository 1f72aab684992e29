//! Following across the end of whoever follows.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use runner::compute_target::ComputeTarget as _;
use runner::compute_target::ssh::{HomeSide, SshTarget, SshTargetSpec};
use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;
use runner::run_directory::RunDirectory;

use crate::support::{Attached, IMPATIENCE, PATIENCE, key, wait_until};

const FOLLOW: &str = "TRAINYARD_TEST_FOLLOW";

/// Not a test: what a process does that follows a run until it is killed.
#[test]
fn follower() {
    let Some(base) = std::env::var_os(FOLLOW) else { return };
    let base = Path::new(&base);
    let spec: SshTargetSpec =
        serde_json::from_slice(&fs::read(base.join("spec.json")).unwrap()).unwrap();
    let side = HomeSide { program: base.join("program"), owner: String::new() };
    let target = SshTarget::with_patience(spec, vec![key()], side, IMPATIENCE);
    let run = fs::read_to_string(base.join("run")).unwrap();
    let _ended = target.wait(&RunDirectory::new(run), PATIENCE * 10);
}

fn follow(base: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "following::follower"])
        .env(FOLLOW, base)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn whoever_comes_next_takes_up_where_a_killed_process_was() {
    let Some(attached) = Attached::new() else { return };
    let base = attached.home.base.path();
    let lines = 6000;
    let run = attached.home.script(&format!(
        "import os, time\nfor n in range({lines}):\n  os.write(1 + n % 2, b'line %d\\n' % n)\n\
         \x20 time.sleep(0.001)\n"
    ));
    {
        let target = attached.target();
        run.prepare(&target).unwrap();
        run.start(&target);
    }
    fs::write(base.join("spec.json"), serde_json::to_vec(&attached.spec).unwrap()).unwrap();
    fs::write(base.join("run"), run.directory.path().to_str().unwrap()).unwrap();
    std::os::unix::fs::symlink(&attached.home.side.program, base.join("program")).unwrap();
    for part in 1..=4 {
        let mut follower = follow(base);
        let enough = part * 10_000;
        wait_until("the log has grown", || {
            fs::metadata(run.directory.std_log()).is_ok_and(|log| log.len() > enough)
        });
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
    let target = attached.target();
    let exit = run.end(&target);
    assert_eq!(exit.reason, ExitReason::Completed);
    for (filter, odd) in [(StreamFilter::Stdout, 0), (StreamFilter::Stderr, 1)] {
        let lines = (0..lines).filter(|n| n % 2 == odd);
        let expected: String = lines.map(|n| format!("line {n}\n")).collect();
        assert!(run.output(filter) == expected.as_bytes());
    }
    assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), exit.log_bytes);
    target.release(&run.directory).unwrap();
}

#[test]
fn a_log_is_less_than_a_second_behind() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.script(
        "import time\nfor n in range(40):\n  print(f'{time.time()} x')\n  time.sleep(0.1)\n",
    );
    run.prepare(&target).unwrap();
    run.start(&target);
    let mut seen = 0;
    let mut worst: f64 = 0.0;
    wait_until("all lines are there", || {
        let log = String::from_utf8(run.output(StreamFilter::All)).unwrap();
        let now = jiff::Timestamp::now().as_nanosecond() as f64 / 1e9;
        for line in log.split_inclusive('\n').skip(seen).filter(|line| line.ends_with('\n')) {
            let told: f64 = line.split(' ').next().unwrap().parse().unwrap();
            worst = worst.max(now - told);
            seen += 1;
        }
        seen == 40
    });
    eprintln!("at most {worst:.3} s behind");
    // The machine that carries both sides out may have much else to do.
    assert!(worst < 10.0, "{worst} s behind");
    assert_eq!(run.end(&target).reason, ExitReason::Completed);
    target.release(&run.directory).unwrap();
}
