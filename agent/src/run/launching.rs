//! What the supervisor of a run is told to do. Pure.

use std::collections::BTreeMap;

use images::environment::{PreparedEnvironment, PreparedImage};
use runner::base_environment::{BaseEnvironment, ContainerEnvironment};
use runner::compute_target::{Place, TargetError};
use runner::container::{
    self, ContainerOptions, ContainerPlan, ContainerPolicy, ContainerRefused, ContainerRequest,
};
use runner::launch::{DEFAULT_GRACE_SECONDS, LAUNCH_VERSION, Launch};
use runner::run_directory::RunDirectory;
use runner::sandbox::cgroup::ProcessLimits;
use runner::script_user::ScriptUser;

use crate::api::wire::submission::SubmitRequest;
use crate::gpus;
use crate::peer::Peer;
use crate::run::sandboxing::SandboxRules;
use crate::store::RunRow;

/// Carries out the line in `$1`: by bash, whose lines Azure's command jobs are, where the image
/// has it. What the user wrote is in arguments only, never in this text.
const SHELL_OF_IMAGE: &str =
    r#"if command -v bash >/dev/null 2>&1; then exec bash -c "$@"; else exec /bin/sh -c "$@"; fi"#;

/// Why a container cannot be what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoContainer {
    /// It may not be. What was handed in was checked, but perhaps by an agent that allowed more.
    #[error(transparent)]
    Refused(#[from] ContainerRefused),
    /// The target has no such GPUs, or cannot be asked.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl NoContainer {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refused) => Some(refused.hint.clone()),
            Self::Target(error) => error.hint(),
        }
    }
}

/// The container of a run.
#[derive(Clone, Debug)]
pub(crate) struct Contained {
    /// What it may be.
    pub(crate) plan: ContainerPlan,
    /// Its image.
    pub(crate) image: PreparedImage,
    /// The state directory, as a label.
    pub(crate) home: String,
}

impl Contained {
    /// Works out the container of a run in `image`.
    ///
    /// # Errors
    ///
    /// The container may not be.
    pub(crate) fn new(
        request: &SubmitRequest,
        image: PreparedImage,
        policy: &ContainerPolicy,
        place: &Place,
    ) -> Result<Self, ContainerRefused> {
        Ok(Self { plan: plan(request, policy)?, image, home: place.label() })
    }
}

/// Works out what the container of a run may be.
///
/// # Errors
///
/// It may not be what was asked for.
pub(crate) fn plan(
    request: &SubmitRequest,
    policy: &ContainerPolicy,
) -> Result<ContainerPlan, ContainerRefused> {
    let none = ContainerOptions::default();
    container::plan(&ContainerRequest {
        options: request.container.as_ref().unwrap_or(&none),
        resources: &request.resources,
        network: request.network.unwrap_or_default(),
        policy,
    })
}

/// Works out what the supervisor of `row`, which `peer` handed in, is to do with `gpus`, by UUID;
/// outside of a container within the sandbox that the rules give it.
pub(crate) fn launch(
    (row, peer, sandbox): (&RunRow, Peer, &SandboxRules),
    place: &Place,
    environment: &PreparedEnvironment,
    contained: Option<Contained>,
    gpus: Vec<String>,
) -> Launch {
    let request = &row.request;
    let in_container = || place.user_in_container(row.uid);
    let user = if contained.is_some() { in_container() } else { place.user.clone() };
    let mut variables = match &contained {
        None => of_process(row, &place.run_directory(&row.id), environment, &user),
        Some(contained) => of_container(row, environment, &user, contained),
    };
    variables.extend(environment.variables.clone());
    variables.extend(request.environment_variables.0.clone());
    if contained.is_none() && request.resources.gpus.is_some() {
        variables.insert(gpus::VARIABLE.to_owned(), gpus.join(","));
    }
    let program = program(request, environment, contained.is_none().then_some(&user.shell));
    Launch {
        version: LAUNCH_VERSION,
        run_id: row.id.clone(),
        program,
        environment: variables,
        secret_names: request.secrets.0.keys().cloned().collect(),
        working_directory: "work".into(),
        timeout_seconds: request.timeout_seconds,
        grace_seconds: request.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
        disk_bytes: request.resources.disk_bytes,
        limits: ProcessLimits::of(&request.resources).filter(|_| contained.is_none()),
        sandbox: sandbox.policy(request.into(), peer).filter(|_| contained.is_none()),
        container: contained.map(|Contained { plan, image, home }| {
            plan.launch(&row.id, &image, &user.ids(), &home, gpus)
        }),
    }
}

