//! What a script finds around it: what was asked for, and nothing of whoever started the agent.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use runner::exit_record::ExitReason;
use runner::log_reader::StreamFilter;

use crate::support::{TestRun, python, supervise_program};

#[test]
fn nothing_leaks_from_whoever_started_the_supervisor() {
    let run = TestRun::of(
        "
import os, signal, sys
print(sorted(os.environ))
print(sorted(os.listdir('/proc/self/fd'))[:-1], repr(sys.stdin.read()))
status = dict(line.split(':\\t') for line in open('/proc/self/status') if ':\\t' in line)
print(int(status['SigBlk'], 16), int(status['SigIgn'], 16) & (1 << signal.SIGHUP - 1))
print(os.getsid(0) == os.getpid() == os.getpgrp())
",
    );
    run.write_launch();
    let leaked = fs::File::open("/dev/null").unwrap();
    let mut command = Command::new(supervise_program());
    command.arg("supervise").arg(run.directory.path()).env("LEAK", "x").stdin(Stdio::piped());
    let leak = move || {
        // SAFETY: both calls are system calls; nothing is allocated or locked.
        unsafe {
            nix::libc::signal(nix::libc::SIGHUP, nix::libc::SIG_IGN);
            nix::libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&leaked), 77);
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(leak) };
    assert!(command.stdout(Stdio::null()).status().unwrap().success());

    run.end();
    // LC_CTYPE is of Python's own making.
    let expected = "['LC_CTYPE', 'PATH', 'TMPDIR', 'TRAINYARD_RUN_ID']\n\
                    ['0', '1', '2'] ''\n0 0\nTrue\n";
    assert_eq!(run.text(), expected);
}

#[test]
fn what_happens_to_whoever_started_a_supervisor_does_not_happen_to_it() {
    let run = TestRun::of("import time; print('up', flush=True); time.sleep(1000)");

    run.start();
    run.wait_for_output("up\n");

    let supervisor = run.supervisor();
    for process in [supervisor.guard, supervisor.supervisor] {
        let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(process.pid))).unwrap();
        assert_ne!(session, nix::unistd::getsid(None).unwrap());
        assert_ne!(session.as_raw(), 0);
    }
    run.cancel(true);
    run.end();
}

#[test]
fn a_script_finds_its_directories() {
    let (run, record) = TestRun::of(
        "
import os, tempfile
print(os.path.basename(os.getcwd()), os.path.isdir('outputs'), os.path.isdir('logs'))
print(tempfile.gettempdir() == os.path.realpath('../tmp'))
open(os.path.join(tempfile.gettempdir(), 'scratch'), 'w')
",
    )
    .carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(run.text(), "work True True\nTrue\n");
    assert!(!run.directory.temporary().exists());
}

/// Workers of a data loader talk through sockets below `TMPDIR`, whose names are short.
#[test]
fn worker_processes_work_in_a_run_directory_with_a_long_name() {
    let base = tempfile::Builder::new().prefix(&"long-".repeat(20)).tempdir().unwrap();
    let script = "
import multiprocessing
if __name__ == '__main__':
    with multiprocessing.get_context('forkserver').Pool(2) as pool:
        print(sum(pool.map(abs, [-1, -2])))
    with multiprocessing.Manager() as manager:
        print(list(manager.list([4])))
";
    let (run, record) = TestRun::within(script, base).carried_out();

    assert_eq!((record.reason, run.text().as_str()), (ExitReason::Completed, "3\n[4]\n"));
}

#[test]
fn secrets_reach_the_script_but_neither_disk_nor_log() {
    let mut run = TestRun::of(
        "
import os, sys, glob
token = os.environ['TOKEN']
print('OTHER' in os.environ, len(token), os.path.exists('../secrets.json'))
for end in range(len(token) + 1):
    for part in (token[:end], token[end:] + '\\n'):
        os.write(1, part.encode())
print('error:', token, file=sys.stderr)
",
    );
    run.launch.secret_names = vec!["TOKEN".to_owned()];
    let secrets = r#"{"TOKEN":"hunter2-hunter2","OTHER":"unused"}"#;
    fs::write(run.directory.secrets_json(), secrets).unwrap();

    let (run, _) = run.carried_out();

    let out = run.output(StreamFilter::Stdout);
    let expected = format!("False 15 False\n{}", "***\n".repeat(16));
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(run.output(StreamFilter::Stderr), b"error: ***\n");
    let grep = Command::new("grep").args(["-r", "hunter2"]).arg(run.directory.path()).output();
    assert_eq!(String::from_utf8(grep.unwrap().stdout).unwrap(), "");
}

#[test]
fn a_program_is_found_on_the_path_of_the_run() {
    let mut run = TestRun::of("print('found')");
    let (bin, name) = python().rsplit_once('/').unwrap();
    run.launch.environment.insert("PATH".to_owned(), bin.to_owned());
    run.launch.program[0] = name.to_owned();

    assert_eq!(run.carried_out().0.text(), "found\n");
}
