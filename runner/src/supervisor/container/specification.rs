//! What the engine is asked for: the container of one run, complete. Pure.

use std::collections::BTreeMap;

use images::engine::{ContainerSpec, EngineFacts, Mount};

use super::engine_bounds;
use super::prelude::{self, SHELL};
use crate::container::{
    ContainerLaunch, IO_DIRECTORY, SECRETS_DIRECTORY, TEMPORARY, WORKING_DIRECTORY,
};
use crate::launch::Launch;

/// Has the init process pass signals on to all that the script started, as for a local process,
/// and not to the first only. The prelude takes it away again: it is not the script's business.
const TO_ALL: &str = "TINI_KILL_PROCESS_GROUP";

/// What every container has unless security options are set by hand.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// Puts together what the engine is asked for. With `shell` the prelude comes before the program;
/// `mounts` are all that it sees of this machine.
pub(super) fn specification(
    launch: &Launch,
    container: &ContainerLaunch,
    mounts: Vec<Mount>,
    facts: &EngineFacts,
    shell: bool,
) -> ContainerSpec {
    let (entrypoint, command) = match launch.program.split_first() {
        _ if shell => {
            (vec![SHELL.to_owned()], prelude::arguments(&launch.secret_names, &launch.program))
        }
        Some((program, arguments)) => (vec![program.clone()], arguments.to_vec()),
        None => (Vec::new(), Vec::new()),
    };
    let own = engine_bounds::kept_limits(container, facts);
    let init = own.init && facts.init;
    ContainerSpec {
        image: own.image,
        platform: own.platform,
        entrypoint,
        command,
        environment: environment(launch, init),
        labels: own.labels,
        user: engine_bounds::user(container, facts),
        working_directory: working_directory(launch),
        mounts,
        tmpfs: own.tmpfs,
        network: own.network,
        cpus: own.cpus,
        cpuset: own.cpuset,
        memory_bytes: own.memory_bytes,
        memory_and_swap_bytes: own.memory_and_swap_bytes,
        pids: own.pids,
        shm_bytes: own.shm_bytes,
        gpus: own.gpus,
        ulimits: own
            .ulimits
            .into_iter()
            .map(|limit| (limit.name, limit.soft, limit.hard))
            .collect(),
        hostname: own.hostname,
        extra_hosts: own.extra_hosts,
        read_only: own.read_only,
        init,
        capabilities: own.capabilities,
        privileged: own.privileged,
        security_options: security_options(own.security_options),
        devices: own.devices,
        ipc: own.ipc,
        pid: own.pid,
    }
}

/// Returns the variables of the script; of a secret, where its file is.
fn environment(launch: &Launch, init: bool) -> BTreeMap<String, String> {
    let mut environment = launch.environment.clone();
    for name in &launch.secret_names {
        environment.remove(name);
        environment.insert(format!("{name}_FILE"), format!("{SECRETS_DIRECTORY}/{name}"));
    }
    environment.insert("TRAINYARD_RUN_ID".to_owned(), launch.run_id.to_string());
    if init {
        environment.insert(TO_ALL.to_owned(), "1".to_owned());
    }
    environment.entry("TMPDIR".to_owned()).or_insert_with(|| TEMPORARY.to_owned());
    environment
}

/// Returns where the script starts, within the container.
fn working_directory(launch: &Launch) -> String {
    match launch.working_directory.strip_prefix("work") {
        Ok(below) if !below.as_os_str().is_empty() => {
            format!("{WORKING_DIRECTORY}/{}", below.display())
        }
        _ => WORKING_DIRECTORY.to_owned(),
    }
}

/// What was allowed by name comes besides the usual option, unless it takes that back.
fn security_options(mut given: Vec<String>) -> Vec<String> {
    if !given.iter().any(|option| option.starts_with(NO_NEW_PRIVILEGES)) {
        given.push(NO_NEW_PRIVILEGES.to_owned());
    }
    given
}

