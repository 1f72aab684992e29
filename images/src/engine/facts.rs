//! What an engine is.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

use super::EngineError;

/// The oldest API that has everything we ask for: that of Docker 19.03, the first with GPUs.
/// BuildKit is in every engine from 18.09 on.
const OLDEST: ApiVersion = ApiVersion(1, 40);
const OLDEST_TEXT: &str = "1.40";

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Where it is spoken to, as `unix:///var/run/docker.sock`.
    pub address: String,
    /// `Docker`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api_version: String,
    /// As `linux/amd64`.
    pub platform: String,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Whether containers survive its restart.
    pub live_restore: bool,
    /// Whether it can give GPUs to containers.
    pub gpus: bool,
    /// Whether it has an init process to put before the container's own.
    pub init: bool,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Which limits of containers it keeps. Others it takes and forgets.
    pub limits: EngineLimits,
    /// The uid of whoever listens at the socket; `None` where that is not known.
    pub owner: Option<u32>,
}

/// Which limits an engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Bytes of memory.
    pub memory: bool,
    /// Processor cores, by their time.
    pub cpus: bool,
    /// Which processor cores.
    pub cpuset: bool,
    /// Processes and threads.
    pub pids: bool,
}

impl EngineLimits {
    /// All of them.
    pub const ALL: Self = Self { memory: true, cpus: true, cpuset: true, pids: true };

    /// Names what it keeps no limit on.
    #[must_use]
    pub fn lost(self) -> Vec<&'static str> {
        let all = [
            (self.memory, "memory"),
            (self.cpus, "processor time"),
            (self.cpuset, "which processors"),
            (self.pids, "processes"),
        ];
        all.into_iter().filter(|(kept, _)| !kept).map(|(_, name)| name).collect()
    }

    /// What an engine does not speak of it keeps.
    fn read(info: &SystemInfo) -> Self {
        let kept = |said: Option<bool>| said != Some(false);
        Self {
            memory: kept(info.memory_limit),
            cpus: kept(info.cpu_cfs_quota),
            cpuset: kept(info.cpu_set),
            pids: kept(info.pids_limit),
        }
    }
}

/// A version of the engine's API, in the order of versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ApiVersion(u32, u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl EngineFacts {
    /// Reads the answers of the engine at `address`.
    pub(super) fn read(
        address: &str,
        version: SystemVersion,
        info: &SystemInfo,
        owner: Option<u32>,
    ) -> Result<Self, EngineError> {
        let api_version = version.api_version.clone().unwrap_or_default();
        let Some(api) = ApiVersion::parse(&api_version) else {
            return Err(EngineError::strange(address, "it does not say which API it speaks"));
        };
        if api < OLDEST {
            return Err(EngineError::TooOld {
                address: address.to_owned(),
                found: api_version,
                needed: OLDEST_TEXT,
            });
        }
        let os = version.os.clone().unwrap_or_default();
        if os != "linux" {
            return Err(EngineError::Unable {
                what: format!("run Linux containers: it is on {os}"),
            });
        }
        Ok(Self {
            address: address.to_owned(),
            name: "Docker".to_owned(),
            version: version.version.unwrap_or_default(),
            api_version,
            platform: format!("{os}/{}", version.arch.unwrap_or_default()),
            rootless: info
                .security_options
                .iter()
                .flatten()
                .any(|option| option.split(',').any(|part| part == "name=rootless")),
            live_restore: info.live_restore_enabled == Some(true),
            gpus: has_gpus(info),
            init: info.init_binary.as_ref().is_some_and(|binary| !binary.is_empty()),
            cgroup_version: match info.cgroup_version {
                Some(SystemInfoCgroupVersionEnum::_2) => 2,
                _ => 1,
            },
            limits: EngineLimits::read(info),
            owner,
        })
    }
}

