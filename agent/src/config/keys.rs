//! The table of settings.

use std::ffi::OsStr;

use runner::run_configuration::duration::parse_seconds;
use runner::run_configuration::size::parse_bytes;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Where all state lives.
    Home,
    /// The agent's socket.
    Socket,
    /// What new runs belong to.
    Experiment,
    /// Where runs are carried out.
    Target,
    /// What a run's environment is made from.
    Env,
    /// Which Python is used.
    Python,
    /// How long a run may take.
    Timeout,
    /// The largest snapshot.
    MaxBytes,
    /// The most files in a snapshot.
    MaxFiles,
    /// How many runs are on at once.
    MaxRuns,
    /// Which images are used in place of others.
    ImageMap,
    /// What builds in containers trust.
    BuildCaBundle,
    /// Whether builds in containers use this machine's package indexes.
    BuildIndexSettings,
    /// The network of builds in containers.
    BuildNetwork,
    /// How much built environments may take.
    EnvironmentsMaxBytes,
    /// What containers may have of the machine.
    DockerAllow,
    /// Colours.
    Color,
}

/// What may be said for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text that is not empty.
    Text,
    /// A path.
    Path,
    /// A number, with a unit if one likes: `20 GiB`, `500 MB`.
    Number,
    /// A duration.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts, of which none is empty; its value is their JSON.
    List,
    /// Texts by name, each a setting of its own.
    Table,
}

/// Everything known of a key.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The key.
    pub key: Key,
    /// Its name in files; a dot separates table and key.
    pub name: &'static str,
    /// Its environment variable, where a single value says it.
    pub variable: Option<&'static str>,
    /// What may be said.
    pub kind: Kind,
    /// What holds if nobody says anything; none means that the command decides.
    pub default: Option<&'static str>,
    /// Whether a project's own file may set it. Where state is kept and whom one talks to is
    /// never up to a project that was just downloaded.
    pub in_project: bool,
    /// What it is for.
    pub about: &'static str,
}

/// Every setting there is.
pub(crate) const KEYS: &[Definition] = &[
    Definition {
        key: Key::Home,
        name: "home",
        variable: Some("TRAINYARD_HOME"),
        kind: Kind::Path,
        default: None,
        in_project: false,
        about: "directory of all state; default $XDG_STATE_HOME/trainyard",
    },
    Definition {
        key: Key::Socket,
        name: "socket",
        variable: Some("TRAINYARD_SOCKET"),
        kind: Kind::Path,
        default: None,
        in_project: false,
        about: "the agent's socket; default agent.sock in home",
    },
    Definition {
        key: Key::Experiment,
        name: "experiment",
        variable: Some("TRAINYARD_EXPERIMENT"),
        kind: Kind::Text,
        default: None,
        in_project: true,
        about: "experiment of new runs; default the source directory's name",
    },
    Definition {
        key: Key::Target,
        name: "target",
        variable: Some("TRAINYARD_TARGET"),
        kind: Kind::Text,
        default: Some("local"),
        in_project: true,
        about: "compute target of new runs",
    },
    Definition {
        key: Key::Env,
        name: "env",
        variable: Some("TRAINYARD_ENV"),
        kind: Kind::Text,
        default: None,
        in_project: true,
        about: "environment of new runs; default what the source directory holds",
    },
    Definition {
        key: Key::Python,
        name: "python",
        variable: Some("TRAINYARD_PYTHON"),
        kind: Kind::Text,
        default: None,
        in_project: true,
        about: "interpreter; default the active environment's, else python3",
    },
    Definition {
        key: Key::Timeout,
        name: "timeout",
        variable: Some("TRAINYARD_TIMEOUT"),
        kind: Kind::Duration,
        default: None,
        in_project: true,
        about: "time limit of new runs; default none",
    },
    Definition {
        key: Key::MaxBytes,
        name: "snapshot.max-bytes",
        variable: Some("TRAINYARD_SNAPSHOT_MAX_BYTES"),
        kind: Kind::Number,
        default: Some("20 GiB"),
        in_project: true,
        about: "largest snapshot",
    },
    Definition {
        key: Key::MaxFiles,
        name: "snapshot.max-files",
        variable: Some("TRAINYARD_SNAPSHOT_MAX_FILES"),
        kind: Kind::Number,
        default: Some("1000000"),
        in_project: true,
        about: "most files in a snapshot",
    },
    Definition {
        key: Key::MaxRuns,
        name: "agent.max-runs",
        variable: Some("TRAINYARD_MAX_RUNS"),
        kind: Kind::Number,
        default: None,
        in_project: false,
        about: "runs that may be on at once; default two per core",
    },
    Definition {
        key: Key::ImageMap,
        name: "images.map",
        variable: None,
        kind: Kind::Table,
        default: None,
        in_project: true,
        about: "images in place of others: \"mcr.microsoft.com/azureml/*\" = \"my-base:1\"",
    },
    Definition {
        key: Key::BuildCaBundle,
        name: "build.ca-bundle",
        variable: Some("TRAINYARD_BUILD_CA_BUNDLE"),
        kind: Kind::Path,
        default: None,
        in_project: false,
        about: "certificates that builds in containers trust besides the image's; not in the image",
    },
    Definition {
        key: Key::BuildIndexSettings,
        name: "build.index-settings",
        variable: Some("TRAINYARD_BUILD_INDEX_SETTINGS"),
        kind: Kind::Choice(&["true", "false"]),
        default: Some("true"),
        in_project: false,
        about: "whether builds in containers use this machine's package indexes and proxies",
    },
    Definition {
        key: Key::BuildNetwork,
        name: "build.network",
        variable: Some("TRAINYARD_BUILD_NETWORK"),
        kind: Kind::Choice(&["default", "host", "none"]),
        default: Some("default"),
        in_project: false,
        about: "network of builds in containers",
    },
    Definition {
        key: Key::EnvironmentsMaxBytes,
        name: "environments.max-bytes",
        variable: Some("TRAINYARD_ENVIRONMENTS_MAX_BYTES"),
        kind: Kind::Number,
        default: None,
        in_project: false,
        about: "what built environments may take before gc removes those unused longest",
    },
    Definition {
        key: Key::DockerAllow,
        name: "docker.allow",
        variable: None,
        kind: Kind::List,
        default: None,
        in_project: false,
        about: "what containers may have of the machine: [\"--volume=/data\", \"--privileged\"]",
    },
    Definition {
        key: Key::Color,
        name: "color",
        variable: Some("TRAINYARD_COLOR"),
        kind: Kind::Choice(&["auto", "always", "never"]),
        default: Some("auto"),
        in_project: true,
        about: "when to use colours",
    },
];

