//! Whole plans: what is asked for and what comes of it, the hostile among them.

use super::*;

fn planned(
    arguments: &[&str],
    resources: &Resources,
    network: Network,
    allowed: &[&str],
) -> String {
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let options = ContainerOptions { arguments: own(arguments), shm_bytes: None };
    let policy = ContainerPolicy { allowed: own(allowed) };
    match plan(&ContainerRequest { options: &options, resources, network, policy: &policy }) {
        Ok(plan) => changes(&plan),
        Err(refused) => format!("REFUSED {refused}\n        {}", refused.hint),
    }
}

/// Says what of a plan is not as it is without arguments.
fn changes(plan: &ContainerPlan) -> String {
    let mut usual = serde_json::to_value(ContainerLaunch {
        init: true,
        network: "bridge".to_owned(),
        pids: Some(DEFAULT_PIDS),
        shm_bytes: Some(DEFAULT_SHM_BYTES),
        ..ContainerLaunch::default()
    })
    .unwrap();
    usual.as_object_mut().unwrap().remove("policy");
    let shown = serde_json::to_value(&plan.launch).unwrap();
    let mut said: Vec<String> = usual
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, value)| shown[*key] != **value)
        .map(|(key, _)| format!("{key}={}", shown[key]))
        .collect();
    if plan.gpus > 0 {
        said.push(format!("gpus={}", plan.gpus));
    }
    if !plan.environment.is_empty() {
        said.push(format!("environment={:?}", plan.environment));
    }
    let mut said = if said.is_empty() { "as usual".to_owned() } else { said.join(" ") };
    for note in &plan.notes {
        said += &format!("\n        note: {note}");
    }
    said
}