fn of_process(
    row: &RunRow,
    directory: &RunDirectory,
    environment: &PreparedEnvironment,
    user: &ScriptUser,
) -> BTreeMap<String, String> {
    BaseEnvironment {
        run_id: &row.id,
        experiment: &row.request.experiment,
        directory,
        path_entries: &environment.path_entries,
        home: &user.home,
        user: &user.name,
        time_zone: user.time_zone.as_deref(),
    }
    .variables()
}

fn of_container(
    row: &RunRow,
    environment: &PreparedEnvironment,
    user: &ScriptUser,
    contained: &Contained,
) -> BTreeMap<String, String> {
    ContainerEnvironment {
        run_id: &row.id,
        experiment: &row.request.experiment,
        path_entries: &environment.path_entries,
        search_path: contained.image.search_path.as_deref(),
        user: &user.name,
        time_zone: user.time_zone.as_deref(),
        arguments: &contained.plan.environment,
    }
    .variables()
}

/// Returns the program with its arguments. `shell` carries out command lines; without one it is
/// the image's.
fn program(
    request: &SubmitRequest,
    environment: &PreparedEnvironment,
    shell: Option<&str>,
) -> Vec<String> {
    let python = environment.interpreter.to_string_lossy();
    let script = request.script.as_deref().unwrap_or_default();
    let first = match (&request.command, shell) {
        (Some(line), Some(shell)) => vec![shell, "-c", line, shell],
        (Some(line), None) => vec!["/bin/sh", "-c", SHELL_OF_IMAGE, "sh", line, "sh"],
        (None, _) => vec![&python, script],
    };
    first
        .into_iter()
        .chain(request.arguments.iter().map(String::as_str))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use jiff::Timestamp;
    use runner::run_id::RunId;
    use snapshots::digest::Digest;

    use super::*;
    use crate::run::status::RunStatus;
    use crate::store::tests::request;

    fn prepared() -> PreparedEnvironment {
        serde_json::from_value(serde_json::json!({
            "key": null, "name": "python:3.11", "interpreter": "python3", "pythonVersion": null,
            "prefix": "", "variables": {}, "pathEntries": [], "reused": true,
            "image": {
                "id": "sha256:1", "reference": "python:3.11", "platform": "linux/amd64",
                "searchPath": "/usr/local/bin:/usr/bin"
            }
        }))
        .unwrap()
    }

    fn row(request: SubmitRequest) -> RunRow {
        RunRow {
            store: crate::objects::StoreOf::Agent,
            id: RunId::generate("exp", 1_700_000_000, 1),
            uid: 1_234_567,
            status: RunStatus::Preparing,
            request,
            environment: None,
            cancel: None,
            created: Timestamp::UNIX_EPOCH,
            number: 1,
            priority: 0,
            held: false,
            not_before: None,
            boot_id: None,
            attempt: 1,
            tried_after: None,
        }
    }

    const RULER: Peer = Peer { uid: 1_234_567, rules: true };

    fn place(uid: u32) -> Place {
        let user = user(uid);
        let boot_id = String::new();
        Place { home: "/state".into(), user, knows_submitters: true, boot_id }
    }

    fn user(uid: u32) -> ScriptUser {
        ScriptUser {
            name: "ana".to_owned(),
            uid,
            gid: uid,
            home: "/home/ana".into(),
            time_zone: None,
            shell: "/bin/bash".to_owned(),
        }
    }

    fn contained(request: &SubmitRequest, environment: &PreparedEnvironment) -> Contained {
        let image = environment.image.clone().unwrap();
        let policy = ContainerPolicy::default();
        let plan = plan(request, &policy).unwrap();
        Contained { plan, image, home: place(0).label() }
    }

    #[test]
    fn a_container_belongs_to_whoever_handed_it_in() {
        let environment = prepared();
        let request = request(Digest::of(b"source"));
        let launched = |place: Place| {
            let contained = contained(&request, &environment);
            launch(
                (&row(request.clone()), RULER, &SandboxRules::default()),
                &place,
                &environment,
                Some(contained),
                Vec::new(),
            )
        };

        let by_root = launched(place(0));
        assert_eq!(by_root.program, ["python3", "train.py", "--alpha", "0.5"]);
        assert_eq!(by_root.environment["TRAINYARD_OUTPUT_DIR"], "/azureml-run/outputs");
        assert_eq!(by_root.environment["USER"], "uid1234567");
        let container = by_root.container.unwrap();
        assert_eq!(container.user, "1234567:1234567");
        assert_eq!(container.image, "sha256:1");
        assert_eq!(container.labels["trainyard.home"], "/state");

        let elsewhere = launched(Place { knows_submitters: false, ..place(0) });
        assert_eq!(elsewhere.container.unwrap().user, "0:0");

        let by_its_own = launched(place(1000));
        assert_eq!(by_its_own.environment["USER"], "ana");
        assert_eq!(by_its_own.container.unwrap().user, "1000:1000");
    }

    #[test]
    fn limits_are_the_containers_or_the_processs() {
        let environment = prepared();
        let mut request = request(Digest::of(b"source"));
        request.resources.pids = Some(7);
        let contained = contained(&request, &environment);
        let row = row(request);
        let ruled = (&row, RULER, &SandboxRules::default());

        let inside = launch(ruled, &place(0), &environment, Some(contained), Vec::new());
        let outside = launch(ruled, &place(0), &environment, None, Vec::new());

        assert_eq!((inside.limits, inside.container.unwrap().pids), (None, Some(7)));
        assert_eq!((outside.limits.unwrap().pids, outside.container), (Some(7), None));
    }

    #[test]
    fn a_line_is_never_part_of_our_own_text() {
        let mut request = request(Digest::of(b"source"));
        request.script = None;
        request.command =
            Some("printf '<%s>' \"$0\" \"$@\"; [[ -n x ]] 2>/dev/null; echo $?".to_owned());
        request.arguments = vec!["a b".to_owned(), "'; echo no".to_owned(), String::new()];

        let program = program(&request, &prepared(), None);

        assert_eq!(program[..4], ["/bin/sh", "-c", SHELL_OF_IMAGE, "sh"]);
        let said = Command::new(&program[0]).args(&program[1..]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said, "<sh><a b><'; echo no><>0\n");
        // Where there is no bash, sh does it.
        let plain = Command::new(&program[0]).args(&program[1..]).env("PATH", "/nowhere").output();
        assert!(plain.unwrap().stdout.starts_with(b"<sh><a b><'; echo no><>"));
    }

    #[test]
    fn a_container_that_may_not_be_is_refused() {
        let mut request = request(Digest::of(b"source"));
        let arguments = vec!["--privileged".to_owned()];
        request.container = Some(ContainerOptions { arguments, shm_bytes: None });

        let refused = plan(&request, &ContainerPolicy::default()).unwrap_err();
        let refused = NoContainer::from(refused);

        assert!(refused.to_string().starts_with("--privileged"), "{refused}");
        assert!(refused.hint().is_some());
    }
}
