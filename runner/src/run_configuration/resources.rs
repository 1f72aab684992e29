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
    /// Bytes that its files may take on the disk.
    pub disk_bytes: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// GPUs that are the run's alone.
    pub gpus: Option<u32>,
}

/// The least memory that an engine gives a container, and that anything can start in.
const LEAST_MEMORY: u64 = 6 << 20;
/// The least room on the disk: a run has directories and a log.
const LEAST_DISK: u64 = 1 << 20;
/// The least part of a core that there is.
const LEAST_CPUS: f64 = 0.01;

/// A limit that no run can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResources {
    /// Too little, or no number.
    #[error("{given} is no number of processor cores that a run can have")]
    Cpus {
        /// What was asked for.
        given: String,
    },
    /// Too little.
    #[error("{bytes} bytes of memory are too little for a run")]
    Memory {
        /// What was asked for.
        bytes: u64,
    },
    /// Too little.
    #[error("{bytes} bytes of the disk are too little for a run")]
    Disk {
        /// What was asked for.
        bytes: u64,
    },
    /// None.
    #[error("with a limit of 0 processes a run cannot start")]
    Pids,
}

impl InvalidResources {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Cpus { .. } => "Give --cpus 0.01 or more, such as 1.5.",
            Self::Memory { .. } => "Give --memory 6m or more, such as 4g.",
            Self::Disk { .. } => "Give --disk 1m or more, such as 20g.",
            Self::Pids => "Give --pids 1 or more, such as 4096.",
        }
    }
}

impl Resources {
    /// Checks that a run can have these.
    ///
    /// # Errors
    ///
    /// The first that it cannot.
    pub fn check(&self) -> Result<(), InvalidResources> {
        if let Some(cpus) = self.cpus.filter(|cpus| !(cpus.is_finite() && *cpus >= LEAST_CPUS)) {
            return Err(InvalidResources::Cpus { given: cpus.to_string() });
        }
        if let Some(bytes) = self.memory_bytes.filter(|bytes| *bytes < LEAST_MEMORY) {
            return Err(InvalidResources::Memory { bytes });
        }
        if let Some(bytes) = self.disk_bytes.filter(|bytes| *bytes < LEAST_DISK) {
            return Err(InvalidResources::Disk { bytes });
        }
        if self.pids == Some(0) { Err(InvalidResources::Pids) } else { Ok(()) }
    }
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
        f.pad(match self {
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
    fn limits_that_no_run_can_have_are_refused() {
        let check = |cpus, memory_bytes, pids| {
            Resources { cpus, memory_bytes, pids, ..Resources::default() }.check()
        };
        let check_disk = |disk_bytes| Resources { disk_bytes, ..Resources::default() }.check();
        assert_eq!(check_disk(Some(1 << 20)), Ok(()));
        assert_eq!(check(None, None, None), Ok(()));
        assert_eq!(check(Some(0.01), Some(6 << 20), Some(1)), Ok(()));
        let mut said = String::new();
        for refused in [
            check(Some(0.0), None, None),
            check(Some(-1.0), None, None),
            check(Some(f64::NAN), None, None),
            check(Some(f64::INFINITY), None, None),
            check(None, Some(1 << 20), None),
            check_disk(Some(0)),
            check_disk(Some((1 << 20) - 1)),
            check(None, None, Some(0)),
        ] {
            let error = refused.unwrap_err();
            said += &format!("{error}\n  hint: {}\n", error.hint());
        }
        insta::assert_snapshot!(said, @r#"
        0 is no number of processor cores that a run can have
          hint: Give --cpus 0.01 or more, such as 1.5.
        -1 is no number of processor cores that a run can have
          hint: Give --cpus 0.01 or more, such as 1.5.
        NaN is no number of processor cores that a run can have
          hint: Give --cpus 0.01 or more, such as 1.5.
        inf is no number of processor cores that a run can have
          hint: Give --cpus 0.01 or more, such as 1.5.
        1048576 bytes of memory are too little for a run
          hint: Give --memory 6m or more, such as 4g.
        0 bytes of the disk are too little for a run
          hint: Give --disk 1m or more, such as 20g.
        1048575 bytes of the disk are too little for a run
          hint: Give --disk 1m or more, such as 20g.
        with a limit of 0 processes a run cannot start
          hint: Give --pids 1 or more, such as 4096.
        "#);
    }

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