#[test]
fn arguments_become_what_docker_makes_of_them() {
    let mut table = String::new();
    for arguments in [
        &[][..],
        &["--cpus=1.5", "--cpuset-cpus", "0-1,3", "-m", "4g", "--memory-swap=6g"],
        &["--memory-swap=6g"],
        &["-m4g", "--memory-swap=1g"],
        &["--shm-size=8g", "--pids-limit=100", "--ulimit", "nofile=1024:4096", "--ulimit=core=0"],
        &["-e", "A=1", "--env=B=x=y", "-e", "A=2"],
        &["--gpus", "all"],
        &["--gpus=2", "--init=false", "--read-only", "--hostname=node-1"],
        &["--add-host=db:192.0.2.7", "--network", "none"],
        &["-v", "/data:/data:ro", "--tmpfs=/cache:size=1g", "--platform=linux/arm64"],
        &["--rm", "-it", "-d", "--name=x", "--label=a=b", "--log-driver=json-file"],
        &["--ipc=private", "--privileged=false", "--publish-all=false"],
    ] {
        let plan = planned(arguments, &Resources::default(), Network::Full, &[]);
        table += &format!("{arguments:?}\n    {plan}\n");
    }
    insta::assert_snapshot!(table, @r#"
    []
        as usual
    ["--cpus=1.5", "--cpuset-cpus", "0-1,3", "-m", "4g", "--memory-swap=6g"]
        cpus=1.5 cpuset="0-1,3" memoryBytes=4294967296 memoryAndSwapBytes=6442450944
    ["--memory-swap=6g"]
        as usual
            note: --memory-swap is left out: it means nothing without --memory
    ["-m4g", "--memory-swap=1g"]
        memoryBytes=4294967296
            note: --memory-swap is left out: it is less than the memory alone
    ["--shm-size=8g", "--pids-limit=100", "--ulimit", "nofile=1024:4096", "--ulimit=core=0"]
        pids=100 shmBytes=8589934592 ulimits=[{"name":"nofile","soft":1024,"hard":4096},{"name":"core","soft":0,"hard":0}]
    ["-e", "A=1", "--env=B=x=y", "-e", "A=2"]
        environment={"A": "2", "B": "x=y"}
    ["--gpus", "all"]
        gpus=4294967295
    ["--gpus=2", "--init=false", "--read-only", "--hostname=node-1"]
        hostname="node-1" readOnly=true init=false gpus=2
    ["--add-host=db:192.0.2.7", "--network", "none"]
        network="none" extraHosts=["db:192.0.2.7"]
    ["-v", "/data:/data:ro", "--tmpfs=/cache:size=1g", "--platform=linux/arm64"]
        platform="linux/arm64" mounts=[{"source":"/data","target":"/data","readOnly":true}] tmpfs={"/cache":"size=1g"}
    ["--rm", "-it", "-d", "--name=x", "--label=a=b", "--log-driver=json-file"]
        as usual
            note: --rm is left out: the container is named, followed and removed by Trainyard
            note: --interactive is left out: a run reads no input
            note: --tty is left out: a run has no terminal
            note: --detach is left out: the container is named, followed and removed by Trainyard
            note: --name is left out: the container is named, followed and removed by Trainyard
            note: --label is left out: the run's tags are the place for labels
            note: --log-driver is left out: output goes into the run's own log
    ["--ipc=private", "--privileged=false", "--publish-all=false"]
        as usual
    "#);
}

/// Says why each of `arguments`, which are words, is refused.
fn refusals(arguments: &str) -> String {
    let mut table = String::new();
    for argument in arguments.split_whitespace() {
        let plan = planned(&[argument], &Resources::default(), Network::Full, &[]);
        let refusal = plan.lines().next().unwrap_or_default();
        assert!(refusal.starts_with("REFUSED "), "{argument}: {refusal}");
        assert!(plan.lines().count() > 1, "{argument}: it does not say what to do");
        table += &format!("{}\n", &refusal["REFUSED ".len()..]);
    }
    table
}

#[test]
fn what_could_reach_the_machine_is_refused() {
    let arguments = "--privileged --privileged=1 --pid=host --pid=container:x --ipc=host \
        --ipc=shareable --uts=host --userns=host --cgroupns=host --network=host --net=container:x \
        --network=my-net --device=/dev/kmsg --device-cgroup-rule=a --cap-add=ALL \
        --security-opt=seccomp=unconfined --volumes-from=x --cgroup-parent=/ --user=root -u0 \
        --group-add=docker --sysctl=kernel.shmmax=1 --runtime=runc --publish=80:80 -p80:80 \
        --env-file=/etc/shadow --env=HOME -v/:/host -v/var/run/docker.sock:/s \
        --mount=type=bind,source=/etc,target=/x --gpus=device=0 --cidfile=/etc/x --link=x";

    insta::assert_snapshot!(refusals(arguments), @r#"
    --privileged: it lets the container reach the machine it runs on
    --privileged: it lets the container reach the machine it runs on
    --pid host: it lets the container reach other processes of the machine
    --pid container:x: it lets the container reach other processes of the machine
    --ipc host: it lets the container reach other processes of the machine
    --ipc shareable: it lets the container reach other processes of the machine
    --uts host: it is not supported, since it reaches beyond the container
    --userns host: it is not supported, since it reaches beyond the container
    --cgroupns host: it is not supported, since it reaches beyond the container
    --network host: it lets the container reach what only the machine or others should
    --net container:x: it lets the container reach what only the machine or others should
    --network my-net: it lets the container reach what only the machine or others should
    --device /dev/kmsg: it lets the container reach the machine it runs on
    --device-cgroup-rule a: it is not supported, since it reaches beyond the container
    --cap-add ALL: it lets the container reach the machine it runs on
    --security-opt seccomp=unconfined: it lets the container reach the machine it runs on
    --volumes-from x: it is not supported, since it reaches beyond the container
    --cgroup-parent /: it is not supported, since it reaches beyond the container
    --user root: the run's files would belong to somebody else
    --user 0: the run's files would belong to somebody else
    --group-add docker: it is not supported, since it reaches beyond the container
    --sysctl kernel.shmmax=1: it is not supported, since it reaches beyond the container
    --runtime runc: it is not supported, since it reaches beyond the container
    --publish 80:80: it opens a port of the machine
    --publish 80:80: it opens a port of the machine
    --env-file /etc/shadow: it would be read on the machine of the agent
    --env HOME: a variable without a value would be taken from the agent's own environment
    --volume /:/host: /boot is in it, which is the machine's own
    --volume /var/run/docker.sock:/s: whoever reaches the engine's socket is root on the machine
    --mount type=bind,source=/etc,target=/x: /etc is the machine's own
    --gpus device=0: GPUs are asked for by number
    --cidfile: it is not among the options of `docker run` that a run may use
    --link: it is not among the options of `docker run` that a run may use
    "#);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let arguments = "--entrypoint=/bin/sh --restart=always --cpus=nan --cpus=-1 --memory=lots \
        --memory=0 --pids-limit=-1 --cpuset-cpus=0;1 --hostname=-x --add-host=db:evil \
        --ulimit=nofile=many --oom-kill-disable --workdir=/x";

    insta::assert_snapshot!(refusals(arguments), @r#"
    --entrypoint /bin/sh: the run says what is started
    --restart always: a container is started once
    --cpus nan: it is no number of cores
    --cpus -1: it is no number of cores
    --memory lots: it is no size
    --memory 0: it is no size
    --pids-limit -1: it is no number above zero
    --cpuset-cpus 0;1: it is no list of cores
    --hostname -x: it is no host name
    --add-host db:evil: it is not NAME:ADDRESS
    --ulimit nofile=many: it is no limit
    --oom-kill-disable: it is not among the options of `docker run` that a run may use
    --workdir /x: a run starts in its working directory
    "#);
}

#[test]
fn a_refusal_says_what_to_do() {
    let hint = |argument| {
        let plan = planned(&[argument], &Resources::default(), Network::Full, &[]);
        plan.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    let allowing = "an administrator can allow it with";
    assert_eq!(
        hint("--ipc=host"),
        format!(
            "for more shared memory ask for --shm-size=8g; {allowing} \"--ipc=host\" under [docker] allow"
        )
    );
    assert_eq!(
        hint("--privileged"),
        format!("leave it out; {allowing} \"--privileged\" under [docker] allow")
    );
    assert_eq!(
        hint("-v/etc:/x"),
        "copy what the run needs into its source directory; an administrator can allow this one \
         with \"--volume=/etc\" under [docker] allow"
    );
}

#[test]
fn the_administrator_allows_by_name() {
    let mut table = String::new();
    for (argument, allowed) in [
        ("--privileged", "--privileged"),
        ("--device=/dev/fuse", "--device"),
        ("--device=/dev/fuse", "--device=/dev/fuse"),
        ("--device=/dev/mem", "--device=/dev/fuse"),
        ("--cap-add=SYS_PTRACE", "--cap-add=SYS_PTRACE"),
        ("--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE"),
        ("--security-opt=seccomp=unconfined", "--security-opt"),
        ("--network=host", "--network=host"),
        ("--ipc=host", "--ipc=host"),
        ("--pid=host", "--ipc=host"),
        ("--user=7:7", "--user"),
        ("--runtime=runc", "--runtime"),
        ("--volume=/etc/ssl/certs:/certs:ro", "--volume=/etc/ssl"),
        ("--volume=/etc/ssl/../shadow:/certs", "--volume=/etc/ssl"),
        ("--volume=/etc:/x", "--volume"),
    ] {
        let plan = planned(&[argument], &Resources::default(), Network::Full, &[allowed]);
        let plan = plan.lines().next().unwrap_or_default();
        table += &format!("{argument} with {allowed}\n    {plan}\n");
    }
    insta::assert_snapshot!(table, @r#"
    --privileged with --privileged
        privileged=true
    --device=/dev/fuse with --device
        devices=["/dev/fuse"]
    --device=/dev/fuse with --device=/dev/fuse
        devices=["/dev/fuse"]
    --device=/dev/mem with --device=/dev/fuse
        REFUSED --device /dev/mem: it lets the container reach the machine it runs on
    --cap-add=SYS_PTRACE with --cap-add=SYS_PTRACE
        capabilities=["SYS_PTRACE"]
    --cap-add=SYS_ADMIN with --cap-add=SYS_PTRACE
        REFUSED --cap-add SYS_ADMIN: it lets the container reach the machine it runs on
    --security-opt=seccomp=unconfined with --security-opt
        securityOptions=["seccomp=unconfined"]
    --network=host with --network=host
        network="host"
    --ipc=host with --ipc=host
        ipc="host"
    --pid=host with --ipc=host
        REFUSED --pid host: it lets the container reach other processes of the machine
    --user=7:7 with --user
        user="7:7"
    --runtime=runc with --runtime
        REFUSED --runtime runc: it is not supported, since it reaches beyond the container
    --volume=/etc/ssl/certs:/certs:ro with --volume=/etc/ssl
        mounts=[{"source":"/etc/ssl/certs","target":"/certs","readOnly":true}]
    --volume=/etc/ssl/../shadow:/certs with --volume=/etc/ssl
        REFUSED --volume /etc/ssl/../shadow:/certs: /etc is the machine's own
    --volume=/etc:/x with --volume
        REFUSED --volume /etc:/x: /etc is the machine's own
    "#);
}

#[test]
fn the_runs_own_options_count_before_arguments() {
    let resources = Resources {
        cpus: Some(1.0),
        memory_bytes: Some(1 << 30),
        pids: Some(50),
        disk_bytes: None,
        shm_bytes: Some(1 << 20),
        gpus: Some(0),
    };
    let arguments =
        ["--cpus=2", "-m2g", "--pids-limit=7", "--shm-size=1g", "--gpus=1", "--network=bridge"];

    insta::assert_snapshot!(planned(&arguments, &resources, Network::None, &[]), @r#"
    network="none" cpus=1.0 memoryBytes=1073741824 pids=50 shmBytes=1048576
            note: --cpus of the container's arguments is left out: the run's own counts
            note: --memory of the container's arguments is left out: the run's own counts
            note: --pids-limit of the container's arguments is left out: the run's own counts
            note: --shm-size of the container's arguments is left out: the run's own counts
            note: --gpus of the container's arguments is left out: the run's own counts
            note: --network of the container's arguments is left out: the run's own counts
    "#);
    assert_eq!(
        planned(&["--network=none"], &Resources::default(), Network::Loopback, &[]),
        r#"network="none""#
    );
}

#[test]
fn a_container_is_tied_to_its_run() {
    let options = ContainerOptions::default();
    let request = ContainerRequest {
        options: &options,
        resources: &Resources::default(),
        network: Network::Full,
        policy: &ContainerPolicy::default(),
    };
    let image = PreparedImage {
        id: "sha256:1".to_owned(),
        reference: "python:3".to_owned(),
        digest: None,
        base_digest: None,
        platform: "linux/amd64".to_owned(),
        search_path: None,
    };
    let run = RunId::generate("exp", 1, 2);

    let launch = plan(&request).unwrap().launch(&run, &image, "1:2", "/state", vec![]);

    assert_eq!(launch.name, "trainyard-exp_1_00000002");
    let labels: Vec<_> =
        launch.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(labels, ["trainyard=1", "trainyard.home=/state", "trainyard.run=exp_1_00000002"]);
    assert_eq!((launch.user.as_str(), launch.platform.as_deref()), ("1:2", Some("linux/amd64")));
    let text = serde_json::to_string(&launch).unwrap();
    assert_eq!(serde_json::from_str::<ContainerLaunch>(&text).unwrap(), launch);
}
