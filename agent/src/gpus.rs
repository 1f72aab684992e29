//! Which GPU is whose: each is one run's at a time, on every target. Where the settings say so, one
//! on which somebody else computes is nobody's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runner::gpu::{ALL, GpuUser};
use runner::launch::Launch;
use runner::run_id::RunId;
use tracing::debug;

use crate::agent::Agent;
use crate::api::wire::waiting::GpuInUse;
use crate::task;

/// The variable that says to CUDA which GPUs it may use.
pub(crate) const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// How often it is looked whether others are done with GPUs that a run waits for.
const LOOK: Duration = Duration::from_secs(5);

/// The GPUs that runs have, by UUID. What is on when an agent starts is read from what its
/// supervisor was told.
#[derive(Debug, Default)]
pub(crate) struct GpuBook {
    /// Whether only those are given that nobody else uses.
    pub(crate) only_free: bool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// How many there are on a target, once a run has asked.
    counts: HashMap<String, u32>,
    /// Who used those of a target when it was last looked.
    users: HashMap<String, Vec<GpuUser>>,
    held: HashMap<RunId, Held>,
}

#[derive(Debug)]
struct Held {
    target: String,
    gpus: Vec<String>,
}

impl GpuBook {
    /// Gives GPUs, or `only_free` ones.
    pub(crate) fn new(only_free: bool) -> Self {
        Self { only_free, book: Mutex::default() }
    }

    /// Returns how many GPUs `target` has, once that is known.
    pub(crate) fn count(&self, target: &str) -> Option<u32> {
        self.book().counts.get(target).copied()
    }

    /// Returns the GPUs of `target` that no run has, and others use.
    pub(crate) fn of_others(&self, target: &str) -> Vec<GpuInUse> {
        let book = self.book();
        let mut in_use: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for user in book.users.get(target).into_iter().flatten() {
            if !book.is_held(target, &user.gpu, None) {
                in_use.entry(&user.gpu).or_default().push(user.pid);
            }
        }
        in_use.into_iter().map(|(gpu, pids)| GpuInUse { gpu: gpu.to_owned(), pids }).collect()
    }

    /// Notes who uses the GPUs of `target`; says whether that is news.
    fn see(&self, target: &str, users: Vec<GpuUser>) -> bool {
        self.book().users.insert(target.to_owned(), users.clone()) != Some(users)
    }

    /// Returns the targets where others were when it was last looked.
    fn with_others(&self) -> Vec<String> {
        let targets: Vec<_> = self.book().users.keys().cloned().collect();
        targets.into_iter().filter(|target| !self.of_others(target).is_empty()).collect()
    }

    /// Gives `run` as many of `all`, the GPUs of `target`, as it wants, and none that `users` are
    /// on. `None`: others have too many of them now.
    pub(crate) fn give(
        &self,
        run: &RunId,
        target: &str,
        wanted: u32,
        (all, users): (Vec<String>, Vec<GpuUser>),
    ) -> Option<Vec<String>> {
        let mut book = self.book();
        book.counts.insert(target.to_owned(), u32::try_from(all.len()).unwrap_or(ALL));
        let wanted = if wanted == ALL { all.len() } else { wanted as usize };
        let is_free = |gpu: &String| {
            !book.is_held(target, gpu, Some(run)) && !users.iter().any(|user| user.gpu == *gpu)
        };
        let gpus: Vec<String> = all.into_iter().filter(is_free).take(wanted).collect();
        book.users.insert(target.to_owned(), users);
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
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Says whether a run has `gpu` of `target`, other than `but`.
    fn is_held(&self, target: &str, gpu: &String, but: Option<&RunId>) -> bool {
        self.held
            .iter()
            .any(|(run, held)| Some(run) != but && held.target == target && held.gpus.contains(gpu))
    }
}

/// Looks again at GPUs that others use, while runs wait where they are.
pub(crate) async fn watch(agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(LOOK).await;
        for name in agent.gpus.with_others() {
            let waits = agent.scheduler.counts_of(&name).queued > 0;
            let Some(target) = agent.targets.find(&name).filter(|_| waits) else { continue };
            match task::blocking(move || target.gpu_users()).await {
                Ok(users) => {
                    if agent.gpus.see(&name, users) {
                        agent.scheduler.look().await;
                    }
                }
                Err(error) => debug!(%error, target = name, "Cannot see who uses GPUs."),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> RunId {
        RunId::generate("exp", 1, number)
    }

    fn all() -> Vec<String> {
        vec!["GPU-1".to_owned(), "GPU-2".to_owned()]
    }

    fn two() -> (Vec<String>, Vec<GpuUser>) {
        (all(), Vec::new())
    }

    #[test]
    fn a_gpu_that_others_use_is_nobodys_until_they_are_gone() {
        let book = GpuBook::default();
        let user = |gpu: &str, pid| GpuUser { gpu: gpu.to_owned(), pid };
        let busy = || vec![user("GPU-1", 4711), user("GPU-1", 4712)];
        let in_use = |gpu: &str, pids: &[u32]| GpuInUse { gpu: gpu.to_owned(), pids: pids.into() };

        assert_eq!(book.give(&run(1), "local", 1, (all(), busy())).unwrap(), ["GPU-2"]);
        assert_eq!(book.give(&run(2), "local", 1, (all(), busy())), None);
        assert_eq!(book.of_others("local"), [in_use("GPU-1", &[4711, 4712])]);
        assert_eq!(book.with_others(), ["local"]);

        // What a run has is not others', whoever is on it.
        assert!(book.see("local", vec![user("GPU-2", 7)]));
        assert!(!book.see("local", vec![user("GPU-2", 7)]));
        assert_eq!((book.of_others("local"), book.with_others()), (Vec::new(), Vec::new()));
        assert_eq!(book.give(&run(2), "local", 1, two()).unwrap(), ["GPU-1"]);
    }

    #[test]
    fn a_gpu_is_one_runs_at_a_time_and_each_target_has_its_own() {
        let book = GpuBook::default();
        assert_eq!(book.count("local"), None);

        assert_eq!(book.give(&run(1), "local", 1, two()).unwrap(), ["GPU-1"]);
        assert_eq!(book.give(&run(2), "local", 1, two()).unwrap(), ["GPU-2"]);
        assert_eq!(book.give(&run(3), "local", 1, two()), None);
        assert_eq!(book.give(&run(3), "gpu-vm", 2, two()).unwrap(), all());
        assert_eq!(book.count("local"), Some(2));
        // Asked again, as after a start that did not succeed, it gets the same.
        assert_eq!(book.give(&run(2), "local", 1, two()).unwrap(), ["GPU-2"]);

        book.take_back(&run(1));
        assert_eq!(book.give(&run(4), "local", ALL, two()), None);
        book.take_back(&run(2));
        assert_eq!(book.give(&run(4), "local", ALL, two()).unwrap(), all());
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
