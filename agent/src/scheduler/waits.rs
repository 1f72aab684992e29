//! What a run waits for, as it is told.

use runner::run_id::RunId;

use crate::api::wire::waiting::WaitsFor;
use crate::queue::{Lack, Obstacle};

impl From<Obstacle<RunId>> for WaitsFor {
    fn from(obstacle: Obstacle<RunId>) -> Self {
        match obstacle {
            Obstacle::Held => Self::Release,
            Obstacle::After(runs) => {
                Self::Runs { run_ids: runs.iter().map(RunId::to_string).collect() }
            }
            Obstacle::NotBefore(time_utc) => Self::Time { time_utc },
            Obstacle::KeptFor(run) => Self::Turn { run_id: Some(run.to_string()) },
            Obstacle::Lack(Lack::Places { most }) => Self::Places { most },
            Obstacle::Lack(Lack::Cpus { wanted, free }) => {
                Self::Cpus { wanted: cpus(wanted), free: cpus(free) }
            }
            Obstacle::Lack(Lack::Memory { wanted, free }) => {
                Self::Memory { wanted_bytes: wanted, free_bytes: free }
            }
            Obstacle::Lack(Lack::Gpus { wanted, free }) => {
                Self::Gpus { wanted, free, in_use: Vec::new() }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 thousandths of a processor")]
fn cpus(millicpus: u64) -> f64 {
    millicpus as f64 / 1000.0
}
