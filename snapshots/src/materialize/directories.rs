//! Descriptors of directories, opened one name at a time and never through a link.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};

use super::plan::Plan;
use crate::path_error::{IoContext, PathError};

/// How many descriptors a thread keeps open.
const KEPT: usize = 64;

/// The directories that one thread works in.
pub(super) struct Directories<'a> {
    root: BorrowedFd<'a>,
    plan: &'a Plan,
    open: HashMap<usize, OwnedFd>,
    order: VecDeque<usize>,
}

impl<'a> Directories<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, plan: &'a Plan) -> Self {
        Self { root, plan, open: HashMap::new(), order: VecDeque::new() }
    }

    /// Returns the descriptor of a directory of the plan.
    pub(super) fn get(&mut self, directory: usize) -> Result<BorrowedFd<'_>, PathError> {
        let mut closed = Vec::new();
        let mut at = directory;
        while at != 0 && !self.open.contains_key(&at) {
            closed.push(at);
            at = self.plan.directories[at].parent;
        }
        for at in closed.into_iter().rev() {
            let below = &self.plan.directories[at];
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(self.fd(below.parent), below.name.as_slice(), flags, Mode::empty())
                .context("open", self.plan.path(at, b""))?;
            self.keep(at, opened);
        }
        Ok(self.fd(directory))
    }

    fn fd(&self, directory: usize) -> BorrowedFd<'_> {
        self.open.get(&directory).map_or(self.root, AsFd::as_fd)
    }

    fn keep(&mut self, directory: usize, opened: OwnedFd) {
        if self.order.len() == KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.order.push_back(directory);
        self.open.insert(directory, opened);
    }
}
