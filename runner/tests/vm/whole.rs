//! Runs that nothing disturbs.

use std::cell::RefCell;
use std::fs;
use std::time::Instant;

use runner::compute_target::{ComputeTarget as _, SupervisorState};
use runner::exit_record::{ExitReason, ExitRecord};
use runner::log_reader::StreamFilter;
use snapshots::digest::Digest;

use crate::support::{Attached, Home, PATIENCE, noise, wait_until};
use crate::target_contract::holds_to_the_contract;

#[test]
fn a_machine_holds_to_the_contract() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    assert_eq!(target.name(), "gpu-vm");
    let runs = RefCell::new(Vec::new());
    let prepare = |script: &str| {
        let run = attached.home.script(script);
        run.prepare(&target).unwrap();
        runs.borrow_mut().push(run.clone());
        run.directory
    };
    holds_to_the_contract(&target, &prepare, PATIENCE);
    for run in runs.borrow().iter() {
        target.release(&run.directory).unwrap();
    }
    assert_eq!(attached.runs(), Vec::<String>::new());
}

/// Leaves both streams, metrics, outputs with strange names, and an exit code.
const SCRIPT: &str = r#"
import json, os, sys, time
for n in range(2000):
    os.write(1 + n % 2, b"line %d \xff\xfe\n" % n)
    if n % 500 == 0:
        time.sleep(0.1)
with open("logs/metrics.jsonl", "w") as metrics:
    for step in range(10):
        metrics.write(json.dumps({"name": "loss", "value": step / 10, "step": step}) + "\n")
        metrics.flush()
os.makedirs(b"outputs/deep/\xff\xfe")
with open(b"outputs/deep/\xff\xfe/ $(touch x) '\"\n", "wb") as file:
    file.write(open("data.bin", "rb").read())
open("outputs/empty", "w").close()
os.symlink("/etc/passwd", "outputs/link")
print(sys.argv[1:], os.environ["HOSTILE"], os.environ["TOKEN"][:4])
sys.exit(7)
"#;

#[test]
fn a_run_comes_home_as_it_was() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let data = noise(3_000_000, 1);
    let mut run = attached.home.run(&[("script.py", SCRIPT.as_bytes()), ("data.bin", &data)]);
    let hostile = "$(touch x) `id` ' \" \\ ; & | > \u{fc}\n--";
    run.launch.program.push(hostile.to_owned());
    run.launch.environment.insert("HOSTILE".to_owned(), hostile.to_owned());
    run.launch.secret_names.push("TOKEN".to_owned());
    fs::write(run.directory.secrets_json(), r#"{"TOKEN":"s3cr3t-value"}"#).unwrap();

    run.prepare(&target).unwrap();
    let place = target.place().unwrap();
    assert_eq!(place.user.name, "azureuser");
    run.start(&target);
    assert!(!run.directory.secrets_json().exists());
    let exit = run.end(&target);
    assert_eq!((exit.reason, exit.code), (ExitReason::ScriptFailed, Some(7)), "{exit:?}");
    let outputs = run.collect(&target);

    // Byte for byte what is there.
    let there = format!("/home/azureuser/.trainyard/runs/{}", run.id);
    for file in ["user_logs/std_log.txt", "user_logs/std_log.index", "events"] {
        let sum = attached.vm.exec(&format!("sha256sum <{there}/{file}"));
        let here = Digest::of(&fs::read(run.directory.path().join(file)).unwrap()).to_string();
        assert_eq!(sum.split(' ').next(), Some(here.as_str()), "{file}");
    }
    assert_eq!(ExitRecord::read(&run.directory).unwrap(), Some(exit.clone()));
    assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), exit.log_bytes);
    let lines = |odd: usize| -> Vec<u8> {
        let lines = (0..2000usize).filter(|n| n % 2 == odd);
        lines.flat_map(|n| [format!("line {n} ").as_bytes(), b"\xff\xfe\n"].concat()).collect()
    };
    let stdout = run.output(StreamFilter::Stdout);
    assert!(stdout.starts_with(&lines(0)));
    assert!(run.output(StreamFilter::Stderr) == lines(1));
    let last = String::from_utf8_lossy(&stdout[lines(0).len()..]).into_owned();
    let python = r#"['$(touch x) `id` \' " \\ ; & | > ü\n--'] $(touch x) `id` ' " \ ; & | > ü
-- s3cr
"#;
    assert_eq!(last, python);

    let mut names: Vec<_> = outputs.files.iter().map(|file| file.path.clone()).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(outputs.notes.iter().any(|note| note.contains("symbolic link")), "{outputs:?}");
    for file in &outputs.files {
        let content = fs::read(run.directory.work().join(&file.path)).unwrap();
        assert_eq!((content.len() as u64, Digest::of(&content)), (file.size, file.sha256));
    }
    assert!(outputs.files.iter().any(|file| file.sha256 == Digest::of(&data)));

    // Nothing is left there.
    target.release(&run.directory).unwrap();
    target.release(&run.directory).unwrap();
    assert_eq!(attached.runs(), Vec::<String>::new());
    wait_until("no process is left", || attached.processes().is_empty());
    assert_eq!(attached.vm.exec("find /home/azureuser -name x | wc -l"), "0");
    assert_eq!(target.probe(&run.directory).unwrap(), SupervisorState::Ended(exit));
}

