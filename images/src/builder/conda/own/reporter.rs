//! How far an installation is, as lines of the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rattler::install::{Reporter, Transaction};
use rattler_conda_types::{PrefixRecord, RepoDataRecord};

use super::Teller;
use crate::progress::{Progress, Unit};

/// How often progress is told.
const INTERVAL: Duration = Duration::from_millis(500);

/// Tells of an installation.
pub(super) struct Installation {
    teller: Teller,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    packages: u64,
    installed: u64,
    /// What is being linked, by index.
    names: Vec<String>,
    /// Of each download: bytes that are here, and all.
    downloads: Vec<(u64, u64)>,
    told: Option<Instant>,
}

impl Installation {
    pub(super) fn new(teller: Teller) -> Self {
        Self { teller, state: Mutex::default() }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn download(&self, state: &mut State, last: bool) {
        let now = Instant::now();
        if !last && state.told.is_some_and(|told| now - told < INTERVAL) {
            return;
        }
        state.told = Some(now);
        let progress = Progress {
            what: format!("Downloading {} conda packages", state.downloads.len()),
            done: state.downloads.iter().map(|(done, _)| done).sum(),
            total: state.downloads.iter().map(|(_, total)| total).sum(),
            unit: Unit::Bytes,
        };
        self.teller.tell(progress.to_string());
    }
}

impl Reporter for Installation {
    fn on_transaction_start(&self, transaction: &Transaction<PrefixRecord, RepoDataRecord>) {
        self.with(|state| state.packages = transaction.operations.len() as u64);
    }

    fn on_transaction_operation_start(&self, _operation: usize) {}

    fn on_populate_cache_start(&self, _operation: usize, _record: &RepoDataRecord) -> usize {
        0
    }

    fn on_validate_start(&self, _cache_entry: usize) -> usize {
        0
    }

    fn on_validate_complete(&self, _validate_idx: usize) {}

    fn on_download_start(&self, _cache_entry: usize) -> usize {
        self.with(|state| {
            state.downloads.push((0, 0));
            state.downloads.len() - 1
        })
    }

    fn on_download_progress(&self, download: usize, progress: u64, total: Option<u64>) {
        self.with(|state| {
            if let Some(known) = state.downloads.get_mut(download) {
                *known = (progress, total.unwrap_or(progress));
            }
            self.download(state, false);
        });
    }

    fn on_download_completed(&self, _download: usize) {
        self.with(|state| {
            let last = state.downloads.iter().all(|(done, total)| done == total);
            self.download(state, last);
        });
    }

    fn on_populate_cache_complete(&self, _cache_entry: usize) {}

    fn on_unlink_start(&self, _operation: usize, _record: &PrefixRecord) -> usize {
        0
    }

    fn on_unlink_complete(&self, _index: usize) {}

    fn on_link_start(&self, _operation: usize, record: &RepoDataRecord) -> usize {
        self.with(|state| {
            let package = &record.package_record;
            state.names.push(format!("{} {}", package.name.as_normalized(), package.version));
            state.names.len() - 1
        })
    }

    fn on_link_complete(&self, index: usize) {
        self.with(|state| {
            state.installed += 1;
            let name = state.names.get(index).map_or("", String::as_str);
            self.teller.tell(format!("Installed {name}"));
            let now = Instant::now();
            let last = state.installed == state.packages;
            if last || state.told.is_none_or(|told| now - told >= INTERVAL) {
                state.told = Some(now);
                let progress = Progress {
                    what: "Installing conda packages".to_owned(),
                    done: state.installed,
                    total: state.packages,
                    unit: Unit::Steps,
                };
                self.teller.tell(progress.to_string());
            }
        });
    }

    fn on_transaction_operation_complete(&self, _operation: usize) {}

    fn on_transaction_complete(&self) {}

    fn on_post_link_start(&self, _package_name: &str, _script_path: &str) -> usize {
        0
    }

    fn on_post_link_complete(&self, _index: usize, _success: bool) {}

    fn on_pre_unlink_start(&self, _package_name: &str, _script_path: &str) -> usize {
        0
    }

    fn on_pre_unlink_complete(&self, _index: usize, _success: bool) {}
}
