//! Which system calls a run may not make, each with the reason. The one home of the filter.
//!
//! All others are allowed: Python and the libraries for numbers and GPUs ask for many, and a list
//! of those would break with the next version of any of them. What is refused answers `EPERM`, as
//! it does in containers, where the same programs run.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

use super::refused_calls;

/// A system call that is refused whatever its arguments are.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Its name.
    pub name: &'static str,
    /// Its number on this kind of machine.
    pub number: i64,
    /// Why.
    pub reason: &'static str,
}

macro_rules! refused {
    ($($reason:literal: $($name:ident $number:ident),+;)+) => {
        &[$($(Refused { name: stringify!($name), number: libc::$number, reason: $reason },)+)+]
    };
}

/// Every one, on every kind of machine.
pub const REFUSED: &[Refused] = refused! {
    "loads code into the kernel":
        bpf SYS_bpf, init_module SYS_init_module, finit_module SYS_finit_module,
        delete_module SYS_delete_module, kexec_load SYS_kexec_load;
    "watches the kernel and other processes": perf_event_open SYS_perf_event_open,
        kcmp SYS_kcmp, syslog SYS_syslog, fanotify_init SYS_fanotify_init;
    "stops the kernel in the middle of its work, which attacks on it need":
        userfaultfd SYS_userfaultfd;
    "does what this list refuses without being asked call by call":
        io_uring_setup SYS_io_uring_setup, io_uring_enter SYS_io_uring_enter,
        io_uring_register SYS_io_uring_register;
    "keys belong to the user, not to the run":
        keyctl SYS_keyctl, add_key SYS_add_key, request_key SYS_request_key;
    "takes over another process": ptrace SYS_ptrace;
    "changes what is seen of the disk":
        mount SYS_mount, umount2 SYS_umount2, pivot_root SYS_pivot_root, chroot SYS_chroot,
        move_mount SYS_move_mount, open_tree SYS_open_tree, fsopen SYS_fsopen,
        fsmount SYS_fsmount, fsconfig SYS_fsconfig, fspick SYS_fspick,
        mount_setattr SYS_mount_setattr;
    "makes or enters namespaces, in which everybody is root":
        setns SYS_setns, unshare SYS_unshare;
    "opens files past what is seen of the disk": open_by_handle_at SYS_open_by_handle_at;
    "belongs to the machine":
        reboot SYS_reboot, swapon SYS_swapon, swapoff SYS_swapoff, acct SYS_acct,
        quotactl SYS_quotactl, settimeofday SYS_settimeofday, clock_settime SYS_clock_settime,
        clock_adjtime SYS_clock_adjtime, adjtimex SYS_adjtimex, sethostname SYS_sethostname,
        setdomainname SYS_setdomainname, vhangup SYS_vhangup;
};

/// Those that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
pub const REFUSED_HERE: &[Refused] = refused! {
    "belongs to the machine":
        iopl SYS_iopl, ioperm SYS_ioperm, kexec_file_load SYS_kexec_file_load;
    "is of old programs only, and rarely looked at":
        modify_ldt SYS_modify_ldt, uselib SYS_uselib, ustat SYS_ustat, sysfs SYS_sysfs;
};

/// Those that only this kind of machine has.
#[cfg(not(target_arch = "x86_64"))]
pub const REFUSED_HERE: &[Refused] = &[];

/// A system call that is refused for some of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct RefusedInPart {
    /// Its name.
    pub name: &'static str,
    /// For which.
    pub part: &'static str,
    /// Why.
    pub reason: &'static str,
    number: i64,
    rules: fn() -> Rules,
}

/// Every one.
pub const REFUSED_IN_PART: [RefusedInPart; 4] = [
    RefusedInPart {
        name: "clone",
        part: "with new namespaces",
        reason: NAMESPACES,
        number: libc::SYS_clone,
        rules: namespaces,
    },
    RefusedInPart {
        name: "socket",
        part: "but of UNIX, of IP unless raw, and for routes",
        reason: SOCKETS,
        number: libc::SYS_socket,
        rules: sockets,
    },
    RefusedInPart {
        name: "socketpair",
        part: "but of the same",
        reason: SOCKETS,
        number: libc::SYS_socketpair,
        rules: families,
    },
    RefusedInPart {
        name: "ioctl",
        part: "TIOCSTI, TIOCLINUX",
        reason: "types into a terminal in the user's place",
        number: libc::SYS_ioctl,
        rules: terminals,
    },
];

/// Why namespaces are refused. As in the table.
const NAMESPACES: &str = "makes or enters namespaces, in which everybody is root";
const SOCKETS: &str =
    "reaches the machine that this one is a guest of, or parts of the kernel that few look at";

/// Returns all that is refused, by the reason.
#[must_use]
pub fn by_reason() -> Vec<(&'static str, Vec<String>)> {
    let whole = REFUSED.iter().chain(REFUSED_HERE).map(|call| (call.reason, call.name.to_owned()));
    let parts = REFUSED_IN_PART.iter().map(|call| {
        let RefusedInPart { name, part, reason, .. } = call;
        (*reason, format!("{name} ({part})"))
    });
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (reason, name) in whole.chain(parts) {
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => groups.push((reason, vec![name])),
        }
    }
    groups
}

/// Kinds of sockets that are allowed.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It cannot be made for this kind of machine.
    #[error("no filter of system calls can be made")]
    Make {
        /// Why not.
        #[from]
        source: seccompiler::BackendError,
    },
    /// The kernel does not take it.
    #[error("the kernel takes no filter of system calls")]
    Install {
        /// Why not.
        #[from]
        source: seccompiler::Error,
    },
}

