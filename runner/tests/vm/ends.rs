//! What ends with the machine, or because of it.

use std::fs;

use runner::compute_target::{ComputeTarget as _, TargetError};
use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;
use runner::supervisor::events::{self, Event};

use crate::support::{Attached, noise, persist, wait_until};
use crate::vm::VmOptions;

#[test]
fn a_reboot_ends_a_run_and_is_told_as_that() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.script("import time\nprint('on', flush=True)\ntime.sleep(1000)");
    run.prepare(&target).unwrap();
    run.start(&target);
    run.wait_for_output("on\n");
    let before = target.place().unwrap().boot_id;

    attached.vm.reboot();
    let exit = run.end(&target);
    assert_eq!(exit.reason, ExitReason::HostRebooted, "{exit:?}");
    assert_eq!(run.output(StreamFilter::All), b"on\n");
    assert_ne!(persist(|| target.place()).unwrap().boot_id, before);
    run.collect(&target);
    persist(|| target.release(&run.directory)).unwrap();
    assert_eq!(attached.runs(), Vec::<String>::new());
}

#[test]
fn what_was_prepared_before_a_reboot_is_prepared_again_and_starts_once() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.script("print('once')");
    run.prepare(&target).unwrap();
    // What prepares it again asks the interpreter, which does not answer yet.
    attached.vm.exec(
        "mv /usr/bin/python3 /usr/bin/python3.real && cat >/usr/bin/python3 <<'E'\n#!/bin/sh\n\
         while [ ! -e /var/tmp/go ]; do sleep 0.05; done\nexec /usr/bin/python3.real \"$@\"\nE\n\
         chmod 755 /usr/bin/python3",
    );

    attached.vm.reboot();
    let refused = persist(|| target.start(&run.directory)).unwrap_err();
    attached.vm.exec("touch /var/tmp/go");
    assert!(matches!(refused, TargetError::NotPrepared { .. }), "{refused}");
    run.prepare(&target).unwrap();
    run.start(&target);

    assert_eq!(run.end(&target).reason, ExitReason::Completed);
    assert_eq!(run.output(StreamFilter::All), b"once\n");
    persist(|| target.release(&run.directory)).unwrap();
    assert_eq!(attached.runs(), Vec::<String>::new());
}

#[test]
fn what_the_machine_lost_of_a_log_stays_at_home() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let script = "import sys, time\n\
                  print('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n\
                  time.sleep(1000)";
    let run = attached.home.script(script);
    run.prepare(&target).unwrap();
    run.start(&target);
    wait_until("all is at home", || {
        [StreamFilter::Stdout, StreamFilter::Stderr].map(|only| run.output(only).len()) == [4, 4]
    });
    // What a power cut takes of files that were not written through.
    let there = format!("/home/azureuser/.trainyard/runs/{}", run.id);
    attached.vm.exec(&format!(
        "cd {there} && truncate -s 2 user_logs/std_log.txt && truncate -s 20 user_logs/std_log.index \
         && truncate -s 30 events"
    ));

    attached.vm.reboot();
    let exit = run.end(&target);

    assert_eq!(exit.reason, ExitReason::HostRebooted, "{exit:?}");
    assert_eq!(exit.log_bytes, 8, "{exit:?}");
    assert!(exit.message.ends_with("it lost 6 bytes of the log, which are kept here"), "{exit:?}");
    assert_eq!(run.output(StreamFilter::All), b"out\nerr\n");
    assert_eq!(run.output(StreamFilter::Stderr), b"err\n");
    assert_eq!(fs::read(run.directory.std_log()).unwrap(), b"out\nerr\n");
    let events = events::read(&run.directory).unwrap();
    assert!(events.iter().any(|line| line.event.is_start()), "{events:?}");
    assert!(matches!(events.last().unwrap().event, Event::Ended { .. }), "{events:?}");
}

#[test]
fn a_full_disk_is_told_as_that() {
    let program = fs::metadata(crate::support::Home::new("x").side.program).unwrap().len();
    let options = VmOptions { disk_bytes: Some(program + (40 << 20)), ..VmOptions::default() };
    let Some(attached) = Attached::to(options) else { return };
    let target = attached.target();
    let large = noise(60 << 20, 3);
    let run = attached.home.run(&[("script.py", b""), ("data.bin", &large)]);
    let error = run.prepare(&target).unwrap_err();
    assert_eq!(error.reason(), ExitReason::DiskFull, "{error}");
    assert!(error.hint().is_some());

    // What fits still runs.
    let run = attached.home.script("print('it fits')");
    let (exit, _) = run.carry_out(&target);
    assert_eq!(exit.reason, ExitReason::Completed);
}
