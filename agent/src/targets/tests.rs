//! The registry, with machines that are made up.

use std::os::unix::fs::PermissionsExt;

use runner::compute_target::ssh::SshTargetSpec;

use super::*;
use crate::api::wire::submission::Hidden;

mod world;

pub(crate) use world::{World, key};

/// Knows `local`, and machines of a world that is empty.
pub(crate) fn only(local: Arc<dyn ComputeTarget>, workspace: &Workspace) -> Targets {
    Targets::load(local, workspace, None, Box::new(World::default())).unwrap()
}

/// Knows the machines of `world` that were attached.
pub(crate) fn of_world(world: &World, workspace: &Workspace) -> Targets {
    let local = Arc::new(Absent::new(LOCAL));
    Targets::load(local, workspace, None, Box::new(world.clone())).unwrap()
}

/// What a command line would ask for.
/// Who may do everything.
pub(crate) const ROOT: Peer = Peer { uid: 0, rules: true };

pub(crate) fn asked(name: &str, host: &str) -> Asked {
    Asked {
        name: name.to_owned(),
        at: Hop { host: host.to_owned(), port: 22, user: "me".to_owned() },
        jumps: Vec::new(),
        credentials: vec![KeptCredential::Password { password: Hidden("hunter2".to_owned()) }],
        of_systemd: false,
        known_hosts: None,
        allow_unsupported: false,
    }
}

struct Fixture {
    world: World,
    workspace: Workspace,
    home: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().join("home"));
        workspace.create().unwrap();
        let world = World::default();
        world.put("one", "machine 1", "key 1");
        world.put("two", "machine 2", "key 2");
        Self { world, workspace, home }
    }

    fn targets(&self) -> Targets {
        self.load().unwrap()
    }

    fn load(&self) -> Result<Targets, PathError> {
        let local = Arc::new(Absent::new(LOCAL));
        let systemd = Some(self.home.path().join("systemd"));
        Targets::load(local, &self.workspace, systemd, Box::new(self.world.clone()))
    }
}

/// Says in a line what was refused, and what to do.
fn refusal<T: std::fmt::Debug>(answer: Result<T, RegistryError>) -> String {
    let error = answer.unwrap_err();
    format!("{error}\n  {}", error.hint().unwrap_or_default())
}

#[test]
fn what_a_machine_has_for_runs_is_learned_whenever_it_is_looked_at() {
    let fixture = Fixture::new();
    fixture.targets().attach(&asked("gpu-vm", "one"), ROOT).unwrap();
    let path = fixture.workspace.targets().join("gpu-vm.json");
    let mut old: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&old["memoryBytes"], &old["gpus"]), (&(8_u64 << 32).into(), &0.into()));
    for key in ["memoryBytes", "gpus"] {
        old.as_object_mut().unwrap().remove(key);
    }
    std::fs::write(&path, old.to_string()).unwrap();

    let targets = fixture.targets();
    let has = |targets: &Targets| {
        let capacity = targets.capacity("gpu-vm", &crate::queue::of_this_machine(Some(3), 2));
        (capacity.millicpus, capacity.memory, capacity.gpus)
    };
    assert_eq!(has(&targets), (Some(8000), None, None), "of a record that does not say");
    {
        let mut world = fixture.world.state();
        let machine = world.machines.get_mut("one").unwrap();
        (machine.cpus, machine.gpus) = (4, vec!["A100".to_owned(), "A100".to_owned()]);
    }
    targets.check("gpu-vm", None, ROOT).unwrap();

    let learned = (Some(4000), Some(4 << 32), Some(2));
    assert_eq!((has(&targets), has(&fixture.targets())), (learned, learned));
}

