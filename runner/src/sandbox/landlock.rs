//! Landlock: which files a process and all it starts may read and write. The one home of the crate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};
use nix::libc;
use serde::{Deserialize, Serialize};

/// The newest version whose rights are handled; an older kernel does what it knows of.
const NEWEST: ABI = ABI::V6;

/// What a process may do with files; everything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// May be read and executed, with all that is in it.
    pub read: Vec<PathBuf>,
    /// May also be written.
    pub write: Vec<PathBuf>,
    /// Devices, or directories of them.
    pub devices: Vec<PathBuf>,
}

/// Why a fence could not be put up.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// A path of it cannot be opened.
    #[error("cannot open what the fence is made of")]
    Path {
        /// Why not.
        #[from]
        source: PathFdError,
    },
    /// A path of it cannot be looked at.
    #[error("cannot look at what the fence is made of")]
    Look {
        /// Why not.
        #[from]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("the kernel puts up no fence")]
    Kernel {
        /// Why not.
        #[from]
        source: RulesetError,
    },
}

/// Returns the version of Landlock that the kernel has, 0 for none.
#[must_use]
pub fn version() -> u32 {
    // LANDLOCK_CREATE_RULESET_VERSION
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no memory and makes no ruleset: it returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}

impl Fence {
    /// Puts the fence around this process and all it starts, for good. With it goes that they
    /// signal nobody else and connect to no abstract socket of others, where the kernel knows how.
    /// What is in `opened` is not looked for again.
    ///
    /// # Errors
    ///
    /// It is not up.
    pub fn put_up(&self, opened: &BTreeMap<PathBuf, OwnedFd>) -> Result<(), FenceError> {
        let read = AccessFs::from_read(NEWEST);
        let all = AccessFs::from_all(NEWEST);
        let device =
            AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::IoctlDev;
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        let kinds: [(&[PathBuf], BitFlags<AccessFs>); 3] =
            [(&self.read, read), (&self.write, all), (&self.devices, device)];
        let mut ruleset = ruleset;
        for (paths, access) in kinds {
            for path in paths {
                let file = File::from(match opened.get(path) {
                    Some(opened) => opened.try_clone()?,
                    None => PathFd::new(path)?.as_fd().try_clone_to_owned()?,
                });
                // Rights on directories are none on a file.
                let is_directory = file.metadata()?.is_dir();
                let access =
                    if is_directory { access } else { access & AccessFs::from_file(NEWEST) };
                ruleset = ruleset.add_rule(PathBeneath::new(file, access))?;
            }
        }
        ruleset.restrict_self()?;
        Ok(())
    }
}
