//! What a container keeps its run to, in words. Pure.

use super::{ContainerLaunch, ContainerPlan, TEMPORARY, WORKING_DIRECTORY};
use crate::run_configuration::size::print_bytes;

/// Something that a run in a container is kept to: what of, and to what.
pub type Bound = (&'static str, String);

impl ContainerPlan {
    /// Says what it is kept to by its engine. Whose it is is known when it is handed in.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        self.launch.bounds()
    }
}

impl ContainerLaunch {
    /// Says what it is kept to by its engine.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bound> {
        let files =
            format!("its image, and of the run {WORKING_DIRECTORY} and {TEMPORARY}, to be changed");
        let own = |given: &Option<String>| given.clone().unwrap_or_else(|| "its own".to_owned());
        let mut bounds = vec![("files", files)];
        bounds.extend(self.read_only.then(|| ("image", "to be read only".to_owned())));
        bounds.extend(self.mounts.iter().map(|mount| {
            let how = if mount.read_only { "to be read" } else { "to be changed" };
            ("mount", format!("{} at {}, {how}", mount.source.display(), mount.target))
        }));
        bounds.push((
            "user",
            match self.user.as_str() {
                "" => "whoever hands it in".to_owned(),
                user => user.to_owned(),
            },
        ));
        bounds.extend([
            ("privileges", self.privileges()),
            ("processes", own(&self.pid)),
            ("ipc", own(&self.ipc)),
            ("devices", self.machine_devices()),
            ("network", self.reach()),
        ]);
        bounds.extend(self.limits());
        bounds
    }

    fn privileges(&self) -> String {
        if self.privileged {
            return "all of the machine: --privileged".to_owned();
        }
        let mut text = "the engine's filter of system calls, no capabilities".to_owned();
        if !self.capabilities.is_empty() {
            text += &format!(" but {}", self.capabilities.join(", "));
        }
        text += ", and none to be gained";
        if !self.security_options.is_empty() {
            text += &format!("; but {}", self.security_options.join(", "));
        }
        text
    }

    fn machine_devices(&self) -> String {
        let given: Vec<_> = self.devices.iter().chain(&self.gpus).map(String::as_str).collect();
        match (self.privileged, given.as_slice()) {
            (true, _) => "all of the machine's: --privileged".to_owned(),
            (false, []) => "none of the machine's".to_owned(),
            (false, given) => format!("of the machine's {}", given.join(", ")),
        }
    }

    fn reach(&self) -> String {
        match self.network.as_str() {
            "none" => "a loopback of its own, and nothing else".to_owned(),
            "host" => "the machine's own".to_owned(),
            "bridge" => {
                "the engine's network bridge, without the addresses of links, where clouds \
                         give credentials"
                    .to_owned()
            }
            network => format!("the engine's network {network}"),
        }
    }

    fn limits(&self) -> impl Iterator<Item = Bound> {
        let bytes = |bytes: Option<u64>| bytes.map(print_bytes);
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let known = [
            ("memory", bytes(self.memory_bytes)),
            ("cpus", self.cpus.map(|cpus| cpus.to_string())),
            ("cores", self.cpuset.clone()),
            ("pids", number(self.pids)),
            ("shm-size", bytes(self.shm_bytes)),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
mod tests {
    use crate::container::{ContainerOptions, ContainerPolicy, ContainerRequest, plan};
    use crate::run_configuration::{Network, Resources};

    #[test]
    fn what_a_container_is_kept_to_is_told_a_line_each() {
        let told = |arguments: &[&str], network| {
            let allowed = ["--privileged", "--cap-add=SYS_PTRACE", "--device=/dev/fuse"];
            let options = ContainerOptions {
                arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
                shm_bytes: None,
            };
            let planned = plan(&ContainerRequest {
                options: &options,
                resources: &Resources { memory_bytes: Some(1 << 30), ..Resources::default() },
                network,
                policy: &ContainerPolicy { allowed: allowed.map(str::to_owned).to_vec() },
            });
            let bounds = planned.unwrap().bounds();
            bounds.iter().map(|(name, text)| format!("{name:11}{text}\n")).collect::<String>()
        };

        let plain = told(&[], Network::None);
        let more = told(
            &["--read-only", "-v", "/data:/in:ro", "--cap-add=SYS_PTRACE", "--device=/dev/fuse"],
            Network::Full,
        );
        let all = told(&["--privileged"], Network::Full);
        insta::assert_snapshot!([plain, more, all].join("\n"));
    }
}
