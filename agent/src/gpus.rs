//! Which GPU is whose: each is one run's at a time, on every target.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runner::gpu::ALL;
use runner::launch::Launch;
use runner::run_id::RunId;

/// The variable that says to CUDA which GPUs it may use.
pub(crate) const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// The GPUs that runs have, by UUID. What is on when an agent starts is read from what its
/// supervisor was told.
#[derive(Debug, Default)]
pub(crate) struct GpuBook(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// How many there are on a target, once a run has asked.
    counts: HashMap<String, u32>,
    held: HashMap<RunId, Held>,
}

#[derive(Debug)]
struct Held {
    target: String,
    gpus: Vec<String>,
}

impl GpuBook {
    /// Returns how many GPUs `target` has, once that is known.
    pub(crate) fn count(&self, target: &str) -> Option<u32> {
        self.book().counts.get(target).copied()
    }

    /// Gives `run` as many of `all`, the GPUs of `target`, as it wants. `None`: others have too
    /// many of them now.
    pub(crate) fn give(
        &self,
        run: &RunId,
        target: &str,
        wanted: u32,
        all: Vec<String>,
    ) -> Option<Vec<String>> {
        let mut book = self.book();
        book.counts.insert(target.to_owned(), u32::try_from(all.len()).unwrap_or(ALL));
        let wanted = if wanted == ALL { all.len() } else { wanted as usize };
        let is_free = |gpu: &String| {
            !book.held.iter().any(|(other, held)| {
                other != run && held.target == target && held.gpus.contains(gpu)
            })
        };
        let gpus: Vec<String> = all.into_iter().filter(is_free).take(wanted).collect();
        if gpus.len() < wanted {
            return None;
        }
        let held = Held { target: target.to_owned(), gpus: gpus.clone() };
        book.held.insert(run.clone(), held);
        Some(gpus)
    }

    /// Notes what a run that is on has, as `launch` told its supervisor.
    pub(crate) fn keep(&self, target: &str, launch: &Launch) {
        let variable = launch.environment.get(VARIABLE);
        let of_process = || variable.iter().flat_map(|text| text.split(',')).map(str::to_owned);
        let gpus: Vec<String> = match &launch.container {
            Some(container) => container.gpus.clone(),
            None => of_process().filter(|gpu| gpu.starts_with("GPU-")).collect(),
        };
        if !gpus.is_empty() {
            let held = Held { target: target.to_owned(), gpus };
            self.book().held.insert(launch.run_id.clone(), held);
        }
    }

    /// Takes back what `run` had.
    pub(crate) fn take_back(&self, run: &RunId) {
        self.book().held.remove(run);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> RunId {
        RunId::generate("exp", 1, number)
    }

    fn two() -> Vec<String> {
        vec!["GPU-1".to_owned(), "GPU-2".to_owned()]
    }

    #[test]
    fn a_gpu_is_one_runs_at_a_time_and_each_target_has_its_own() {
        let book = GpuBook::default();
        assert_eq!(book.count("local"), None);

        assert_eq!(book.give(&run(1), "local", 1, two()).unwrap(), ["GPU-1"]);
        assert_eq!(book.give(&run(2), "local", 1, two()).unwrap(), ["GPU-2"]);
        assert_eq!(book.give(&run(3), "local", 1, two()), None);
        assert_eq!(book.give(&run(3), "gpu-vm", 2, two()).unwrap(), two());
        assert_eq!(book.count("local"), Some(2));
        // Asked again, as after a start that did not succeed, it gets the same.
        assert_eq!(book.give(&run(2), "local", 1, two()).unwrap(), ["GPU-2"]);

        book.take_back(&run(1));
        assert_eq!(book.give(&run(4), "local", ALL, two()), None);
        book.take_back(&run(2));
        assert_eq!(book.give(&run(4), "local", ALL, two()).unwrap(), two());
    }

    #[test]
    fn what_runs_had_before_the_agent_started_is_theirs() {
        let launch = |number: u32, variable: &str| -> Launch {
            serde_json::from_value(serde_json::json!({
                "version": 1, "runId": run(number), "program": ["python3"],
                "environment": {VARIABLE: variable}, "workingDirectory": "work",
            }))
            .unwrap()
        };
        let book = GpuBook::default();
        book.keep("local", &launch(1, "GPU-1"));
        // The user's own choice, not ours.
        book.keep("local", &launch(2, "1"));

        assert_eq!(book.give(&run(3), "local", 1, two()).unwrap(), ["GPU-2"]);
        assert_eq!(book.give(&run(4), "local", 1, two()), None);
    }
}
