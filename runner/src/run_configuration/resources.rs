//! What a run may use of the machine, its network and other machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Limits on what a run uses; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Processor cores, in fractions too.
    pub cpus: Option<f64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes written to the run directory.
    pub disk_bytes: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// GPUs that are the run's alone.
    pub gpus: Option<u32>,
}

/// What of the network a run may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// All that the machine reaches.
    #[default]
    Full,
    /// This machine's loopback only.
    Loopback,
    /// Nothing.
    None,
}

/// A network mode that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("network {given:?} is none of full, loopback and none")]
pub struct UnknownNetwork {
    given: String,
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(given: &str) -> Result<Self, UnknownNetwork> {
        match given {
            "full" => Ok(Self::Full),
            "loopback" => Ok(Self::Loopback),
            "none" => Ok(Self::None),
            _ => Err(UnknownNetwork { given: given.to_owned() }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Loopback => "loopback",
            Self::None => "none",
        })
    }
}

/// A run of several processes, or one that a launcher other than Python's starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// What starts the processes: `pytorch`, `mpi`, `tensorflow`, `pyspark`, `cntk`, `ray` …
    pub launcher: String,
    /// On how many machines.
    pub node_count: u64,
    /// How many processes in all, where that is known.
    pub process_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_mode_is_printed_as_it_is_read() {
        for mode in [Network::Full, Network::Loopback, Network::None] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!(
            Network::from_str("host").unwrap_err().to_string(),
            "network \"host\" is none of full, loopback and none"
        );
    }
}
