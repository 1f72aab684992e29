//! Applies options to a container, one after the other. Pure.

use std::collections::BTreeMap;

use super::arguments::Given;
use super::mounts::{self, Added};
use super::table::Rule;
use super::{ContainerLaunch, ContainerPolicy, ContainerRefused, Ulimit};
use crate::gpu;
use crate::run_configuration::size::parse_bytes;

/// What the arguments come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) launch: ContainerLaunch,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) gpus: Option<u32>,
    pub(super) network: Option<String>,
    pub(super) notes: Vec<String>,
}

impl Settings {
    /// Applies one option; of two that contradict each other the later counts, as in Docker.
    pub(super) fn apply(
        &mut self,
        given: &Given,
        policy: &ContainerPolicy,
    ) -> Result<(), ContainerRefused> {
        let (name, value) = (given.known.name, given.value.as_str());
        // What a flag that is switched off would have done is not done.
        let off = given.known.flag && value == "false";
        match given.known.rule {
            Rule::Taken => self.take(given, policy),
            _ if off => Ok(()),
            Rule::Passed(why) => {
                self.notes.push(format!("{name} is left out: {why}"));
                Ok(())
            }
            Rule::Guarded(..) if policy.allows(name, value) => self.allow(given),
            Rule::Guarded(why, hint) => {
                Err(given.refuse(why, format!("{hint}; {}", allowing(name))))
            }
            Rule::Refused(why, hint) => Err(given.refuse(why, hint)),
        }
    }

    fn take(&mut self, given: &Given, policy: &ContainerPolicy) -> Result<(), ContainerRefused> {
        let (name, value) = (given.known.name, given.value.as_str());
        let text = || value.to_owned();
        let launch = &mut self.launch;
        match name {
            "--add-host" => launch.extra_hosts.push(extra_host(given)?),
            "--cpus" => launch.cpus = Some(cores(given)?),
            "--cpuset-cpus" => launch.cpuset = Some(core_list(given)?),
            "--env" => {
                let (name, value) = variable(given)?;
                self.environment.insert(name, value);
            }
            "--gpus" => self.gpus = Some(gpus(given)?),
            "--hostname" => launch.hostname = Some(hostname(given)?),
            "--init" => launch.init = value == "true",
            "--memory" => launch.memory_bytes = Some(size(given)?),
            "--memory-swap" if value == "-1" => {
                self.notes.push("--memory-swap -1 is left out: swap stays limited".to_owned());
            }
            "--memory-swap" => launch.memory_and_swap_bytes = Some(size(given)?),
            "--network" | "--net" => self.network = Some(network(given, policy)?),
            "--ipc" => launch.ipc = namespace(given, policy, &["private", "none"])?,
            "--pid" => launch.pid = namespace(given, policy, &["private"])?,
            "--pids-limit" => launch.pids = Some(count(given)?),
            "--platform" => launch.platform = Some(text()),
            "--read-only" => launch.read_only = value == "true",
            "--shm-size" => launch.shm_bytes = Some(size(given)?),
            "--ulimit" => launch.ulimits.push(ulimit(given)?),
            "--volume" => self.add(mounts::volume(given, policy)?),
            "--mount" => self.add(mounts::mount(given, policy)?),
            "--tmpfs" => self.add(mounts::tmpfs(given)?),
            _ => return Err(given.refuse("it is not supported", "leave it out")),
        }
        Ok(())
    }

    fn add(&mut self, added: Added) {
        match added {
            Added::Mount(mount) => self.launch.mounts.push(mount),
            Added::Memory(target, options) => drop(self.launch.tmpfs.insert(target, options)),
        }
    }

    /// Applies what the administrator allowed by name.
    fn allow(&mut self, given: &Given) -> Result<(), ContainerRefused> {
        let value = given.value.clone();
        let launch = &mut self.launch;
        match given.known.name {
            "--cap-add" => launch.capabilities.push(value),
            "--device" => launch.devices.push(value),
            "--privileged" => launch.privileged = true,
            "--security-opt" => launch.security_options.push(value),
            "--user" => launch.user = value,
            _ => return Err(given.refuse("it is not supported", "leave it out")),
        }
        self.notes.push(format!("{given} is allowed by the agent's configuration"));
        Ok(())
    }
}

