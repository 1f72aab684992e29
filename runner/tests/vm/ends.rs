//! What ends with the machine, or because of it.

use std::fs;

use runner::compute_target::ComputeTarget as _;
use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;

use crate::support::{Attached, noise, persist};
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