#[test]
fn an_attached_machine_is_there_after_a_restart_and_gone_after_a_detach() {
    let fixture = Fixture::new();
    let targets = fixture.targets();

    let checked = targets.attach(&asked("gpu-vm", "one"), ROOT).unwrap();

    assert_eq!(checked.report.cpus, 8);
    assert_eq!(checked.clock_ahead_seconds, Some(0.0));
    assert_eq!(targets.names_for(ROOT), ["local", "gpu-vm"]);
    let here = crate::queue::of_this_machine(Some(3), 2);
    let places = |targets: &Targets, name| targets.capacity(name, &here).places;
    assert_eq!(["local", "gpu-vm", "gone"].map(|name| places(&targets, name)), [3, 16, 4]);
    assert_eq!(targets.capacity("gpu-vm", &here).millicpus, Some(8000));
    let kept = targets.attached("gpu-vm").unwrap().kept();
    assert_eq!(kept.spec.host_key, key("key 1"));

    let again = fixture.targets();
    assert_eq!(again.attached("gpu-vm").unwrap().kept(), kept);
    assert_eq!(again.attached("gpu-vm").unwrap().credentials(), ["password"]);
    assert_eq!(places(&again, "gpu-vm"), 16, "without asking the machine");

    assert_eq!(again.detach("gpu-vm", false, ROOT).unwrap(), None);
    assert!(fixture.world.state().purged.is_empty());
    assert!(again.find("gpu-vm").is_none());
    assert_eq!(fixture.targets().names_for(ROOT), ["local"]);
    assert_eq!(fixture.workspace.credentials().read_dir().unwrap().count(), 0);
}

#[test]
fn secrets_are_in_one_file_for_their_owner_only() {
    let fixture = Fixture::new();
    let asked = asked("gpu-vm", "one");
    fixture.targets().attach(&asked, ROOT).unwrap();

    assert!(!format!("{asked:?}").contains("hunter2"));
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let credentials = fixture.workspace.credentials();
    assert_eq!(mode(&credentials), 0o700);
    assert_eq!(mode(&credentials.join("gpu-vm.json")), 0o600);
    let record = fixture.workspace.targets().join("gpu-vm.json");
    let record = std::fs::read_to_string(record).unwrap();
    assert!(!record.contains("hunter2"), "{record}");
    // What a later version or a person may rely on.
    let record: SshTargetSpec = serde_json::from_str(&record).unwrap();
    assert_eq!((record.version, record.host.as_str()), (1, "one"));
}

#[test]
fn what_a_crash_left_between_two_steps_goes() {
    let fixture = Fixture::new();
    fixture.targets().attach(&asked("gpu-vm", "one"), ROOT).unwrap();
    let record = fixture.workspace.targets().join("gpu-vm.json");
    std::fs::write(fixture.workspace.targets().join(".tmpx"), "half").unwrap();
    std::fs::rename(&record, fixture.home.path().join("aside")).unwrap();

    assert_eq!(fixture.targets().names_for(ROOT), ["local"]);
    assert!(!fixture.workspace.credentials().join("gpu-vm.json").exists());

    std::fs::write(&record, "half a record").unwrap();
    let error = fixture.load().err().unwrap();
    assert!(
        error.to_string().contains("gpu-vm.json"),
        "runs on it would be taken for lost: {error}"
    );
}

