//! What a supervisor hears of besides the script's output: signals and cancel requests.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use snapshots::path_error::{IoContext as _, PathError};

use crate::cancel_request::CancelRequest;
use crate::run_directory::RunDirectory;
use crate::supervisor::event_loop::handled_signals;
use crate::supervisor::verdict::Ending;

/// How often to look for a cancel request when the kernel has no watch left for us.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Opened before the script is started, since what can fail must fail while there is nothing to
/// end.
#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) signals: SignalFd,
    /// `None` when the user has no watch left: one then looks now and again.
    pub(crate) cancel: Option<Inotify>,
}

impl Watches {
    /// Watches for signals, and the directory of `run` for a cancel request.
    pub(crate) fn open(run: &RunDirectory) -> Result<Self, PathError> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&handled_signals(), flags)
            .context("read the signals of", "/proc/self")?;
        Ok(Self { signals, cancel: watch_for_cancel(run) })
    }

    /// Returns what becomes readable when there may be something to hear.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.cancel.iter().map(Inotify::as_fd).chain([self.signals.as_fd()])
    }

    /// Says whether somebody wants the end of `run`, whose script does not run yet. Does not wait.
    pub(crate) fn wanted_end(&self, run: &RunDirectory) -> Option<Ending> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = info.ssi_signo.cast_signed();
            if let Ok(Signal::SIGTERM | Signal::SIGINT) = Signal::try_from(signal) {
                return Some(Ending::Stopped { signal, uid: info.ssi_uid });
            }
        }
        if let Some(watch) = &self.cancel {
            let _nothing_new = watch.read_events();
        }
        match CancelRequest::read(run) {
            Ok(request) => request.map(Ending::Cancelled),
            Err(error) => {
                eprintln!("{error}");
                None
            }
        }
    }
}

fn watch_for_cancel(run: &RunDirectory) -> Option<Inotify> {
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    watch.add_watch(run.path(), AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE).ok()?;
    Some(watch)
}