/// Lists what every run's container sees: the directories of the run, as within the container.
pub(super) fn run_mounts(
    work: impl Into<std::path::PathBuf>,
    temporary: impl Into<std::path::PathBuf>,
    io: impl Into<std::path::PathBuf>,
    secrets: Option<&std::path::Path>,
) -> Vec<Mount> {
    let mount = |source: std::path::PathBuf, target: &str, read_only| Mount {
        source,
        target: target.to_owned(),
        read_only,
    };
    let secrets = secrets.map(|path| mount(path.to_owned(), SECRETS_DIRECTORY, true));
    [
        mount(work.into(), WORKING_DIRECTORY, false),
        mount(temporary.into(), TEMPORARY, false),
        mount(io.into(), IO_DIRECTORY, true),
    ]
    .into_iter()
    .chain(secrets)
    .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use images::engine::EngineLimits;

    use super::*;
    use crate::launch::LAUNCH_VERSION;
    use crate::run_id::RunId;

    fn launch() -> Launch {
        Launch {
            version: LAUNCH_VERSION,
            run_id: RunId::generate("exp", 1, 2),
            program: vec!["python".to_owned(), "a b.py".to_owned(), "$(x)".to_owned()],
            environment: BTreeMap::from([
                ("A".to_owned(), "1".to_owned()),
                ("TOKEN".to_owned(), "not secret".to_owned()),
            ]),
            secret_names: vec!["TOKEN".to_owned(), "not-a-variable".to_owned()],
            working_directory: "work".into(),
            timeout_seconds: None,
            grace_seconds: 1.0,
            limits: None,
            disk_bytes: None,
            sandbox: None,
            container: None,
        }
    }

    /// An engine that can do all that is not special.
    pub(in crate::supervisor::container) fn facts(rootless: bool) -> EngineFacts {
        EngineFacts {
            address: "unix:///s".to_owned(),
            name: "Docker".to_owned(),
            version: "1".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            rootless,
            live_restore: false,
            gpus: false,
            init: true,
            cgroup_version: 1,
            limits: EngineLimits::ALL,
            owner: None,
        }
    }

    #[test]
    fn what_a_user_gives_is_an_argument_and_secrets_are_paths() {
        let own = ContainerLaunch { user: "7:8".to_owned(), init: true, ..Default::default() };

        let spec = specification(&launch(), &own, vec![], &facts(false), true);

        assert_eq!(spec.entrypoint, ["/bin/sh"]);
        assert_eq!(spec.command[0], "-c");
        assert_eq!(spec.command[1], prelude::PRELUDE);
        assert_eq!(spec.command[2..], ["trainyard", "1", "TOKEN", "python", "a b.py", "$(x)"]);
        let variables: Vec<_> =
            spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(variables.join("\n"), @r#"
        A=1
        TINI_KILL_PROCESS_GROUP=1
        TMPDIR=/tmp
        TOKEN_FILE=/run/secrets/TOKEN
        TRAINYARD_RUN_ID=exp_1_00000002
        not-a-variable_FILE=/run/secrets/not-a-variable
        "#);
        assert_eq!((spec.user.as_str(), spec.working_directory.as_str()), ("7:8", "/azureml-run"));
        assert_eq!(spec.security_options, ["no-new-privileges"]);
        assert!(spec.init && !spec.privileged);
    }

    #[test]
    fn without_a_shell_the_program_is_started_itself() {
        let mut launch = launch();
        launch.working_directory = "work/sub".into();

        let own = ContainerLaunch { user: "7:8".to_owned(), ..Default::default() };
        let spec = specification(&launch, &own, vec![], &facts(true), false);

        assert_eq!((spec.entrypoint[0].as_str(), spec.command.len()), ("python", 2));
        assert_eq!(spec.working_directory, "/azureml-run/sub");
        assert_eq!(spec.user, "0:0", "root of an engine without root is its user");
        assert!(!spec.init && !spec.environment.contains_key(TO_ALL));
    }

    #[test]
    fn options_that_were_allowed_come_besides_the_usual_one() {
        let options = |given: &[&str]| {
            security_options(given.iter().map(|&option| option.to_owned()).collect())
        };
        assert_eq!(options(&["seccomp=unconfined"]), ["seccomp=unconfined", "no-new-privileges"]);
        assert_eq!(options(&["no-new-privileges:false"]), ["no-new-privileges:false"]);
    }
}