#[test]
fn a_machine_has_one_name_and_a_name_one_machine() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    targets.attach(&asked("gpu-vm", "one"), ROOT).unwrap();
    fixture.world.put("alias-of-one", "machine 1", "key 1");
    let met = || fixture.world.state().met.len();

    let refusals = [
        refusal(targets.attach(&asked("other-vm", "one"), ROOT)),
        refusal(targets.attach(&asked("other-vm", "alias-of-one"), ROOT)),
        refusal(targets.attach(&asked("gpu-vm", "two"), ROOT)),
        refusal(targets.attach(&asked("local", "two"), ROOT)),
        refusal(targets.attach(&asked("vm-1", "two"), ROOT)),
        refusal(targets.attach(&asked("other-vm", "-oProxyCommand=x"), ROOT)),
        refusal(targets.attach(&asked("other-vm", "nowhere"), ROOT)),
        refusal(
            targets.attach(&Asked { credentials: Vec::new(), ..asked("other-vm", "two") }, ROOT),
        ),
        refusal(targets.attach(&Asked { of_systemd: true, ..asked("other-vm", "two") }, ROOT)),
        refusal(targets.detach("local", false, ROOT)),
        refusal(targets.check("none", None, ROOT)),
    ];

    insta::assert_snapshot!(refusals.join("\n"), @r#"
    me@one is attached already, as "gpu-vm"
      use --target gpu-vm, or `trainyard target detach gpu-vm` first
    me@alias-of-one is attached already, as "gpu-vm"
      use --target gpu-vm, or `trainyard target detach gpu-vm` first
    "gpu-vm" is attached already, and is another machine: me@one
      choose another name, or `trainyard target detach gpu-vm` first
    the name "local" is taken for something else
      a target's name has 3 to 24 letters, digits and `-`, begins with a letter, and has a letter somewhere after each `-`, as gpu-vm
    "vm-1" cannot be a target's name
      a target's name has 3 to 24 letters, digits and `-`, begins with a letter, and has a letter somewhere after each `-`, as gpu-vm
    "-oProxyCommand=x" is no address of a machine
      
    cannot reach nowhere port 22: connection refused
      check that the machine is on, its address, and that port 22 is open
    nothing says how to log in
      give a password, a private key, or the keys of an SSH agent
    systemd hands the agent no credential trainyard.target.other-vm
      add LoadCredentialEncrypted=trainyard.target.other-vm:PATH to the unit of the agent and start it again; the file holds the text of a private key, or password: and a password
    local is this machine: you cannot detach it
      `trainyard doctor` looks at this machine
    there is no compute target "none"
      it is one of local, gpu-vm; `trainyard target attach remote` attaches another
    "#);
    assert_eq!(targets.names_for(ROOT), ["local", "gpu-vm"]);
    assert_eq!(met(), 3, "what is plain at once is refused before anything is sent");
    assert_eq!(fixture.workspace.credentials().read_dir().unwrap().count(), 1);
}

#[test]
fn attaching_again_replaces_the_credentials_of_the_same_machine() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    targets.attach(&asked("gpu-vm", "one"), ROOT).unwrap();
    let held = targets.find("gpu-vm").unwrap();
    fixture.world.put("moved", "machine 1", "key 1");

    let agent = Asked { credentials: vec![KeptCredential::Agent], ..asked("gpu-vm", "one") };
    targets.attach(&agent, ROOT).unwrap();
    assert_eq!(targets.attached("gpu-vm").unwrap().credentials(), ["agent"]);
    targets.attach(&asked("gpu-vm", "moved"), ROOT).unwrap();
    let systemd = fixture.home.path().join("systemd");
    std::fs::create_dir(&systemd).unwrap();
    std::fs::write(systemd.join("trainyard.target.gpu-vm"), "password:from outside").unwrap();
    let of_systemd =
        Asked { of_systemd: true, credentials: Vec::new(), ..asked("gpu-vm", "moved") };
    targets.attach(&of_systemd, ROOT).unwrap();

    assert_eq!(targets.attached("gpu-vm").unwrap().credentials(), ["password (from systemd)"]);
    assert!(!fixture.workspace.credentials().join("gpu-vm.json").exists());
    let met = fixture.world.state().met.join("\n");
    assert_eq!(met, "one any\none pinned\nmoved any\nmoved pinned");
    // Whoever holds the target since before has the new way.
    let contact =
        OutOfContact { since: Timestamp::UNIX_EPOCH, why: "cable".to_owned(), hint: None };
    fixture.world.set_gone("moved", Some(contact.clone()));
    assert_eq!(held.out_of_contact(), Some(contact.clone()));
    assert_eq!(targets.out_of_contact("gpu-vm"), Some(contact));
    assert_eq!(targets.out_of_contact("local"), None);
}