/// Returns the name of a call that is refused, wholly or in part.
pub(super) fn name(number: i64) -> Option<&'static str> {
    let whole = REFUSED.iter().chain(REFUSED_HERE).map(|call| (call.name, call.number));
    let parts = REFUSED_IN_PART.iter().map(|call| (call.name, call.number));
    whole.chain(parts).find_map(|(name, it)| (it == number).then_some(name))
}

/// Installs the filter for this thread and all it starts, for good. Returns where it is told which
/// calls are refused, if this kernel does that and nobody is told already.
///
/// # Errors
///
/// It is not, or not wholly, installed.
pub fn install() -> Result<Option<OwnedFd>, FilterError> {
    let [foreign, clone3, refused] = programs()?;
    seccompiler::apply_filter(&foreign)?;
    seccompiler::apply_filter(&clone3)?;
    let Ok(told) = refused_calls::install(&refused) else {
        seccompiler::apply_filter(&refused)?;
        return Ok(None);
    };
    Ok(Some(told))
}

fn programs() -> Result<[BpfProgram; 3], seccompiler::BackendError> {
    let make = |rules, errno: libc::c_int| {
        let refuse = SeccompAction::Errno(errno.cast_unsigned());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|call| (call.number, Vec::new())).collect();
    for call in REFUSED_IN_PART {
        rules.insert(call.number, (call.rules)()?);
    }
    // Its arguments are in memory, where no filter looks: the C library then calls `clone`.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([foreign_numbers(), make(clone3, libc::ENOSYS)?, make(rules, libc::EPERM)?])
}

type Rules = Result<Vec<SeccompRule>, seccompiler::BackendError>;

/// Namespaces made together with a process.
fn namespaces() -> Rules {
    let flags = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let with = |flag: libc::c_int| {
        let flag = u64::from(flag.cast_unsigned());
        SeccompRule::new(vec![SeccompCondition::new(0, Len::Dword, Op::MaskedEq(flag), flag)?])
    };
    flags.into_iter().map(with).collect()
}

fn families() -> Rules {
    let others = FAMILIES.map(|family| {
        SeccompCondition::new(0, Len::Dword, Op::Ne, u64::from(family.cast_unsigned()))
    });
    Ok(vec![SeccompRule::new(others.into_iter().collect::<Result<_, _>>()?)?])
}

fn sockets() -> Rules {
    const KIND: u64 = 0xf;
    let is = |argument, value: libc::c_int| {
        SeccompCondition::new(argument, Len::Dword, Op::Eq, u64::from(value.cast_unsigned()))
    };
    let kind = |kind: libc::c_int| {
        SeccompCondition::new(1, Len::Dword, Op::MaskedEq(KIND), u64::from(kind.cast_unsigned()))
    };
    let mut rules = families()?;
    // Raw packets; a netlink socket is raw by nature, and only for routes.
    for family in [libc::AF_INET, libc::AF_INET6] {
        rules.push(SeccompRule::new(vec![is(0, family)?, kind(libc::SOCK_RAW)?])?);
    }
    let no_routes = SeccompCondition::new(
        2,
        Len::Dword,
        Op::Ne,
        u64::from(libc::NETLINK_ROUTE.cast_unsigned()),
    )?;
    rules.push(SeccompRule::new(vec![is(0, libc::AF_NETLINK)?, no_routes])?);
    Ok(rules)
}

/// Typing into a terminal in the user's place.
fn terminals() -> Rules {
    let request = |number: libc::Ioctl| {
        // The kernel looks at 32 bits of it only.
        SeccompRule::new(vec![SeccompCondition::new(1, Len::Dword, Op::Eq, number)?])
    };
    [libc::TIOCSTI, libc::TIOCLINUX].into_iter().map(request).collect()
}

/// Kills whoever calls by the numbers of another kind of program (x32), which lead past the list.
fn foreign_numbers() -> BpfProgram {
    const FIRST: u32 = 0x4000_0000;
    let statement = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    // Load the number; from FIRST on kill, below it allow.
    vec![
        statement(0x20, 0, 0, 0),
        statement(0x35, 0, 1, FIRST),
        statement(0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_is_refused_once_and_for_a_reason() {
        let all: Vec<_> = REFUSED.iter().chain(REFUSED_HERE).collect();
        let numbers: BTreeSet<_> = all.iter().map(|call| call.number).collect();

        assert_eq!(numbers.len(), all.len());
        assert!(all.iter().all(|call| !call.reason.is_empty() && !call.name.is_empty()));
    }

    #[test]
    fn what_is_refused_is_told_once_for_each_reason() {
        let groups = by_reason();
        let reasons: BTreeSet<_> = groups.iter().map(|(reason, _)| reason).collect();
        let names: usize = groups.iter().map(|(_, names)| names.len()).sum();

        assert_eq!(reasons.len(), groups.len());
        assert_eq!(names, REFUSED.len() + REFUSED_HERE.len() + REFUSED_IN_PART.len());
        let namespaces = groups.iter().find(|(reason, _)| *reason == NAMESPACES).unwrap();
        assert_eq!(namespaces.1, ["setns", "unshare", "clone (with new namespaces)"]);
    }

    #[test]
    fn what_libraries_need_is_allowed() {
        let refused: BTreeSet<_> =
            REFUSED.iter().chain(REFUSED_HERE).map(|call| call.number).collect();
        for needed in [
            libc::SYS_mbind,
            libc::SYS_set_mempolicy,
            libc::SYS_sched_setaffinity,
            libc::SYS_memfd_create,
            libc::SYS_pidfd_open,
            libc::SYS_process_vm_readv,
            libc::SYS_io_setup,
            libc::SYS_membarrier,
        ] {
            assert!(!refused.contains(&needed), "{needed}");
        }
    }

    #[test]
    fn the_filter_can_be_made_here() {
        assert!(programs().unwrap().iter().all(|program| !program.is_empty()));
    }
}
