//! The container engine: whether it is there, ours to use, and what it can do.

use std::os::unix::fs::FileTypeExt as _;

use images::engine::{Engine, EngineError, EngineFacts, EngineOrigin, EnginePlace};
use images::host::HostVariables;

use super::{Finding, checks};

const NAME: &str = "containers";

/// Looks for the engine and asks it what it can do.
pub(super) fn look() -> Vec<Finding> {
    let has_driver = checks::on_path("nvidia-smi").is_some();
    let variables = HostVariables::new(std::env::vars_os());
    let place = match EnginePlace::find(&variables) {
        Ok(place) => place,
        Err(error) => return vec![unusable(&error, None)],
    };
    match Engine::connect(&variables) {
        Ok(engine) => capable(engine.facts(), place.origin(), has_driver),
        Err(error) => vec![unusable(&error, Some(place.origin()))],
    }
}

/// Says why there is none; `origin` is who said where to look.
fn unusable(error: &EngineError, origin: Option<&EngineOrigin>) -> Finding {
    let advice = match error {
        EngineError::NotFound { address } if is_there(address) => {
            "its socket is there, and nobody listens: start Docker (`sudo systemctl start docker`, \
             rootless `systemctl --user start docker`)"
                .to_owned()
        }
        // Whoever named none may not want one.
        EngineError::NotFound { .. } if origin == Some(&EngineOrigin::Usual) => {
            "optional: install and start Docker; only environments that are images need it"
                .to_owned()
        }
        error => error.hint().unwrap_or_else(|| "look at the engine's own log".to_owned()),
    };
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let origin = origin.map(|origin| format!(" ({origin})"));
    let found = format!("{error}{}{}", cause.unwrap_or_default(), origin.unwrap_or_default());
    Finding::missing(NAME, found, advice)
}

/// Says whether an engine that does not answer has left its socket.
fn is_there(address: &str) -> bool {
    let path = address.strip_prefix("unix://").map(std::path::Path::new);
    path.and_then(|path| path.metadata().ok()).is_some_and(|found| found.file_type().is_socket())
}

/// Says what an engine can do; `has_driver` is whether this machine has NVIDIA's.
fn capable(facts: &EngineFacts, origin: &EngineOrigin, has_driver: bool) -> Vec<Finding> {
    let EngineFacts { name, version, api_version, address, platform, .. } = facts;
    let root = if facts.rootless { "without root" } else { "as root" };
    let mut findings = vec![Finding::good(
        NAME,
        format!("{name} {version} {root} at {address}, {origin} (API {api_version}, {platform})"),
    )];
    findings.push(if facts.live_restore {
        Finding::good("engine restarts", "containers go on (live-restore)")
    } else {
        Finding::missing(
            "engine restarts",
            "end the runs in containers: live-restore is off",
            "optional: \"live-restore\": true in /etc/docker/daemon.json, then reload the engine",
        )
    });
    if !facts.init {
        findings.push(Finding::missing(
            "init process",
            "the engine has none to put before a container's own: processes that end are not reaped",
            "install docker-init (package tini or docker.io)",
        ));
    }
    findings.push(match (facts.gpus, has_driver) {
        (true, _) => Finding::good("GPUs", "the engine gives them to containers"),
        (false, true) => Finding::missing(
            "GPUs",
            "this machine has NVIDIA's driver, and the engine cannot give GPUs to containers",
            "install nvidia-container-toolkit and restart the engine",
        ),
        (false, false) => Finding::good("GPUs", "none on this machine; --gpus is refused"),
    });
    findings.push(limits(facts));
    findings
}

