//! Connections that are cut, in every way and at every stage of a run: no byte of the log is lost or
//! comes twice, and the run ends as it does without.
//!
//! `TRAINYARD_SOAK=1` cuts 100 times instead of 8, `TRAINYARD_SEED` chooses when.

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;
use snapshots::digest::Digest;

use crate::support::{Attached, noise, persist, wait_until};
use crate::vm::Vm;
use runner::compute_target::ComputeTarget as _;

/// Ways to be cut off.
#[derive(Clone, Copy, Debug)]
enum Cut {
    LinkDown,
    Reset,
    SshdRestart,
    Pause,
}

impl Cut {
    fn carry_out(self, vm: &Vm, random: &mut SmallRng) {
        // Shorter and longer than the patience of the asking side.
        let lasting = Duration::from_millis(random.random_range(100..6000));
        match self {
            Self::Reset => vm.reset(),
            Self::SshdRestart => vm.restart_sshd(),
            Self::LinkDown => {
                vm.cut();
                thread::sleep(lasting);
                vm.mend();
            }
            Self::Pause => {
                vm.pause();
                thread::sleep(lasting);
                vm.unpause();
            }
        }
    }
}

/// What a run is at.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Upload,
    Start,
    Following,
    Fetch,
}

const LINES: usize = 1500;

const SCRIPT: &str = r#"
import os, sys, time
for n in range(1500):
    os.write(1 + n % 2, b"line %d\n" % n)
    time.sleep(0.002)
with open("outputs/model.bin", "wb") as model:
    model.write(open("data.bin", "rb").read()[::-1])
sys.exit(7)
"#;

/// Carries runs out while they are cut off in one way, `count` times.
fn cut(kind: Cut, count: u64) {
    let seed = std::env::var("TRAINYARD_SEED").map_or(1, |seed| seed.parse().unwrap());
    let Some(attached) = Attached::new() else { return };
    let (stage, stages) = mpsc::channel::<Stage>();
    thread::scope(|scope| {
        let vm = &attached.vm;
        let cutter = scope.spawn(move || {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut cuts = 0;
            for stage in stages {
                if cuts < count {
                    thread::sleep(Duration::from_millis(random.random_range(0..200)));
                    eprintln!("cut {cuts}: {kind:?} at {stage:?}");
                    kind.carry_out(vm, &mut random);
                    cuts += 1;
                }
            }
            assert!(cuts >= count, "{cuts} cuts");
        });
        for round in 0..count.div_ceil(4) {
            one_run(&attached, seed ^ (round << 32), &stage);
        }
        drop(stage);
        cutter.join().unwrap();
    });
    assert_eq!(attached.runs(), Vec::<String>::new());
    wait_until("no process is left", || attached.processes().is_empty());
}

fn one_run(attached: &Attached, seed: u64, stage: &mpsc::Sender<Stage>) {
    let target = attached.target();
    let data = noise(12_000_000, seed);
    let run = attached.home.run(&[("script.py", SCRIPT.as_bytes()), ("data.bin", &data)]);
    stage.send(Stage::Upload).unwrap();
    run.prepare(&target).unwrap();
    stage.send(Stage::Start).unwrap();
    run.start(&target);
    wait_until("the log has begun", || {
        fs::metadata(run.directory.std_log()).is_ok_and(|log| log.len() > 100)
    });
    stage.send(Stage::Following).unwrap();
    let exit = run.end(&target);
    stage.send(Stage::Fetch).unwrap();
    let outputs = run.collect(&target);
    persist(|| target.release(&run.directory)).unwrap();

    assert_eq!((exit.reason, exit.code), (ExitReason::ScriptFailed, Some(7)), "{exit:?}");
    let expected = |wanted: &[usize]| -> String {
        let lines = (0..LINES).filter(|n| wanted.contains(&(n % 2)));
        lines.map(|n| format!("line {n}\n")).collect()
    };
    assert_eq!(run.output(StreamFilter::Stdout), expected(&[0]).as_bytes());
    assert_eq!(run.output(StreamFilter::Stderr), expected(&[1]).as_bytes());
    assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), exit.log_bytes);
    let mut reversed = data;
    reversed.reverse();
    let [model] = outputs.files.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(model.sha256, Digest::of(&reversed));
    assert!(fs::read(run.directory.work().join(&model.path)).unwrap() == reversed);
}

fn times() -> u64 {
    if std::env::var("TRAINYARD_SOAK").is_ok_and(|soak| soak == "1") { 25 } else { 2 }
}

#[test]
fn links_that_go_down() {
    cut(Cut::LinkDown, times());
}

#[test]
fn connections_that_are_reset() {
    cut(Cut::Reset, times());
}

#[test]
fn sshd_that_is_restarted() {
    cut(Cut::SshdRestart, times());
}

#[test]
fn machines_that_are_paused() {
    cut(Cut::Pause, times());
}