#[test]
fn a_changed_host_key_is_accepted_only_if_it_is_the_one_that_was_meant() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    let mut through = asked("gpu-vm", "one");
    through.jumps = vec![Hop { host: "two".to_owned(), port: 22, user: "me".to_owned() }];
    targets.attach(&through, ROOT).unwrap();
    let pinned = || {
        let spec = targets.attached("gpu-vm").unwrap().kept().spec;
        (spec.host_key, spec.jumps[0].host_key.clone())
    };
    fixture.world.put("one", "machine 1", "new key 1");
    let new = key("new key 1").fingerprint();

    let refusals = [
        refusal(targets.check("gpu-vm", None, ROOT)),
        refusal(targets.attach(&through, ROOT)),
        refusal(targets.check("gpu-vm", Some(&key("key 1").fingerprint()), ROOT)),
        refusal(targets.check("gpu-vm", Some("SHA256:something else"), ROOT)),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    the host key of one has changed: it was SHA256:Inul8sbJEJ/lxEoGlvOTN5YHSTo3f1Iu4n2aeuMifYk, it is now SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw
      somebody may be listening in. If the machine was set up anew and SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw is its key: `trainyard target check gpu-vm --accept-host-key SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw`
    the host key of one has changed: it was SHA256:Inul8sbJEJ/lxEoGlvOTN5YHSTo3f1Iu4n2aeuMifYk, it is now SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw
      somebody may be listening in. If the machine was set up anew and SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw is its key: `trainyard target check gpu-vm --accept-host-key SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw`
    one shows the host key SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw, not SHA256:Inul8sbJEJ/lxEoGlvOTN5YHSTo3f1Iu4n2aeuMifYk; nothing was accepted
      ask whoever looks after the machine whether SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw is its key before accepting it
    one shows the host key SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw, not SHA256:something else; nothing was accepted
      ask whoever looks after the machine whether SHA256:h2JK6ykAVGf5QTWFfdcAz68+0F4mJUD96n3KvH9Ubrw is its key before accepting it
    "#);
    assert_eq!(pinned(), (key("key 1"), key("key 2")));

    targets.check("gpu-vm", Some(&new), ROOT).unwrap();
    assert_eq!(pinned(), (key("new key 1"), key("key 2")));
    targets.check("gpu-vm", Some(&new), ROOT).unwrap();
    assert!(targets.check("gpu-vm", Some("SHA256:not shown"), ROOT).is_err());
    assert_eq!(
        fixture.targets().attached("gpu-vm").unwrap().kept().spec.host_key,
        key("new key 1")
    );

    fixture.world.put("two", "machine 2", "new key 2");
    targets.check("gpu-vm", Some(&key("new key 2").fingerprint()), ROOT).unwrap();
    assert_eq!(pinned(), (key("new key 1"), key("new key 2")));
    assert_eq!(fixture.world.state().met[0], "two any, one any");
}

#[test]
fn known_hosts_decide_where_that_was_asked_for() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    let strict = || Asked { known_hosts: Some("/known".into()), ..asked("gpu-vm", "one") };

    targets.attach(&strict(), ROOT).unwrap();
    targets.attach(&strict(), ROOT).unwrap();

    assert_eq!(fixture.world.state().met, ["one known", "one known"]);
}

#[test]
fn a_purge_that_fails_leaves_the_target_attached() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    targets.attach(&asked("gpu-vm", "one"), ROOT).unwrap();
    let machine = fixture.world.state().machines.remove("one").unwrap();

    let told = refusal(targets.detach("gpu-vm", true, ROOT));
    assert!(told.starts_with("cannot reach one port 22"), "{told}");
    assert_eq!(targets.names_for(ROOT), ["local", "gpu-vm"]);

    fixture.world.state().machines.insert("one".to_owned(), machine);
    let purged = targets.detach("gpu-vm", true, ROOT).unwrap().unwrap();
    assert_eq!((purged.bytes, purged.whole), (7, true));
    assert_eq!(fixture.world.state().purged, ["gpu-vm"]);
}