fn limits(facts: &EngineFacts) -> Finding {
    const NAME: &str = "engine limits";
    let cgroups = format!("cgroups of version {}", facts.cgroup_version);
    let lost = facts.limits.lost();
    if lost.is_empty() {
        return Finding::good(NAME, cgroups);
    }
    let advice = match (facts.rootless, facts.cgroup_version) {
        (true, 1) => {
            "boot with cgroups of version 2 (systemd.unified_cgroup_hierarchy=1): an engine without \
             root limits nothing on version 1"
        }
        (true, _) => "have systemd give its user the controllers cpu, cpuset, memory and pids",
        (false, _) => "mount the cgroup controllers that are missing and restart the engine",
    };
    Finding::missing(NAME, format!("none on {} ({cgroups})", lost.join(", ")), advice)
}

#[cfg(test)]
mod tests {
    use images::engine::EngineLimits;

    use super::*;

    fn facts() -> EngineFacts {
        EngineFacts {
            address: "unix:///var/run/docker.sock".to_owned(),
            name: "Docker".to_owned(),
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            rootless: false,
            live_restore: false,
            gpus: false,
            init: true,
            cgroup_version: 1,
            limits: EngineLimits::ALL,
            owner: Some(0),
        }
    }

    fn told(findings: &[Finding]) -> String {
        let line = |finding: &Finding| {
            let advice = finding.advice.as_ref().map(|advice| format!("\n  → {advice}"));
            format!("{}: {}{}", finding.name, finding.found, advice.unwrap_or_default())
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_engine_is_told_with_what_it_lacks_and_what_to_do() {
        insta::assert_snapshot!(told(&capable(&facts(), &EngineOrigin::Usual, true)), @r#"
        containers: Docker 20.10.24 as root at unix:///var/run/docker.sock, one of the usual sockets (API 1.41, linux/amd64)
        engine restarts: end the runs in containers: live-restore is off
          → optional: "live-restore": true in /etc/docker/daemon.json, then reload the engine
        GPUs: this machine has NVIDIA's driver, and the engine cannot give GPUs to containers
          → install nvidia-container-toolkit and restart the engine
        engine limits: cgroups of version 1
        "#);
        let limits = EngineLimits { memory: false, cpus: false, cpuset: false, pids: false };
        let poor = EngineFacts { init: false, rootless: true, limits, ..facts() };
        insta::assert_snapshot!(told(&capable(&poor, &EngineOrigin::Variable, false)), @r#"
        containers: Docker 20.10.24 without root at unix:///var/run/docker.sock, named by DOCKER_HOST (API 1.41, linux/amd64)
        engine restarts: end the runs in containers: live-restore is off
          → optional: "live-restore": true in /etc/docker/daemon.json, then reload the engine
        init process: the engine has none to put before a container's own: processes that end are not reaped
          → install docker-init (package tini or docker.io)
        GPUs: none on this machine; --gpus is refused
        engine limits: none on memory, processor time, which processors, processes (cgroups of version 1)
          → boot with cgroups of version 2 (systemd.unified_cgroup_hierarchy=1): an engine without root limits nothing on version 1
        "#);
    }

    #[test]
    fn an_engine_that_cannot_be_used_is_told_with_what_to_do() {
        let address = || "unix:///var/run/docker.sock".to_owned();
        let errors = [
            EngineError::NotFound { address: address() },
            EngineError::NotPermitted { address: address() },
            EngineError::TooOld { address: address(), found: "1.30".to_owned(), needed: "1.40" },
        ];
        for error in errors {
            let finding = unusable(&error, Some(&EngineOrigin::Variable));
            assert!(finding.advice.is_some_and(|advice| !advice.is_empty()), "{error}");
        }
    }

    #[test]
    fn one_that_is_stopped_is_told_from_one_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let advice = |path: &std::path::Path, origin| {
            let address = format!("unix://{}", path.display());
            unusable(&EngineError::NotFound { address }, Some(&origin)).advice.unwrap()
        };
        assert!(advice(&socket, EngineOrigin::Usual).contains("nobody listens"));
        let missing = directory.path().join("missing");
        assert!(advice(&missing, EngineOrigin::Usual).starts_with("optional: install"));
        assert!(advice(&missing, EngineOrigin::Variable).contains("DOCKER_HOST"));
    }
}
