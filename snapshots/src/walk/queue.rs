//! Work that makes more work, shared by a few threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Tasks not yet done, newest first: depth first keeps few directories open at a time.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    tasks: Vec<T>,
    /// Tasks being worked on: while there are any, more may come.
    running: usize,
    /// A task failed or panicked: nothing more is started.
    stopped: bool,
}

/// Runs `handle` on `first` and on every task pushed since, on `threads` threads, each with its
/// own worker made by `start`.
///
/// # Errors
///
/// The first error of `handle`. Tasks that were not started by then are dropped.
pub(crate) fn run<T: Send, W, E: Send>(
    threads: usize,
    first: T,
    start: impl Fn() -> W + Sync,
    handle: impl Fn(&mut W, T, &Queue<T>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let state = State { tasks: vec![first], running: 0, stopped: false };
    let queue = Queue { state: Mutex::new(state), changed: Condvar::new() };
    let failure = Mutex::new(None);
    let work = || {
        let mut worker = start();
        while let Some(task) = queue.take() {
            let running = Running { queue: &queue };
            if let Err(error) = handle(&mut worker, task, &queue) {
                queue.stop();
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
            drop(running);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl<T> Queue<T> {
    /// Adds tasks; the last one is taken first.
    pub(crate) fn push(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        let before = state.tasks.len();
        state.tasks.extend(tasks);
        let added = state.tasks.len() - before;
        drop(state);
        // Whoever pushes will take one itself.
        for _ in 1..added.min(64) {
            self.changed.notify_one();
        }
        if added > 0 {
            self.changed.notify_one();
        }
    }

    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.tasks.pop() {
                state.running += 1;
                return Some(task);
            }
            if state.running == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a task as being worked on, also when its handler panics.
struct Running<'a, T> {
    queue: &'a Queue<T>,
}

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.running -= 1;
        state.stopped |= thread::panicking();
        let over = state.stopped || (state.running == 0 && state.tasks.is_empty());
        drop(state);
        if over {
            self.queue.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 8] {
            let runs = AtomicU32::new(0);
            let ended = run(
                threads,
                12u32,
                || (),
                |(), task, queue| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    queue.push((0..2).filter(|_| task > 0).map(|_| task - 1));
                    Ok::<(), ()>(())
                },
            );
            assert_eq!((ended, runs.into_inner()), (Ok(()), (1 << 13) - 1), "{threads} threads");
        }
    }

    #[test]
    fn an_error_ends_it_all() {
        let ended = run(
            4,
            0u32,
            || (),
            |(), task, queue| {
                queue.push([task + 1, task + 1]);
                if task == 100 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!(ended, Err("enough"));
    }

    #[test]
    fn a_panic_ends_it_all_and_is_passed_on() {
        let ended = std::panic::catch_unwind(|| {
            run(
                4,
                0u32,
                || (),
                |(), task, queue| {
                    queue.push([task + 1]);
                    assert!(task < 50, "enough");
                    Ok::<(), ()>(())
                },
            )
        });
        assert!(ended.is_err());
    }
}