impl Key {
    /// Returns what is known of the key.
    pub(crate) fn definition(self) -> &'static Definition {
        KEYS.iter().find(|definition| definition.key == self).expect("every key is in the table")
    }
}

impl Definition {
    /// Checks a value.
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub(crate) fn check(&self, value: &OsStr) -> Result<(), String> {
        if self.kind == Kind::Path {
            return Ok(());
        }
        let text = value.to_str().ok_or_else(|| "text in UTF-8".to_owned())?;
        match self.kind {
            Kind::Path => Ok(()),
            Kind::Text if text.is_empty() => Err("a text that is not empty".to_owned()),
            Kind::Text => Ok(()),
            Kind::Number if parse_number(text).is_none() => {
                Err("a number, as in 1000 or \"20 GiB\"".to_owned())
            }
            Kind::Number => Ok(()),
            Kind::Duration if parse_seconds(text).is_err() => {
                Err("a duration, as in 90, \"15m\" or \"1h30m\"".to_owned())
            }
            Kind::Duration => Ok(()),
            Kind::Choice(words) if words.contains(&text) => Ok(()),
            Kind::Choice(words) => Err(format!("one of {}", words.join(", "))),
            Kind::List => match serde_json::from_str::<Vec<String>>(text) {
                Ok(items) if items.iter().all(|item| !item.is_empty()) => Ok(()),
                _ => Err("a list of texts that are not empty".to_owned()),
            },
            Kind::Table => Err("a table".to_owned()),
        }
    }
}

/// Reads a number with an optional unit, as in `20 GiB`; all units are powers of 1024.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    parse_bytes(&text.replace([' ', '_'], "")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_units() {
        for (text, number) in [
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("300MiB", Some(300 << 20)),
            ("20 GiB", Some(20 << 30)),
            ("", None),
            ("-1", None),
            ("7 bananas", None),
        ] {
            assert_eq!(parse_number(text), number, "{text}");
        }
    }

    #[test]
    fn every_default_is_a_legal_value() {
        for definition in KEYS {
            if let Some(default) = definition.default {
                assert_eq!(definition.check(OsStr::new(default)), Ok(()), "{}", definition.name);
            }
            assert_eq!(definition.key.definition().name, definition.name);
        }
    }
}