#[test]
fn what_could_not_be_prepared_says_why_and_leaves_nothing() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.run(&[("script.py", b""), ("outputs", b"a file")]);
    let error = run.prepare(&target).unwrap_err();
    assert_eq!(error.reason(), ExitReason::CannotStart);
    assert!(error.to_string().contains("which is not a directory"), "{error}");
    assert_eq!(attached.runs(), Vec::<String>::new());

    let error = target.gpus(1).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert_eq!(target.gpus(0).unwrap(), Vec::<String>::new());
}

#[test]
fn outputs_of_a_run_that_is_on_come_home_as_far_as_they_stand_still() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.script(
        "import time\nopen('outputs/first', 'w').write('1')\nprint('there')\n\
         while True:\n  open('outputs/moving', 'a').write('x' * 1000)\n  time.sleep(0.001)\n",
    );
    run.prepare(&target).unwrap();
    run.start(&target);
    run.wait_for_output("there");
    let outputs = run.collect(&target);
    let first = outputs.files.iter().find(|file| file.path.ends_with("first")).unwrap();
    assert_eq!(first.sha256, Digest::of(b"1"));
    for file in &outputs.files {
        let content = fs::read(run.directory.work().join(&file.path)).unwrap();
        assert_eq!(Digest::of(&content), file.sha256);
    }
    let by = runner::cancel_request::CancelledBy { uid: 0, user: None };
    let now = jiff::Timestamp::now();
    let request = runner::cancel_request::CancelRequest::new(by, now, true);
    target.cancel(&run.directory, &request).unwrap();
    assert_eq!(run.end(&target).reason, ExitReason::Cancelled);
    let outputs = run.collect(&target);
    assert_eq!(outputs.files.len(), 2, "{outputs:?}");
    target.release(&run.directory).unwrap();
    wait_until("no process is left", || attached.processes().is_empty());
}

#[test]
fn what_a_run_removed_in_the_end_is_not_at_home_either_but_for_logs() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let run = attached.home.script(
        "import os, shutil, time\nos.makedirs('outputs/deep')\n\
         for name in ['outputs/a', 'outputs/deep/b', 'logs/c']:\n  open(name, 'w').write('x')\n\
         print('there', flush=True)\nwhile not os.path.exists('/tmp/go'):\n  time.sleep(0.05)\n\
         os.remove('outputs/a')\nshutil.rmtree('outputs/deep')\nos.remove('logs/c')\n\
         open('outputs/last', 'w').write('x')\n",
    );
    run.prepare(&target).unwrap();
    run.start(&target);
    run.wait_for_output("there");
    assert_eq!(run.collect(&target).files.len(), 3);
    attached.vm.exec("touch /tmp/go");
    run.end(&target);

    let outputs = run.collect(&target);

    let [last] = outputs.files.as_slice() else { panic!("{outputs:?}") };
    assert!(last.path.ends_with("last"));
    let there = |name: &str| run.directory.work().join(name).exists();
    let names = ["outputs/last", "logs/c", "outputs/a", "outputs/deep"];
    assert_eq!(names.map(there), [true, true, false, false]);
}

#[test]
fn two_agents_share_a_machine() {
    let Some(attached) = Attached::new() else { return };
    // Both put their program there, at once.
    attached.vm.exec("rm -r /home/azureuser/.trainyard/bin");
    let second = Home::new("the second agent");
    std::thread::scope(|scope| {
        for home in [&attached.home, &second] {
            let target = attached.target_of(home);
            scope.spawn(move || {
                for n in 0..3 {
                    let run = home.script(&format!("print({n})"));
                    let (exit, _) = run.carry_out(&target);
                    assert_eq!(exit.reason, ExitReason::Completed);
                    assert_eq!(run.output(StreamFilter::All), format!("{n}\n").as_bytes());
                }
            });
        }
    });
    assert_eq!(attached.runs(), Vec::<String>::new());
    let programs = attached.vm.exec("ls -A /home/azureuser/.trainyard/bin");
    assert_eq!(programs.lines().count(), 1, "{programs}");
    wait_until("no process is left", || attached.processes().is_empty());
}

#[test]
fn an_unchanged_project_is_not_sent_again() {
    let Some(attached) = Attached::new() else { return };
    let target = attached.target();
    let data = noise(30_000_000, 5);
    let run = || attached.home.run(&[("script.py", b""), ("data.bin", &data)]);
    let (first, again) = (run(), run());
    let begun = Instant::now();
    first.prepare(&target).unwrap();
    let first_took = begun.elapsed();
    let received = || -> u64 {
        attached.vm.exec("cat /sys/class/net/eth0/statistics/rx_bytes").parse().unwrap()
    };
    let (before, begun) = (received(), Instant::now());
    again.prepare(&target).unwrap();
    let bytes = received() - before;
    eprintln!("30 MB: {first_took:?}, again: {:?}, {bytes} bytes", begun.elapsed());
    assert!(bytes < 200_000, "{bytes} bytes");
}
