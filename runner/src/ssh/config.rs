//! `~/.ssh/config`: what an alias stands for.

use std::path::{Path, PathBuf};

use super::SshError;

/// What the configuration says of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`s, with `~` replaced.
    pub identity_files: Vec<PathBuf>,
    /// `ProxyJump`, each as `[user@]host[:port]`, the nearest first; empty for `none`.
    pub jumps: Vec<String>,
}

/// Looks `host` up in the configuration file at `path`; one that does not exist says nothing.
///
/// # Errors
///
/// [`SshError::Config`]: it cannot be read.
pub fn look_up(path: &Path, host: &str) -> Result<HostConfig, SshError> {
    todo!("{path:?} {host}")
}
