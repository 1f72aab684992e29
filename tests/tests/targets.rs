//! Compute targets on the command line, as far as that takes no other machine.

use std::fs;

use tests::{Yard, text};

/// Runs `trainyard` with `arguments`; returns its exit code and what it said.
fn said(yard: &Yard, arguments: &[&str]) -> String {
    let output = yard.call(arguments);
    let code = output.status.code().unwrap();
    let told = format!("{code} {}{}", text(&output.stdout), text(&output.stderr));
    told.replace(yard.home().parent().unwrap().to_str().unwrap(), "…")
}

#[test]
fn this_machine_is_the_only_target_until_one_is_attached() {
    let yard = Yard::new();

    let listed = yard.json(["target", "list", "--json"]);

    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["name"], "local");
    assert_eq!(listed[0]["type"], "local");
    let shown = yard.json(["target", "show", "--json"]);
    assert_eq!(shown["places"], listed[0]["places"]);
    assert!(yard.ok(["target", "show"]).starts_with("Name       local\n"));
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
}

#[test]
fn a_target_that_is_not_there_is_refused_before_anything_is_sent() {
    let yard = Yard::new();
    let source = yard.script("print('never')");
    let source = source.to_str().unwrap();
    fs::write(
        yard.home().parent().unwrap().join("job.yml"),
        "command: python train.py\ncode: .\ncompute: azureml:gpu-vm\n",
    )
    .unwrap();
    let id = yard.submit(&yard.script("print('once')"), &[]);
    yard.ok(["wait", &id]);

    for arguments in [
        &["run", "--source", source, "--target", "gpu-vm", "train.py"][..],
        &["run", "--dry-run", "--source", source, "--target", "gpu-vm", "train.py"],
        &["submit", "job.yml"],
        &["rerun", "--target", "gpu-vm", &id],
        &["target", "show", "gpu-vm"],
        &["target", "check", "gpu-vm"],
        &["target", "detach", "gpu-vm"],
        &["gc", "--target", "gpu-vm"],
    ] {
        let told = said(&yard, arguments);
        assert!(
            told.ends_with(
                "2 error: there is no compute target \"gpu-vm\"\n\
                 help: it is one of local; `trainyard target attach remote` attaches another\n"
            ),
            "{arguments:?}: {told}"
        );
    }
    assert_eq!(yard.json(["list", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_attached_leaves_nothing_behind() {
    let yard = Yard::new();
    let home = yard.home().parent().unwrap().to_owned();
    fs::write(home.join("password.txt"), "hunter2\n").unwrap();
    let attach = |name: &str, address: &str, more: &[&str]| {
        let mut command = yard.trainyard();
        command.args(["target", "attach", "remote", "-n", name, "-a", address, "-u", "me"]);
        let stdin = fs::File::open(home.join("password.txt")).unwrap();
        let output = command.args(more).stdin(stdin).output().unwrap();
        let code = output.status.code().unwrap();
        assert_eq!(text(&output.stdout), "");
        format!("{code} {}", text(&output.stderr))
    };
    // Starts the agent, which says so.
    yard.ok(["target", "list"]);

    let told = [
        attach("local", "127.0.0.1", &["--password-stdin"]),
        attach("gpu-1", "127.0.0.1", &["--password-stdin"]),
        attach("gpu-vm", "/subscriptions/1/resourceGroups/g", &["--password-stdin"]),
        attach("gpu-vm", "127.0.0.1", &[]),
        attach("gpu-vm", "127.0.0.1", &["--private-key-file", "password.txt"]),
        attach("gpu-vm", "127.0.0.1", &["--credential-from-systemd"]),
    ]
    .join("\n");

    insta::assert_snapshot!(told, @r#"
    2 error: the name "local" is taken for something else
    help: a target's name has 3 to 24 letters, digits and `-`, begins with a letter, and has a letter somewhere after each `-`, as gpu-vm

    2 error: "gpu-1" cannot be a target's name
    help: a target's name has 3 to 24 letters, digits and `-`, begins with a letter, and has a letter somewhere after each `-`, as gpu-vm

    2 error: /subscriptions/1/resourceGroups/g is a resource id of Azure, not an address
    help: nothing is asked of Azure: give the machine's address with -a HOST, an alias of ~/.ssh/config, or -a ssh://user@host:port; `az vm show -d --ids ID --query publicIps` tells it

    2 error: there is no key to log in with
    help: name one with --private-key-file FILE, or give a password with --password-stdin

    2 error: password.txt is no private key
    help: name one of OpenSSH or a PEM file

    2 error: the agent is no service of systemd that is handed credentials
    help: add LoadCredentialEncrypted=trainyard.target.gpu-vm:PATH to the unit of the agent and start it again; the file holds the text of a private key, or password: and a password
    "#);
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
    assert!(!yard.home().join("credentials").exists());
    assert!(!yard.home().join("targets").exists());
    let log = fs::read_to_string(yard.home().join("agent.log")).unwrap();
    assert!(!log.contains("hunter2"));
}
