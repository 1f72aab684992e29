//! What the agent reads of the settings when it starts.

use std::time::Duration;

use images::builder::BuildSettings;
use runner::container::ContainerPolicy;
use runner::run_configuration::duration::parse_seconds;
use runner::sandbox::policy::InvalidMount;

use super::{KEYS, Key, Origin, Setting, Settings};
use crate::agent::UserPolicy;
use crate::disk::shortage::DiskPolicy;
use crate::listen::ListenPolicy;
use crate::quota::QuotaPolicy;
use crate::run::sandboxing::SandboxRules;
use crate::upkeep::UpkeepPolicy;

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

    /// Returns how runs outside of containers are kept to what they are given.
    ///
    /// # Errors
    ///
    /// A mount is none.
    pub(crate) fn sandbox_rules(&self) -> Result<SandboxRules, InvalidMount> {
        let default = SandboxRules::default();
        let mounts = self.list(Key::SandboxMounts);
        Ok(SandboxRules {
            default: self
                .text(Key::SandboxDefault)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default.default),
            minimum: self
                .text(Key::SandboxMinimum)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default.minimum),
            allow_off: self.text(Key::SandboxAllowOff).as_deref() == Some("true"),
            mounts: mounts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            network: self.text(Key::SandboxNetwork).and_then(|text| text.parse().ok()),
        })
    }

    /// Returns what stays on attached machines.
    pub(crate) fn upkeep_policy(&self) -> UpkeepPolicy {
        let default = UpkeepPolicy::default();
        let keep_runs = self.text(Key::TargetsKeepRuns).and_then(|text| parse_seconds(&text).ok());
        UpkeepPolicy {
            keep_runs: keep_runs.map_or(default.keep_runs, Duration::from_secs),
            max_bytes: self.number(Key::TargetsMaxBytes).unwrap_or(default.max_bytes),
        }
    }

    /// Returns what the agent may take of the disk.
    pub(crate) fn disk_policy(&self) -> DiskPolicy {
        let default = DiskPolicy::default();
        DiskPolicy {
            min_free: self.number(Key::DiskMinFree).unwrap_or(default.min_free),
            max_objects: self.number(Key::DiskMaxObjects),
            max_environments: self.number(Key::EnvironmentsMaxBytes),
            max_runs: self.number(Key::RunsMaxBytes),
            max_logs: self.number(Key::LogsMaxBytes),
        }
    }

    /// Forgets where the machine's file says to listen; says whether it did. That is for the
    /// machine's service, whose port agents of users' own would take.
    pub(crate) fn forget_where_the_service_listens(&mut self) -> bool {
        let keys = KEYS.iter().filter(|definition| definition.name.starts_with("listen."));
        let of_machine = |setting: &Setting| matches!(&setting.origin, Origin::File { path, .. } if *path == self.system);
        let keys: Vec<_> = keys
            .map(|definition| definition.key)
            .filter(|key| self.made.get(key).is_some_and(of_machine))
            .collect();
        keys.iter().for_each(|key| drop(self.made.remove(key)));
        keys.contains(&Key::ListenAddress)
    }

    /// Returns where the agent listens on TCP, if anywhere. The address was checked when it was read.
    pub(crate) fn listen_policy(&self) -> Option<ListenPolicy> {
        let connections = self.number(Key::ListenConnections).unwrap_or_default();
        Some(ListenPolicy {
            address: self.text(Key::ListenAddress)?.parse().ok()?,
            certificate: self.path(Key::ListenCertificate),
            key: self.path(Key::ListenKeyFile),
            hosts: self.list(Key::ListenHosts),
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
        })
    }

    /// Returns who rules the agent, and what its users may have.
    pub(crate) fn user_policy(&self) -> UserPolicy {
        let quota = QuotaPolicy {
            max_runs: self.number(Key::UsersMaxRuns),
            max_bytes: self.number(Key::UsersMaxBytes),
        };
        UserPolicy { admin_group: self.text(Key::UsersAdminGroup).unwrap_or_default(), quota }
    }
}

