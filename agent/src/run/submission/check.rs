//! Whether what was handed in can be carried out at all. Pure.

use std::path::{Component, Path};
use std::time::Duration;

use images::environment::{DockerEnvironment, Environment};
use runner::container::ContainerPolicy;
use runner::run_configuration::{self, RunConfiguration};
use runner::run_id::sanitise_experiment;

use super::Refused;
use crate::api::wire::submission::SubmitRequest;
use crate::run::launching;

const LONGEST_NAME: usize = 255;

pub(super) fn invalid(message: impl Into<String>) -> Refused {
    Refused::Invalid { message: message.into() }
}

/// Checks what was asked; `policy` is what the administrator lets containers have.
pub(super) fn check(request: &SubmitRequest, policy: &ContainerPolicy) -> Result<(), Refused> {
    if request.experiment != sanitise_experiment(&request.experiment) {
        return Err(invalid(format!(
            "experiment {:?} must be letters, digits, `_` and `-`, and start with a letter or digit",
            request.experiment
        )));
    }
    let name_fits = |name: &str| {
        !name.trim().is_empty()
            && name.len() <= LONGEST_NAME
            && !name.contains(char::is_control)
            && name != "@"
    };
    if let Some(name) = &request.display_name
        && !name_fits(name)
    {
        return Err(invalid(format!(
            "display name {name:?} must be 1 to {LONGEST_NAME} bytes, without control characters"
        )));
    }
    match (&request.script, &request.command) {
        (Some(script), None) => check_script(script)?,
        (None, Some(command)) if !command.trim().is_empty() => {}
        (None, Some(_)) => return Err(invalid("the command is empty")),
        _ => return Err(invalid("a run has either a script or a command")),
    }
    if let Some(retry) = &request.retry {
        retry.check().map_err(|error| invalid(error.to_string()))?;
    }
    request.resources.check().map_err(|error| invalid(error.to_string()))?;
    match &request.environment {
        Environment::Docker { docker } => check_container(request, docker, policy)?,
        _ => check_process(request)?,
    }
    let variables = request.environment_variables.0.iter().chain(&request.secrets.0);
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid(format!("{name:?} cannot be an environment variable")));
        }
    }
    let texts = request.arguments.iter().chain(&request.script).chain(&request.command);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(invalid("arguments cannot hold a NUL character"));
    }
    for (name, seconds) in
        [("timeoutSeconds", request.timeout_seconds), ("graceSeconds", request.grace_seconds)]
    {
        if let Some(seconds) = seconds
            && Duration::try_from_secs_f64(seconds).is_err()
        {
            return Err(invalid(format!("{name} is {seconds}, which is no time")));
        }
    }
    Ok(())
}

/// Checks what is asked of the container a run is to be in.
fn check_container(
    request: &SubmitRequest,
    docker: &DockerEnvironment,
    policy: &ContainerPolicy,
) -> Result<(), Refused> {
    if request.registry_password.is_some() && docker.registry.is_none() {
        return Err(invalid("registryPassword goes with a user in environment.docker.registry"));
    }
    launching::plan(request, policy)?;
    Ok(())
}

/// Checks that a run which is a process of this machine asks for nothing that takes a container.
fn check_process(request: &SubmitRequest) -> Result<(), Refused> {
    for (name, given) in [
        ("container", request.container.is_some()),
        ("registryPassword", request.registry_password.is_some()),
    ] {
        if given {
            return Err(invalid(format!("{name} goes with an environment of kind \"docker\"")));
        }
    }
    let asked =
        RunConfiguration { resources: request.resources.clone(), ..RunConfiguration::default() };
    run_configuration::not_yet(&asked)
        .map_err(|items| Refused::NotYet { message: items.to_string(), hint: items.hint() })
}

fn check_script(script: &str) -> Result<(), Refused> {
    let inside = Path::new(script)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if script.is_empty() || script.starts_with('-') || !inside {
        return Err(invalid(format!("script {script:?} is not a file of the source")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use runner::container::ContainerOptions;
    use runner::run_configuration::{Network, RetryPolicy};
    use snapshots::digest::Digest;

    use super::*;
    use crate::api::wire::submission::Hidden;
    use crate::store::tests::request;

    fn refusal(change: impl FnOnce(&mut SubmitRequest)) -> String {
        let mut request = request(Digest::of(b"source"));
        change(&mut request);
        match check(&request, &ContainerPolicy::default()) {
            Ok(()) => "accepted".to_owned(),
            Err(Refused::NotYet { message, .. }) => message,
            Err(Refused::Container(refused)) => format!("{refused}\n  {}", refused.hint),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn what_takes_a_container_is_refused_without_one() {
        let refusals = [
            refusal(|_| {}),
            refusal(|request| request.container = Some(ContainerOptions::default())),
            refusal(|request| request.registry_password = Some(Hidden("hunter2".to_owned()))),
            refusal(|request| request.resources.memory_bytes = Some(1 << 30)),
            refusal(|request| request.resources.memory_bytes = Some(1)),
            refusal(|request| request.resources.shm_bytes = Some(1 << 30)),
            refusal(|request| request.network = Some(Network::None)),
            refusal(|request| {
                request.retry = Some(RetryPolicy::new(0, Default::default(), None));
            }),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        accepted
        container goes with an environment of kind "docker"
        registryPassword goes with an environment of kind "docker"
        accepted
        1 bytes of memory are too little for a run
        accepted
        accepted
        0 retries are not 1 to 100
        "#);
    }

    #[test]
    fn a_registry_password_needs_its_user() {
        let told = refusal(|request| {
            request.environment = serde_json::from_value(serde_json::json!({
                "kind": "docker",
                "docker": { "base": { "from": "image", "reference": "python:3.11" } },
            }))
            .unwrap();
            request.registry_password = Some(Hidden("hunter2".to_owned()));
        });
        assert_eq!(told, "registryPassword goes with a user in environment.docker.registry");
    }
}