#[test]
fn clocks_are_compared_with_what_the_network_may_have_taken() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let ahead = |there| {
        let report = MachineReport { time_utc: Some(at(there)), ..MachineReport::default() };
        Checked::new(report, at(100), at(110)).clock_ahead_seconds.unwrap()
    };
    assert_eq!([90, 100, 105, 110, 115].map(ahead), [-10.0, 0.0, 0.0, 0.0, 5.0]);
    let unknown = Checked::new(MachineReport::default(), at(0), at(0));
    assert_eq!(unknown.clock_ahead_seconds, None);
}

#[test]
fn what_a_user_attached_is_theirs_and_what_a_ruler_attached_everybodys() {
    let fixture = Fixture::new();
    let targets = fixture.targets();
    let [ana, ben] = [61_001, 61_002].map(|uid| Peer { uid, rules: false });
    targets.attach(&asked("ana-vm", "one"), ana).unwrap();
    targets.attach(&asked("shared-vm", "two"), ROOT).unwrap();

    let again = fixture.targets();
    assert_eq!(again.names_for(ana), ["local", "ana-vm", "shared-vm"]);
    assert_eq!(again.names_for(ben), ["local", "shared-vm"]);
    assert_eq!(again.names_for(ROOT), ["local", "ana-vm", "shared-vm"]);
    let none = refusal(again.usable("ben-vm", ben).map(drop)).replace("ben-vm", "ana-vm");
    assert_eq!(refusal(again.usable("ana-vm", ben).map(drop)), none);
    assert_eq!(refusal(again.detach("ana-vm", false, ben)), none);
    let refusals = [
        refusal(again.attach(&asked("ana-vm", "nowhere"), ben)),
        refusal(again.attach(&asked("own-vm", "one"), ben)),
        refusal(again.attach(&asked("shared-vm", "two"), ben)),
        refusal(again.detach("shared-vm", false, ben)),
        refusal(again.check("shared-vm", None, ben)),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    the name "ana-vm" is taken
      another user of this agent has it: choose another, or ask whoever looks after the agent
    me@one is taken
      another user of this agent has it: choose another, or ask whoever looks after the agent
    "shared-vm" is everybody's: only those who look after this agent may change it
      ask root or a member of the administrators' group (`users.admin-group`)
    "shared-vm" is everybody's: only those who look after this agent may detach it
      ask root or a member of the administrators' group (`users.admin-group`)
    "shared-vm" is everybody's: only those who look after this agent may check it
      ask root or a member of the administrators' group (`users.admin-group`)
    "#);

    again.attach(&asked("ana-vm", "one"), ROOT).unwrap();
    assert_eq!(again.names_for(ben), ["local", "shared-vm"], "it stays hers");
    again.detach("ana-vm", false, ana).unwrap();
    again.detach("shared-vm", false, ROOT).unwrap();
}

#[test]
fn what_systemd_hands_over_lets_in_those_who_rule_only() {
    let fixture = Fixture::new();
    let handed_over = fixture.home.path().join("systemd");
    std::fs::create_dir(&handed_over).unwrap();
    std::fs::write(handed_over.join("trainyard.target.shared-vm"), "password:secret\n").unwrap();
    let targets = fixture.targets();
    let user = Peer { uid: 61_001, rules: false };

    for of_systemd in [true, false] {
        let theirs = Asked { of_systemd, ..asked("shared-vm", "one") };
        let told = refusal(targets.attach(&theirs, user));
        assert!(told.starts_with("the name \"shared-vm\" is taken"), "{told}");
    }
    targets.attach(&Asked { of_systemd: true, ..asked("shared-vm", "one") }, ROOT).unwrap();
}