#[cfg(test)]
mod tests {
    use runner::run_configuration::Network;
    use runner::sandbox::policy::{SandboxMode, Tier};

    use super::*;
    use crate::config::Files;

    #[test]
    fn the_machines_file_says_what_builds_and_containers_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("config.toml");
        std::fs::write(
            &system,
            "[build]\nca-bundle = 'ca.pem'\nindex-settings = false\nnetwork = 'none'\n\
             [environments]\nmax-bytes = '5 GiB'\n[docker]\nallow = ['--privileged', '--volume=/data']\n\
             [targets]\nkeep-runs = '2d'\nmax-bytes = '1 GiB'\n\
             [disk]\nmin-free = '3 GiB'\nmax-objects = '4 GiB'\n\
             [runs]\nmax-bytes = '6 GiB'\n[logs]\nmax-bytes = '1 GiB'\n\
             [users]\nadmin-group = 'ops'\nmax-runs = 20\nmax-bytes = '5 GiB'\n\
             [sandbox]\ndefault = 'strict'\nminimum = 'full'\nallow-off = true\nmounts = ['/data:rw']\nnetwork = 'none'\n\
             [listen]\naddress = '[::]:8443'\ncertificate = 'c.pem'\nkey = '/k.pem'\nhosts = ['x']\n",
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
        let two_days = Duration::from_secs(2 * 24 * 60 * 60);
        let upkeep = UpkeepPolicy { keep_runs: two_days, max_bytes: 1 << 30 };
        assert_eq!(settings.upkeep_policy(), upkeep);

        let disk = DiskPolicy {
            min_free: 3 << 30,
            max_objects: Some(4 << 30),
            max_environments: Some(5 << 30),
            max_runs: Some(6 << 30),
            max_logs: Some(1 << 30),
        };
        assert_eq!(settings.disk_policy(), disk);
        let quota = QuotaPolicy { max_runs: Some(20), max_bytes: Some(5 << 30) };
        assert_eq!(settings.user_policy(), UserPolicy { admin_group: "ops".to_owned(), quota });
        let listen = ListenPolicy {
            address: "[::]:8443".parse().unwrap(),
            certificate: Some(dir.path().join("c.pem")),
            key: Some("/k.pem".into()),
            hosts: vec!["x".to_owned()],
            connections: 256,
        };
        assert_eq!(settings.listen_policy(), Some(listen));
        let mut of_a_user = settings.clone();
        assert!(of_a_user.forget_where_the_service_listens());
        assert_eq!(of_a_user.listen_policy(), None);
        assert!(!of_a_user.forget_where_the_service_listens());
        let own = |name: &str| (name == "TRAINYARD_LISTEN_ADDRESS").then(|| "[::1]:1".into());
        let mut own = Settings::load(&files, own).unwrap();
        assert!(!own.forget_where_the_service_listens(), "a user says where their own listens");
        let own = own.listen_policy().unwrap();
        assert_eq!((own.address, own.certificate), ("[::1]:1".parse().unwrap(), None));

        let sandbox = SandboxRules {
            default: SandboxMode::Strict,
            minimum: Tier::Full,
            allow_off: true,
            mounts: vec!["/data:rw".parse().unwrap()],
            network: Some(Network::None),
        };
        assert_eq!(settings.sandbox_rules(), Ok(sandbox));

        let nothing = Settings::default();
        assert_eq!(nothing.listen_policy(), None);
        assert_eq!(nothing.sandbox_rules(), Ok(SandboxRules::default()), "as the table says");
        assert_eq!(nothing.disk_policy(), DiskPolicy::default(), "as the table says");
        assert_eq!(nothing.user_policy(), UserPolicy::default());
        assert_eq!(nothing.build_settings(), BuildSettings::default());
        assert_eq!(nothing.container_policy(), ContainerPolicy::default());
        assert_eq!(nothing.upkeep_policy(), UpkeepPolicy::default(), "as the table says");
    }
}
