//! What a run outside of a container may see and reach, as it was asked for. Pure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::run_configuration::Network;

/// How much a run is kept from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// All that it was not given, as far as this machine can do that.
    #[default]
    Default,
    /// The same, and it does not start where this machine cannot do all of it.
    Strict,
    /// Nothing: it is a process like any other.
    Off,
}

impl SandboxMode {
    /// The words for them.
    pub const WORDS: &[&str] = &["default", "strict", "off"];
}

impl fmt::Display for SandboxMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Off => "off",
        })
    }
}

/// A word that is none of a kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {given:?} is none of {}", words.join(", "))]
pub struct UnknownWord {
    what: &'static str,
    given: String,
    words: &'static [&'static str],
}

impl FromStr for SandboxMode {
    type Err = UnknownWord;

    fn from_str(given: &str) -> Result<Self, UnknownWord> {
        match given {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            "off" => Ok(Self::Off),
            _ => Err(UnknownWord { what: "sandbox", given: given.to_owned(), words: Self::WORDS }),
        }
    }
}

/// How much of a sandbox a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Nothing.
    #[default]
    None,
    /// It can change nothing but what it was given, yet sees other processes and the network.
    Reduced,
    /// It sees nothing but what it was given.
    Full,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Reduced => "reduced",
            Self::Full => "full",
        })
    }
}

impl FromStr for Tier {
    type Err = UnknownWord;

    fn from_str(given: &str) -> Result<Self, UnknownWord> {
        match given {
            "none" => Ok(Self::None),
            "reduced" => Ok(Self::Reduced),
            "full" => Ok(Self::Full),
            _ => Err(UnknownWord {
                what: "tier",
                given: given.to_owned(),
                words: &["none", "reduced", "full"],
            }),
        }
    }
}

/// A file or directory of the machine that a run is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// Where it is on the machine: absolute.
    pub source: PathBuf,
    /// Where the run sees it: absolute.
    pub at: PathBuf,
    /// Whether the run may change it.
    #[serde(default)]
    pub writable: bool,
}

/// A mount that is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMount {
    /// It has another shape.
    #[error("mount {given:?} is not SRC[:DST][:rw]")]
    Shape {
        /// What was given.
        given: String,
    },
    /// A path depends on where one stands, or leads up.
    #[error("mount {given:?} names {path:?}, which is no absolute path without `..`")]
    Path {
        /// What was given.
        given: String,
        /// The path in it.
        path: PathBuf,
    },
}

impl FromStr for Mount {
    type Err = InvalidMount;

    fn from_str(given: &str) -> Result<Self, InvalidMount> {
        let parts: Vec<&str> = given.split(':').collect();
        let (source, at, writable) = match parts.as_slice() {
            [source] | [source, "ro"] => (*source, *source, false),
            [source, "rw"] => (*source, *source, true),
            [source, at] | [source, at, "ro"] => (*source, *at, false),
            [source, at, "rw"] => (*source, *at, true),
            _ => return Err(InvalidMount::Shape { given: given.to_owned() }),
        };
        let mount = Self { source: source.into(), at: at.into(), writable };
        mount.check()?;
        Ok(mount)
    }
}

impl Mount {
    /// Checks that both paths are absolute and say themselves where they lead.
    ///
    /// # Errors
    ///
    /// The first that does not.
    pub fn check(&self) -> Result<(), InvalidMount> {
        use std::path::Component::{Normal, RootDir};
        let is_plain = |path: &Path| {
            path.is_absolute()
                && path.components().all(|part| matches!(part, RootDir | Normal(_)))
                && path.components().count() > 1
        };
        match [&self.source, &self.at].into_iter().find(|path| !is_plain(path)) {
            Some(path) => Err(InvalidMount::Path { given: self.to_string(), path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Says whether `other` shows no more than this one does: a part of it, and to be changed only
    /// if this is.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        other.source.starts_with(&self.source) && (self.writable || !other.writable)
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source.display())?;
        if self.at != self.source {
            write!(f, ":{}", self.at.display())?;
        }
        f.write_str(if self.writable { ":rw" } else { "" })
    }
}

/// What a run may see and reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SandboxPolicy {
    /// How much it is kept from.
    pub mode: SandboxMode,
    /// What it reaches.
    pub network: Network,
    /// What it is shown besides its own files, its Python and the system's programs.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// What its mounts must lead into, where whoever handed it in may be shown nothing else.
    /// Default: they lead anywhere but to what no run sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<Mount>>,
    /// It does not start with less than this.
    pub minimum: Tier,
    /// What its `/dev/shm` may hold, in bytes. Default: half of what its memory may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
}

impl SandboxPolicy {
    /// Returns the tier that it does not start without.
    #[must_use]
    pub fn least(&self) -> Tier {
        match self.mode {
            SandboxMode::Strict => Tier::Full,
            _ => self.minimum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_they_are_printed() {
        let mut table = String::new();
        for given in [
            "/data",
            "/data:ro",
            "/data:rw",
            "/data:/in",
            "/data:/in:rw",
            "data",
            "/data:in",
            "/data/../etc",
            "/",
            "/data:/in:wr",
            "",
            "/a:/b:rw:x",
        ] {
            let read = given.parse::<Mount>();
            if let Ok(mount) = &read {
                assert_eq!(mount.to_string().parse::<Mount>().as_ref(), Ok(mount));
            }
            let said = read.map_or_else(
                |error| error.to_string(),
                |mount| format!("{mount} (writable: {})", mount.writable),
            );
            table += &format!("{given:16}{said}\n");
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn words_are_read_as_they_are_printed() {
        for word in SandboxMode::WORDS {
            assert_eq!(word.parse::<SandboxMode>().unwrap().to_string(), *word);
        }
        for word in ["none", "reduced", "full"] {
            assert_eq!(word.parse::<Tier>().unwrap().to_string(), word);
        }
        assert_eq!(
            "on".parse::<SandboxMode>().unwrap_err().to_string(),
            r#"sandbox "on" is none of default, strict, off"#
        );
        assert!(Tier::None < Tier::Reduced && Tier::Reduced < Tier::Full);
    }
}
