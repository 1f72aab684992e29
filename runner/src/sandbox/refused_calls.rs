//! Which of the refused system calls a run made, as the kernel tells: whoever makes one waits until
//! it was noted and answered `EPERM`. Where nobody can be told, the filter answers by itself.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use seccompiler::BpfProgramRef;

use super::system_calls;

/// After so many nobody is told any more, and the kernel answers `ENOSYS`: a run that makes one
/// after the other is not to keep the supervisor from its work.
const MOST: u64 = 10_000;

/// How many are answered before everything else is looked at again.
const AT_ONCE: usize = 64;

/// How often each was made, by name.
pub type RefusedCalls = BTreeMap<String, u64>;

/// Installs `program` for this thread and all it starts, such that a refusal is told instead of
/// answered. Returns where.
pub(super) fn install(program: BpfProgramRef<'_>) -> io::Result<OwnedFd> {
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let mut statements: Vec<libc::sock_filter> = program
        .iter()
        .map(|it| libc::sock_filter { code: it.code, jt: it.jt, jf: it.jf, k: it.k })
        .collect();
    for it in statements.iter_mut().filter(|it| u32::from(it.code) == RETURN && it.k == REFUSE) {
        it.k = libc::SECCOMP_RET_USER_NOTIF;
    }
    let length = u16::try_from(statements.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let list = libc::sock_fprog { len: length, filter: statements.as_mut_ptr() };
    // SAFETY: the kernel copies the statements, which are there for the whole call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const list,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel made it for us just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Hears of refused calls, and answers.
#[derive(Debug)]
pub(crate) struct Listener {
    /// `None` when there will be no more.
    open: Option<OwnedFd>,
    told: u64,
    calls: RefusedCalls,
}

impl Listener {
    /// Listens where [`install`] said.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { open: Some(fd), told: 0, calls: RefusedCalls::new() }
    }

    /// Returns what becomes readable when there is something to look at.
    pub(crate) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.open.as_ref().map(OwnedFd::as_fd)
    }

    /// Returns which calls were made.
    pub(crate) fn calls(&self) -> &RefusedCalls {
        &self.calls
    }

    /// Notes and answers what is told. Does not wait.
    pub(crate) fn look(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(fd) = &self.open else { return };
            match next(fd) {
                Ok(Next::Call(number)) => {
                    *self.calls.entry(name(number)).or_default() += 1;
                    self.told += 1;
                }
                Ok(Next::Gone) => {}
                Ok(Next::Nothing) => return,
                // What cannot be heard of any more is refused all the same, as after MOST.
                Ok(Next::Over) | Err(_) => self.open = None,
            }
            if self.told == MOST {
                self.open = None;
            }
        }
    }
}

/// What there is to look at.
enum Next {
    /// A call, which is answered.
    Call(i32),
    /// A call of somebody who was killed meanwhile.
    Gone,
    Nothing,
    /// Nobody is left behind the filter.
    Over,
}

fn next(fd: &OwnedFd) -> io::Result<Next> {
    let mut ready = [PollFd::new(fd, PollFlags::IN)];
    match poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Next::Nothing),
        Err(error) => return Err(error.into()),
    }
    let found = ready[0].revents();
    if !found.contains(PollFlags::IN) {
        return Ok(if found.is_empty() { Next::Nothing } else { Next::Over });
    }
    // SAFETY: it consists of numbers, for which zero is a value; the kernel insists on that.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request is for this type, and the descriptor is open.
    let heard =
        unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    if heard != 0 {
        let error = io::Error::last_os_error();
        let is_gone = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR));
        return if is_gone { Ok(Next::Gone) } else { Err(error) };
    }
    let mut answer =
        libc::seccomp_notif_resp { id: call.id, val: 0, error: -libc::EPERM, flags: 0 };
    // Fails when the caller was killed meanwhile, who needs no answer.
    // SAFETY: the request is for this type, and the descriptor is open.
    unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    Ok(Next::Call(call.data.nr))
}

fn name(number: i32) -> String {
    system_calls::name(number.into()).map_or_else(|| number.to_string(), str::to_owned)
}