/// Refuses Podman. Tried with 4.3: a name that is taken is answered as a fault of the engine, 500,
/// so that a repeated create does not find the first; names of images come back longer than they
/// were given; and asking what it is takes seconds.
pub(super) fn refuse_podman(address: &str, version: &SystemVersion) -> Result<(), EngineError> {
    let components = version.components.iter().flatten();
    match components.into_iter().find(|component| component.name == "Podman Engine") {
        None => Ok(()),
        Some(podman) => Err(EngineError::Podman {
            address: address.to_owned(),
            version: podman.version.clone(),
        }),
    }
}

/// NVIDIA's runtime is how its toolkit shows; newer engines list devices.
fn has_gpus(info: &SystemInfo) -> bool {
    let runtime = info.runtimes.as_ref().is_some_and(|all| all.contains_key("nvidia"));
    let device = |id: &String| id.starts_with("nvidia.com/gpu");
    runtime
        || info.discovered_devices.iter().flatten().any(|one| one.id.as_ref().is_some_and(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(api: &str) -> SystemVersion {
        let text = format!(
            r#"{{"Version": "20.10.24", "ApiVersion": "{api}", "Os": "linux", "Arch": "amd64"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn read(version: SystemVersion, info: &str) -> Result<EngineFacts, EngineError> {
        EngineFacts::read("unix:///s", version, &serde_json::from_str(info).unwrap(), Some(7))
    }

    #[test]
    fn a_docker_engine_with_everything() {
        let info = r#"{
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
            "LiveRestoreEnabled": true, "InitBinary": "docker-init", "CgroupVersion": "2",
            "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}}
        }"#;
        let facts = read(version("1.41"), info).unwrap();
        let expected = EngineFacts {
            address: "unix:///s".to_owned(),
            name: "Docker".to_owned(),
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            rootless: true,
            live_restore: true,
            gpus: true,
            init: true,
            cgroup_version: 2,
            limits: EngineLimits::ALL,
            owner: Some(7),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_plain_engine_has_nothing_special() {
        let info = r#"{"Runtimes": {"runc": {"path": "runc"}}, "CgroupVersion": "1"}"#;
        let facts = read(version("1.53"), info).unwrap();
        let special = [facts.rootless, facts.live_restore, facts.gpus, facts.init];
        assert_eq!((special, facts.cgroup_version), ([false; 4], 1));
    }

    #[test]
    fn limits_that_an_engine_does_not_keep_are_known() {
        // As Docker 20.10 without root says it on cgroups of version 1.
        let info = r#"{"MemoryLimit": false, "CpuCfsQuota": false, "CPUSet": false,
            "PidsLimit": false, "CgroupDriver": "none", "CgroupVersion": "1"}"#;
        let none = EngineLimits { memory: false, cpus: false, cpuset: false, pids: false };
        assert_eq!(read(version("1.41"), info).unwrap().limits, none);
        // As on version 2, where a user is given memory and processes only.
        let info = r#"{"MemoryLimit": true, "CpuCfsQuota": false, "CPUSet": false,
            "PidsLimit": true, "CgroupDriver": "systemd", "CgroupVersion": "2"}"#;
        let some = EngineLimits { cpus: false, cpuset: false, ..EngineLimits::ALL };
        assert_eq!(read(version("1.41"), info).unwrap().limits, some);
    }

    #[test]
    fn listed_devices_are_gpus_too() {
        let info = r#"{"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}"#;
        assert!(read(version("1.50"), info).unwrap().gpus);
    }

    #[test]
    fn old_engines_and_others_are_refused() {
        let said = |version| read(version, "{}").unwrap_err().to_string();
        assert_eq!(
            said(version("1.39")),
            "the container engine at unix:///s is too old: it speaks API 1.39, and 1.40 is needed"
        );
        let mut windows = version("1.41");
        windows.os = Some("windows".to_owned());
        assert_eq!(
            said(windows),
            "this container engine cannot run Linux containers: it is on windows"
        );
        assert!(
            said(version("new")).starts_with("what answers at unix:///s is no container engine")
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(ApiVersion::parse("1.9") < ApiVersion::parse("1.40"));
    }
}
