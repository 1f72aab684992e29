//! Runs on another machine, through the binary.

use tests::vm::{KeyPair, Vm, VmOptions};
use tests::{Yard, text};

#[test]
fn a_run_on_a_machine_over_ssh_is_as_one_here() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    let address = format!("azureuser@{}", vm.address());
    let key = KeyPair::Ed25519.path();
    let attach = [
        "target",
        "attach",
        "remote",
        "-n",
        "test-vm",
        "-a",
        &address,
        "--json",
        "--private-key-file",
        key.to_str().unwrap(),
    ];

    let attached = yard.json(attach);

    assert_eq!(attached["target"]["name"], "test-vm");
    assert_eq!(attached["report"]["os"], "ubuntu");
    let source = yard.script("import os\nprint('there', os.getcwd())\nraise SystemExit(3)\n");
    let arguments =
        ["run", "--target", "test-vm", "--source", source.to_str().unwrap(), "train.py"];
    let output = yard.call(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out}{err}");
    assert!(out.starts_with("there /home/azureuser/.trainyard/runs/"), "{out}{err}");
    let shown = yard.show("@");
    assert_eq!(shown["target"], "test-vm");
    assert_eq!(shown["environment"], "python3 of test-vm");
    yard.ok(["target", "detach", "test-vm", "--purge", "--yes"]);
    assert_eq!(vm.exec_as_user("ls -d .trainyard").status.code(), Some(2), "all of ours is gone");
}

#[test]
fn a_machine_out_of_contact_is_told_of_and_its_run_goes_on() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    let address = format!("azureuser@{}", vm.address());
    let key = KeyPair::Ed25519.path();
    yard.ok([
        "target",
        "attach",
        "remote",
        "-n",
        "test-vm",
        "-a",
        &address,
        "--private-key-file",
        key.to_str().unwrap(),
    ]);
    let script = "import os, time\nprint('on', flush=True)\n\
                  while not os.path.exists('/tmp/go'):\n    time.sleep(0.1)\nprint('over')\n";
    let source = yard.script(script);
    let source = source.to_str().unwrap();
    let id = yard.ok(["-q", "run", "-d", "--target", "test-vm", "--source", source, "train.py"]);
    let id = id.trim();
    let following = std::thread::scope(|scope| {
        let following = scope.spawn(|| yard.call(["logs", "-f", id]));
        tests::wait_until("the script is on", || yard.ok(["logs", id]).contains("on"));
        vm.cut();
        tests::wait_until("the machine is out of contact", || {
            yard.show(id)["outOfContact"]["target"] == "test-vm"
        });
        assert_eq!(yard.show(id)["status"], "Running");
        assert!(yard.ok(["list"]).contains("Running (no contact)"));
        assert!(yard.ok(["explain", id]).contains("test-vm is out of contact since"));
        vm.mend();
        tests::wait_until("it is back", || yard.show(id)["outOfContact"].is_null());
        vm.exec("touch /tmp/go");
        following.join().unwrap()
    });
    assert_eq!(text(&following.stdout), "on\nover\n");
    let said = text(&following.stderr);
    assert!(
        said.contains("test-vm out of contact since") && said.contains("test-vm is back"),
        "{said}"
    );
}
