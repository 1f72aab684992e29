//! What can be set, and what may be said for it.

use std::ffi::OsStr;
use std::net::SocketAddr;

use runner::run_configuration::duration::parse_seconds;
use runner::run_configuration::size::parse_bytes;

pub(crate) use super::table::KEYS;

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Where all state lives.
    Home,
    /// The agent's socket, or the URL of one on another machine.
    Socket,
    /// The file with the token for that machine's agent.
    TokenFile,
    /// Who is trusted to say that it is that agent.
    CaFile,
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
    /// How long runs that nobody came back for stay on attached machines.
    TargetsKeepRuns,
    /// How much attached machines keep.
    TargetsMaxBytes,
    /// How much of the disk stays free.
    DiskMinFree,
    /// How much object stores may take.
    DiskMaxObjects,
    /// Whose members rule the agent.
    UsersAdminGroup,
    /// How many runs of a user may be not over.
    UsersMaxRuns,
    /// How much a user may take on the disk.
    UsersMaxBytes,
    /// Where the agent listens on TCP.
    ListenAddress,
    /// The certificate that it shows there.
    ListenCertificate,
    /// The key of that.
    ListenKeyFile,
    /// What it is called there.
    ListenHosts,
    /// How many may be connected there.
    ListenConnections,
    /// How much runs are kept from that say nothing.
    SandboxDefault,
    /// Without which no run starts in a sandbox.
    SandboxMinimum,
    /// Whether runs may do without.
    SandboxAllowOff,
    /// What every run is shown.
    SandboxMounts,
    /// Whether a GPU that others use is given to no run.
    GpusOnlyFree,
    /// What runs that are over may take on the disk.
    RunsMaxBytes,
    /// What of that their logs may take.
    LogsMaxBytes,
    /// What runs reach that do not say.
    SandboxNetwork,
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
    /// An address of this machine, with a port.
    Address,
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
            Kind::Address if text.parse::<SocketAddr>().is_err() => {
                Err("an address and a port, as in \"127.0.0.1:8443\" or \"[::]:8443\"".to_owned())
            }
            Kind::Address => Ok(()),
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
