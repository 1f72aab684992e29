//! What the agent reads of the settings when it starts.

use images::builder::BuildSettings;
use runner::container::ContainerPolicy;

use super::{Key, Settings};

impl Settings {
    /// Returns the `[build]` section.
    pub(crate) fn build_settings(&self) -> BuildSettings {
        BuildSettings {
            ca_bundle: self.path(Key::BuildCaBundle),
            index_settings: self.text(Key::BuildIndexSettings).as_deref() != Some("false"),
            network: self.text(Key::BuildNetwork).unwrap_or_default(),
            max_bytes: self.number(Key::EnvironmentsMaxBytes),
        }
    }

    /// Returns what containers may have of the machine.
    pub(crate) fn container_policy(&self) -> ContainerPolicy {
        ContainerPolicy { allowed: self.list(Key::DockerAllow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Files;

    #[test]
    fn the_machines_file_says_what_builds_and_containers_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("config.toml");
        std::fs::write(
            &system,
            "[build]\nca-bundle = 'ca.pem'\nindex-settings = false\nnetwork = 'none'\n\
             [environments]\nmax-bytes = '5 GiB'\n[docker]\nallow = ['--privileged', '--volume=/data']\n",
        )
        .unwrap();
        let project = dir.path().join("none.toml");
        let files = Files { project, user: None, system };
        let settings = Settings::load(&files, |_| None).unwrap();

        let build = BuildSettings {
            ca_bundle: Some(dir.path().join("ca.pem")),
            index_settings: false,
            network: "none".to_owned(),
            max_bytes: Some(5 << 30),
        };
        assert_eq!(settings.build_settings(), build);
        assert_eq!(settings.container_policy().allowed, ["--privileged", "--volume=/data"]);

        let nothing = Settings::default();
        assert_eq!(nothing.build_settings(), BuildSettings::default());
        assert_eq!(nothing.container_policy(), ContainerPolicy::default());
    }
}
