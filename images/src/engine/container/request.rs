//! What the engine is asked for: a container as its API writes it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig,
    Mount as BindMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits,
};

use super::{ContainerSpec, Mount};

const NANO: f64 = 1e9;

/// Returns the request. `init`: whether the engine has an init process at all.
pub(super) fn body(spec: &ContainerSpec, init: bool) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: spec.hostname.clone(),
        user: Some(spec.user.clone()),
        env: Some(spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        entrypoint: Some(spec.entrypoint.clone()),
        cmd: Some(spec.command.clone()),
        working_dir: Some(spec.working_directory.clone()),
        labels: Some(hash_map(&spec.labels)),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        open_stdin: Some(false),
        tty: Some(false),
        host_config: Some(host_config(spec, init)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(spec: &ContainerSpec, init: bool) -> HostConfig {
    let memory = spec.memory_bytes.map(integer);
    HostConfig {
        // Memory and swap together: equal to the memory, there is no swap.
        memory_swap: spec.memory_and_swap_bytes.map(integer).or(memory),
        memory,
        nano_cpus: spec.cpus.map(nano_cpus),
        cpuset_cpus: spec.cpuset.clone(),
        pids_limit: spec.pids.map(integer),
        shm_size: spec.shm_bytes.map(integer),
        ulimits: Some(spec.ulimits.iter().map(ulimit).collect()),
        devices: Some(spec.devices.iter().map(|path| device(path)).collect()),
        device_requests: gpus(&spec.gpus),
        mounts: Some(spec.mounts.iter().map(bind).collect()),
        tmpfs: Some(hash_map(&spec.tmpfs)),
        network_mode: Some(spec.network.clone()),
        extra_hosts: Some(spec.extra_hosts.clone()),
        ipc_mode: spec.ipc.clone(),
        pid_mode: spec.pid.clone(),
        readonly_rootfs: Some(spec.read_only),
        init: Some(spec.init && init),
        privileged: Some(spec.privileged),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.capabilities.clone()),
        security_opt: Some(security_options(spec)),
        // Output comes through pipes of ours: the engine need not keep it too.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        // We remove it, once we know how it ended.
        auto_remove: Some(false),
        ..HostConfig::default()
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    if spec.security_options.is_empty() {
        return vec!["no-new-privileges".to_owned()];
    }
    spec.security_options.clone()
}

/// A bind mount of the kind that refuses a source that is not there; the older kind makes an empty
/// directory of root's.
fn bind(mount: &Mount) -> BindMount {
    BindMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::PRIVATE),
            ..MountBindOptions::default()
        }),
        ..BindMount::default()
    }
}

/// By UUID: numbers mean something else on every reboot. Without GPUs nothing is said of them.
fn gpus(uuids: &[String]) -> Option<Vec<DeviceRequest>> {
    if uuids.is_empty() {
        return None;
    }
    Some(vec![DeviceRequest {
        driver: Some("nvidia".to_owned()),
        device_ids: Some(uuids.to_vec()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }])
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".to_owned()),
    }
}

fn ulimit((name, soft, hard): &(String, i64, i64)) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.clone()), soft: Some(*soft), hard: Some(*hard) }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float saturates, and no machine is that big"
)]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * NANO).round() as i64
}

fn hash_map(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_asked_for_by_uuid_and_only_where_there_are_some() {
        let mut spec = ContainerSpec::default();
        assert_eq!(host_config(&spec, true).device_requests, None);
        spec.gpus = vec!["GPU-1".to_owned(), "GPU-2".to_owned()];
        let request = host_config(&spec, true).device_requests.unwrap().remove(0);
        assert_eq!(request.device_ids, Some(spec.gpus));
        assert_eq!((request.driver.as_deref(), request.count), (Some("nvidia"), None));
    }

    #[test]
    fn nothing_is_open_by_default() {
        let host = host_config(&ContainerSpec { init: true, ..ContainerSpec::default() }, true);
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(
            (host.privileged, host.init, host.auto_remove),
            (Some(false), Some(true), Some(false))
        );
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("none"));
        let without = ContainerSpec { init: true, ..ContainerSpec::default() };
        assert_eq!(host_config(&without, false).init, Some(false));
    }

    #[test]
    fn numbers_are_those_of_the_api() {
        let mut spec = ContainerSpec {
            cpus: Some(1.5),
            memory_bytes: Some(100),
            pids: Some(u64::MAX),
            ..ContainerSpec::default()
        };
        let host = host_config(&spec, true);
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(i64::MAX)));
        assert_eq!((host.memory, host.memory_swap), (Some(100), Some(100)));
        spec.memory_and_swap_bytes = Some(300);
        assert_eq!(host_config(&spec, true).memory_swap, Some(300));
        assert_eq!(host_config(&ContainerSpec::default(), true).memory_swap, None);
    }
}
