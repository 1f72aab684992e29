//! Runs on another machine, through the binary.

use tests::attached::{AttachedYard, NAME, attach_by_key};
use tests::text;
use tests::vm::VmOptions;

#[test]
fn a_run_on_a_machine_over_ssh_is_as_one_here() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    // Attaching it once more says the same again.
    let output = attach_by_key(&yard, &yard.vm, NAME).arg("--json").output().unwrap();
    let attached: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(attached["target"]["name"], NAME);
    assert_eq!(attached["report"]["os"], "ubuntu");
    let source = yard.script("import os\nprint('there', os.getcwd())\nraise SystemExit(3)\n");

    let output = yard.run_there(&source, &[]);

    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{out}{err}");
    assert!(out.starts_with("there /home/azureuser/.trainyard/runs/"), "{out}{err}");
    let shown = yard.show("@");
    assert_eq!(shown["target"], NAME);
    assert_eq!(shown["environment"], "python3 of test-vm");
    let sandbox = &shown["exit"]["sandbox"];
    assert_eq!((&sandbox["tier"], &sandbox["engine"]), (&"reduced".into(), &"landlock".into()));
    assert_eq!(sandbox["missing"][0]["why"], "bubblewrap is not installed", "{shown:#}");
    yard.ok(["target", "detach", NAME, "--purge", "--yes"]);
    let left = yard.vm.exec_as_user("ls -d .trainyard").status;
    assert_eq!(left.code(), Some(2), "all of ours is gone");
}

#[test]
fn a_machine_out_of_contact_is_told_of_and_its_run_goes_on() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let script = "import os, time\nprint('on', flush=True)\n\
                  while not os.path.exists('/tmp/go'):\n    time.sleep(0.1)\nprint('over')\n";
    let id = yard.submit_there(&yard.script(script), &[]);
    let id = id.as_str();
    let following = std::thread::scope(|scope| {
        let following = scope.spawn(|| yard.call(["logs", "-f", id]));
        tests::wait_until("the script is on", || yard.ok(["logs", id]).contains("on"));
        yard.vm.cut();
        tests::wait_until("the machine is out of contact", || {
            yard.show(id)["outOfContact"]["target"] == NAME
        });
        assert_eq!(yard.show(id)["status"], "Running");
        assert!(yard.ok(["list"]).contains("Running (no contact)"));
        assert!(yard.ok(["explain", id]).contains("test-vm is out of contact since"));
        yard.vm.mend();
        tests::wait_until("it is back", || yard.show(id)["outOfContact"].is_null());
        yard.vm.exec("touch /tmp/go");
        following.join().unwrap()
    });
    assert_eq!(text(&following.stdout), "on\nover\n");
    let said = text(&following.stderr);
    assert!(
        said.contains("test-vm out of contact since") && said.contains("test-vm is back"),
        "{said}"
    );
}