fn allowing(entry: &str) -> String {
    format!("an administrator can allow it with \"{entry}\" under [docker] allow")
}

fn cores(given: &Given) -> Result<f64, ContainerRefused> {
    let cores = given.value.parse().ok().filter(|cores: &f64| cores.is_finite() && *cores > 0.0);
    cores.ok_or_else(|| given.refuse("it is no number of cores", "write --cpus=1.5"))
}

fn core_list(given: &Given) -> Result<String, ContainerRefused> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = |text: &str| {
        text.split_once('-').map_or_else(|| number(text), |(a, b)| number(a) && number(b))
    };
    if given.value.split(',').all(range) {
        return Ok(given.value.clone());
    }
    Err(given.refuse("it is no list of cores", "write --cpuset-cpus=0-3,8"))
}

fn count(given: &Given) -> Result<u64, ContainerRefused> {
    let count = given.value.parse().ok().filter(|&count: &u64| count > 0);
    count.ok_or_else(|| given.refuse("it is no number above zero", "write --pids-limit=4096"))
}

fn size(given: &Given) -> Result<u64, ContainerRefused> {
    let bytes = parse_bytes(&given.value).ok().filter(|&bytes| bytes > 0);
    let name = given.known.name;
    bytes.ok_or_else(|| given.refuse("it is no size", format!("write {name}=512m or {name}=2g")))
}

fn gpus(given: &Given) -> Result<u32, ContainerRefused> {
    if given.value == "all" {
        return Ok(gpu::ALL);
    }
    given
        .value
        .parse()
        .map_err(|_| given.refuse("GPUs are asked for by number", "write --gpus=1 or --gpus=all"))
}

fn hostname(given: &Given) -> Result<String, ContainerRefused> {
    let name = &given.value;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) && !name.starts_with('-') {
        return Ok(name.clone());
    }
    Err(given.refuse("it is no host name", "use letters, digits, dots and dashes"))
}

fn extra_host(given: &Given) -> Result<String, ContainerRefused> {
    if let Some((name, address)) = given.value.split_once([':', '='])
        && !name.is_empty()
        && (address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok())
    {
        return Ok(format!("{name}:{address}"));
    }
    Err(given.refuse("it is not NAME:ADDRESS", "write --add-host=db:192.0.2.7"))
}

fn variable(given: &Given) -> Result<(String, String), ContainerRefused> {
    match given.value.split_once('=') {
        Some((name, value)) if !name.is_empty() && !given.value.contains('\0') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(given.refuse(
            "a variable without a value would be taken from the agent's own environment",
            format!("write --env={}=VALUE", given.value.trim_start_matches('=')),
        )),
    }
}

/// Reads `NAME=SOFT[:HARD]`.
fn ulimit(given: &Given) -> Result<Ulimit, ContainerRefused> {
    let limit = |text: &str| text.parse().ok().filter(|&limit: &i64| limit >= -1);
    let parsed = given.value.split_once('=').and_then(|(name, limits)| {
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let known = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        known.then(|| Ulimit { name: name.to_owned(), soft, hard })
    });
    parsed.ok_or_else(|| given.refuse("it is no limit", "write --ulimit=nofile=1024:4096"))
}

fn network(given: &Given, policy: &ContainerPolicy) -> Result<String, ContainerRefused> {
    match given.value.as_str() {
        name @ ("none" | "bridge") => Ok(name.to_owned()),
        "default" => Ok("bridge".to_owned()),
        name if policy.allows("--network", name) => Ok(name.to_owned()),
        name => Err(given.refuse(
            "it lets the container reach what only the machine or others should",
            format!("use bridge or none; {}", allowing(&format!("--network={name}"))),
        )),
    }
}

fn namespace(
    given: &Given,
    policy: &ContainerPolicy,
    harmless: &[&str],
) -> Result<Option<String>, ContainerRefused> {
    let (name, value) = (given.known.name, given.value.as_str());
    if harmless.contains(&value) {
        return Ok(None);
    }
    if policy.allows(name, value) {
        return Ok(Some(value.to_owned()));
    }
    let instead = match name {
        "--ipc" => "for more shared memory ask for --shm-size=8g",
        _ => "leave it out",
    };
    Err(given.refuse(
        "it lets the container reach other processes of the machine",
        format!("{instead}; {}", allowing(&format!("{name}={value}"))),
    ))
}
