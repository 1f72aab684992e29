//! Machines and agents that are there and say nothing.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::attached::{AttachedYard, NAME, attach_by_key};
use tests::vm::{Vm, VmOptions};
use tests::{Yard, text, wait_until};

/// More than any pipe, socket or window holds, of bytes that are known.
const FLOODS: &str = r#"
import os, time
print("on", flush=True)
while not os.path.exists("/tmp/go"):
    time.sleep(0.02)
for n in range(200_000):
    os.write(1, b"line %d \xff %s\n" % (n, b"x" * (n % 97)))
raise SystemExit(42)
"#;

#[test]
fn an_agent_that_hangs_misses_no_byte_of_a_run_there() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let run = yard.submit_there(&yard.script(FLOODS), &[]);
    wait_until("the script is on", || yard.ok(["logs", &run]) == "on\n");
    let agent = Pid::from_raw(yard.agent_pid());

    kill(agent, Signal::SIGSTOP).unwrap();
    yard.vm.exec("touch /tmp/go");
    let exit = format!("/home/azureuser/.trainyard/runs/*{run}*/exit.json");
    wait_until("the run is over there", || {
        !yard.vm.exec(&format!("ls {exit} 2>/dev/null || true")).is_empty()
    });
    kill(agent, Signal::SIGCONT).unwrap();

    let shown = yard.ended(&run);
    assert_eq!(shown["exit"]["code"], 42, "{shown:#}");
    assert_eq!(i32::from(agent), yard.agent_pid(), "it is still the same");
    let log = yard.call(["logs", &run]).stdout;
    let line = |n: usize| {
        [format!("line {n} ").as_bytes(), b"\xff ", &b"x".repeat(n % 97), b"\n"].concat()
    };
    let expected: Vec<u8> = b"on\n".iter().copied().chain((0..200_000).flat_map(line)).collect();
    assert!(log == expected, "{} bytes came, {} were written", log.len(), expected.len());
    yard.wait_until_nothing_is_left();
}

#[test]
fn a_machine_that_says_nothing_is_told_of_before_a_person_gives_up() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let Some(other) = Vm::start(VmOptions::default()) else { return };
    let fresh = Yard::new();
    fresh.ok(["target", "list"]);
    // Connections are taken by the kernel, and nobody reads them.
    yard.vm.pause();
    other.pause();

    let told = |output: std::process::Output, begun: Instant| {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        assert_eq!(text(&output.stdout), "");
        said
    };
    let begun = Instant::now();
    let (checked, attached) = thread::scope(|scope| {
        let checking = scope.spawn(|| told(yard.call(["target", "check", NAME]), begun));
        let attach = || attach_by_key(&fresh, &other, NAME).output().unwrap();
        let attaching = scope.spawn(move || told(attach(), begun));
        (checking.join().unwrap(), attaching.join().unwrap())
    });

    for (said, address) in [(checked, yard.vm.address()), (attached, other.address())] {
        let expected = format!(
            "error: {address} has been silent for 20 s\n\
                                help: check that the machine and the network are well\n"
        );
        assert_eq!(said, expected);
    }
    assert_eq!(fresh.ok(["-q", "target", "list"]), "local\n");
    assert!(yard.ok(["target", "list"]).contains("out of contact since"));
    yard.vm.unpause();
    other.unpause();
    yard.ok(["target", "check", NAME]);
    assert!(attach_by_key(&fresh, &other, NAME).status().unwrap().success());
    assert!(!yard.ok(["target", "list"]).contains("out of contact"));
}
