use std::ffi::OsString;

use super::*;
use crate::sandbox::bwrap;
use crate::sandbox::network::{NetworkFacts, Reach};
use crate::sandbox::policy::SandboxMode;

fn facts() -> HostFacts {
    HostFacts {
        bwrap: Some("/usr/bin/bwrap".into()),
        is_privileged: false,
        no_user_namespaces: None,
        landlock: 7,
        seccomp: true,
        network: NetworkFacts {
            pasta: Some("/usr/bin/pasta".into()),
            has_tap: true,
            reach: Reach::Everywhere,
            refusal: None,
        },
        refusal: None,
    }
}

fn policy(mode: SandboxMode, network: Network, minimum: Tier) -> SandboxPolicy {
    let mounts = vec!["/data".parse().unwrap(), "/out:/in/out:rw".parse().unwrap()];
    SandboxPolicy { mode, network, mounts, minimum, ..SandboxPolicy::default() }
}

fn places() -> Places {
    Places {
        system: ["/usr", "/etc/passwd"].map(PathBuf::from).to_vec(),
        links: vec![("/bin".into(), "usr/bin".into())],
        prefixes: ["/home/ana/venv", "/usr/local"].map(PathBuf::from).to_vec(),
        devices: vec!["/dev/nvidia0".into()],
        work: "/home/ana/state/runs/r/work".into(),
        temporary: "/home/ana/state/runs/r/tmp".into(),
        home: Some("/home/ana".into()),
        resolver: Some("nameserver 192.0.0.8\n".to_owned()),
    }
}

#[test]
fn what_a_machine_has_decides_the_tier_and_what_is_missing_is_said() {
    type Change = fn(&mut HostFacts);
    let machines: [(&str, Change); 10] = [
        ("all there is", |_| {}),
        ("root", |facts| {
            facts.is_privileged = true;
            facts.no_user_namespaces = Some(UserNamespaceBar::Limit);
        }),
        ("no bubblewrap", |facts| facts.bwrap = None),
        ("AppArmor", |facts| facts.no_user_namespaces = Some(UserNamespaceBar::AppArmor)),
        ("a limit of 0", |facts| facts.no_user_namespaces = Some(UserNamespaceBar::Limit)),
        ("refused", |facts| facts.refusal = Some("setting up uid map".to_owned())),
        ("an old Landlock", |facts| facts.landlock = 3),
        ("no pasta", |facts| facts.network.pasta = None),
        ("no pasta and an old Landlock", |facts| {
            facts.network.pasta = None;
            facts.landlock = 3;
        }),
        ("nothing", |facts| {
            facts.bwrap = None;
            facts.landlock = 0;
            facts.seccomp = false;
        }),
    ];
    let mut table = String::new();
    for (name, change) in machines {
        let mut facts = facts();
        change(&mut facts);
        for (network, least) in
            [(Network::Full, Tier::None), (Network::Full, Tier::Full), (Network::None, Tier::None)]
        {
            let policy = policy(SandboxMode::Default, network, least);
            let said = match plan(&policy, &facts, &places(), None) {
                Ok(Plan { record, .. }) => {
                    let missing: Vec<_> =
                        record.missing.iter().map(|one| one.layer.as_str()).collect();
                    format!("{} by {}, without {missing:?}", record.tier, record.engine)
                }
                Err(refused) => refused.to_string(),
            };
            table += &format!("{name}, network {network}, at least {least}: {said}\n");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn strict_is_all_or_nothing() {
    let facts = HostFacts { landlock: 0, ..facts() };
    let policy = policy(SandboxMode::Strict, Network::Full, Tier::None);

    let refused = plan(&policy, &facts, &places(), None).unwrap_err();

    assert!(matches!(refused, SandboxRefused::Tier { least: Tier::Full, .. }), "{refused}");
}

#[test]
fn each_view_comes_after_what_it_is_in() {
    let shown = |privileged, network| {
        let facts = HostFacts { is_privileged: privileged, ..facts() };
        let policy = policy(SandboxMode::Default, network, Tier::Full);
        let plan = plan(&policy, &facts, &places(), Some(1 << 30)).unwrap();
        let arguments = bwrap::arguments(plan.rooms.as_ref().unwrap());
        let words: Vec<String> =
            arguments.iter().map(|word: &OsString| word.to_string_lossy().into_owned()).collect();
        let fence = plan.fence.unwrap();
        format!(
            "{}\nread {:?}\nwrite {:?}\ndevices {:?}\n",
            words.join(" ").replace(" --", "\n--"),
            fence.read,
            fence.write,
            fence.devices
        )
    };

    insta::assert_snapshot!(shown(false, Network::None));
    insta::assert_snapshot!(shown(true, Network::Full));
    insta::assert_snapshot!(shown(true, Network::Loopback));
}

#[test]
fn without_rooms_the_fence_names_all_that_may_be_read() {
    let facts = HostFacts { bwrap: None, ..facts() };
    let policy = policy(SandboxMode::Default, Network::Full, Tier::None);

    let plan = plan(&policy, &facts, &places(), None).unwrap();

    let fence = plan.fence.unwrap();
    assert_eq!(plan.rooms, None);
    assert!(!fence.read.contains(&PathBuf::from("/")));
    let write = ["/home/ana/state/runs/r/work", "/home/ana/state/runs/r/tmp", "/dev/shm", "/out"];
    assert_eq!(fence.write, write.map(PathBuf::from));
}

#[test]
fn a_size_of_shared_memory_takes_rooms() {
    let policy = SandboxPolicy {
        shm_bytes: Some(3 << 20),
        ..policy(SandboxMode::Default, Network::Full, Tier::None)
    };
    let holds = |plan: Plan| {
        plan.rooms.unwrap().views.into_iter().find(|view| view.at == Path::new("/dev/shm"))
    };

    let whole = plan(&policy, &facts(), &places(), Some(1 << 30)).unwrap();
    assert_eq!(holds(whole).unwrap().what, Seen::Memory(Some(3 << 20)));

    let reduced = HostFacts { bwrap: None, ..facts() };
    let refused = plan(&policy, &reduced, &places(), None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "--shm-size takes namespaces, which cannot be had here: bubblewrap is not installed; install \
         the package bubblewrap"
    );
}
