//! Agents that die, machines that reboot and links that are cut while a machine over SSH works.

use std::fs;

use tests::attached::{AttachedYard, NAME};
use tests::vm::VmOptions;
use tests::{text, wait_until};

/// Lines of known bytes as long as nobody says `go`, then some more.
const TALKS: &str = r#"
import os, time
n = 0
while not os.path.exists("/tmp/go"):
    os.write(1, b"line %d \xff %s\n" % (n, b"x" * (n % 97)))
    n += 1
    time.sleep(0.005)
for n in range(n, n + 500):
    os.write(1, b"line %d \xff %s\n" % (n, b"x" * (n % 97)))
raise SystemExit(42)
"#;

/// Says so, then waits until it is ended, with a child of its own and files it made.
const WAITS: &str = r#"
import subprocess, time
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("on", flush=True)
time.sleep(1000)
"#;

/// Returns the length of what has come of the log.
fn log_length(yard: &AttachedYard, run: &str) -> u64 {
    let log = yard.run_directory(run).join("user_logs/std_log.txt");
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

#[test]
fn an_agent_killed_ten_times_loses_no_byte_of_a_run_there() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let run = yard.submit_there(&yard.script(TALKS), &[]);

    for kill in 0..10 {
        // From while it is sent, until lines come.
        if kill >= 4 {
            let before = log_length(&yard, &run);
            wait_until("more of the log comes", || log_length(&yard, &run) > before);
        }
        yard.kill_agent();
        yard.ok(["list"]);
    }
    yard.vm.exec("touch /tmp/go");

    let shown = yard.ended(&run);
    assert_eq!(shown["exit"]["reason"], "script_failed", "{shown:#}");
    assert_eq!(shown["exit"]["code"], 42);
    let log = yard.call(["logs", &run]).stdout;
    let count = log.iter().filter(|byte| **byte == b'\n').count();
    assert!(count >= 500, "{count}");
    let line = |n: usize| {
        [format!("line {n} ").as_bytes(), b"\xff ", &b"x".repeat(n % 97), b"\n"].concat()
    };
    let expected: Vec<u8> = (0..count).flat_map(line).collect();
    assert!(log == expected, "{count} lines, and they are others: {}", text(&log));
    yard.vm.exec("rm /tmp/go");
    yard.wait_until_nothing_is_left();
}

#[test]
fn a_reboot_ends_a_run_and_says_so() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let run = yard.submit_there(&yard.script(WAITS), &[]);
    wait_until("the script runs", || yard.ok(["logs", &run]) == "on\n");

    yard.vm.reboot();

    let shown = yard.ended(&run);
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["exit"]["reason"], "host_rebooted", "{shown:#}");
    assert_eq!(yard.call(["wait", &run]).status.code(), Some(125));
    assert_eq!(yard.ok(["logs", &run]), "on\n");
    yard.wait_until_nothing_is_left();
    // The machine is as good as before.
    let again = yard.submit_there(&yard.script("print('again')"), &[]);
    assert_eq!(yard.ended(&again)["status"], "Completed");
    assert_eq!(yard.ok(["logs", &again]), "again\n");
}

/// As [`WAITS`] at its first attempt; the next one, which finds what that left outside of the run
/// directory, says so.
const WAITS_ONCE: &str = r#"
import os, time
mark = "/home/azureuser/tries/mark"
if os.path.exists(mark):
    os.remove(mark)
    print("again", os.listdir("outputs"))
else:
    open(mark, "w").close()
    open("outputs/first", "w").close()
    print("on", flush=True)
    time.sleep(1000)
"#;

#[test]
fn a_run_is_tried_again_after_a_reboot() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let source = yard.script(WAITS_ONCE);
    assert!(yard.vm.exec_as_user("mkdir tries").status.success());
    let mut options = vec!["run", "-d", "--json", "--target", NAME, "--retries", "2"];
    options.extend(["--mount", "/home/azureuser/tries:rw"]);
    options.extend(["--retry-delay", "1", "--source", source.to_str().unwrap(), "train.py"]);
    let run = yard.json(options)["runId"].as_str().unwrap().to_owned();
    wait_until("the script runs", || yard.ok(["logs", &run]) == "on\n");

    yard.vm.reboot();

    let shown = yard.ended(&run);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(shown["attempts"][0]["exit"]["reason"], "host_rebooted", "{shown:#}");
    assert_eq!(shown["attempts"][1]["reason"], "host_rebooted", "{shown:#}");
    assert_eq!(yard.ok(["logs", &run]), "again []\n");
    assert_eq!(yard.ok(["logs", &run, "--attempt", "1"]), "on\n");
    yard.wait_until_nothing_is_left();
}

#[test]
fn a_cut_link_is_shown_and_what_was_canceled_meanwhile_is_ended_later() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let source = yard.script(WAITS);
    let [kept, canceled] = [(); 2].map(|()| yard.submit_there(&source, &[]));
    for run in [&kept, &canceled] {
        wait_until("the script runs", || yard.ok(["logs", run]) == "on\n");
        assert!(!yard.ok(["show", run]).contains("out of contact"));
    }

    yard.vm.cut();
    wait_until("the cut is shown", || yard.ok(["show", &kept]).contains("out of contact"));
    let told = yard.ok(["show", &kept]);
    assert!(told.contains("test-vm out of contact since "), "{told}");
    let shown = yard.show(&kept);
    assert_eq!(shown["status"], "Running", "{shown:#}");
    assert!(shown["outOfContact"]["since"].is_string(), "{shown:#}");
    yard.ok(["cancel", &canceled]);
    let status = yard.show(&canceled)["status"].clone();
    assert!(status != "Canceled", "nobody knows yet: {status}");
    // It is remembered by whoever comes.
    yard.kill_agent();
    yard.ok(["list"]);
    yard.vm.mend();

    let shown = yard.ended(&canceled);
    assert_eq!(shown["status"], "Canceled", "{shown:#}");
    assert_eq!(shown["exit"]["reason"], "cancelled");
    wait_until("contact is shown", || !yard.ok(["show", &kept]).contains("out of contact"));
    assert_eq!(yard.show(&kept)["status"], "Running");
    assert_eq!(yard.show(&kept)["outOfContact"], serde_json::Value::Null);
    yard.ok(["cancel", "--now", &kept]);
    assert_eq!(yard.ended(&kept)["status"], "Canceled");
    yard.wait_until_nothing_is_left();
}
