//! Progress bars, shown on a terminal only.

use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Terminal, measure};

/// One line that moves while work is done. It appears after a short while only, so that quick
/// work shows nothing, and takes itself away when dropped.
pub(crate) struct Progress {
    verb: &'static str,
    enabled: bool,
    started: std::time::Instant,
    bar: OnceLock<ProgressBar>,
}

/// Work that is done by then shows no bar.
const PATIENCE: Duration = Duration::from_millis(150);

impl Progress {
    /// Begins the line for work called `verb`.
    pub(crate) fn new(terminal: &Terminal, verb: &'static str) -> Self {
        let enabled = terminal.err_is_terminal() && !terminal.is_quiet();
        Self { verb, enabled, started: std::time::Instant::now(), bar: OnceLock::new() }
    }

    /// Says how far the work is.
    pub(crate) fn set(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = self.bar("{prefix:>12.green.bold} {spinner} {wide_msg}") {
            bar.set_message(super::Plain(&text()).to_string());
            bar.tick();
        }
    }

    /// Says how far the work is where the whole of it is known.
    pub(crate) fn set_share(&self, progress: &images::progress::Progress) {
        if let Some(bar) = self.bar("{prefix:>12.green.bold} [{bar:24}] {wide_msg}") {
            bar.set_length(progress.total.max(progress.done));
            bar.set_position(progress.done);
            let text = format!("{}, {}", progress.what, super::build_log::share(progress));
            bar.set_message(super::Plain(&text).to_string());
            bar.tick();
        }
    }

    /// Returns the line in the form of `template`, once it is time to show one.
    fn bar(&self, template: &str) -> Option<&ProgressBar> {
        if !self.enabled || self.started.elapsed() < PATIENCE {
            return None;
        }
        let style = ProgressStyle::with_template(template).ok()?.progress_chars("=> ");
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            // A prefix is drawn at once, and must not be drawn in the default style.
            bar.set_style(style.clone());
            bar.set_prefix(self.verb);
            bar
        });
        bar.set_style(style);
        Some(bar)
    }

    /// Says how many files and bytes are done.
    pub(crate) fn set_files(&self, files: u64, bytes: u64) {
        self.set(|| format!("{}, {}", measure::count(files, "file"), measure::size(bytes)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
