//! One repository, opened with trust in nothing.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::bstr::{BStr, ByteSlice};
use gix::sec::Trust;

use super::{AnyError, remote};

/// A repository that is read and never obeyed.
pub(super) struct Repository {
    pub(super) git: gix::Repository,
    /// The directory that has `.git` in it.
    pub(super) root: PathBuf,
}

impl Repository {
    /// Opens the repository whose top directory is `root`, a real path.
    pub(super) fn open(root: &Path) -> Result<Self, AnyError> {
        let options = gix::open::Options::isolated()
            .with(Trust::Reduced)
            // Ownership can raise the trust again (for submodules, it does); this cannot be.
            .filter_config_section(|_| false)
            .lossy_config(true);
        let git = gix::open_opts(root, options)?;
        Ok(Self { git, root: root.to_owned() })
    }

    /// Returns the branch and the commit that `HEAD` is at, each if there is one.
    pub(super) fn head(&self) -> (Option<String>, Option<String>) {
        let branch = self.git.head_name().ok().flatten();
        let branch = branch.map(|name| name.as_ref().shorten().to_str_lossy().into_owned());
        let commit = self.git.head_id().ok().map(|id| id.to_string());
        (branch, commit)
    }

    /// Returns the address of the remote that `git fetch` would ask, without secrets.
    pub(super) fn remote_url(&self, branch: Option<&str>) -> Option<String> {
        let config = self.git.config_snapshot();
        let config = config.plumbing();
        let remotes: BTreeSet<&BStr> = config
            .sections_by_name("remote")
            .into_iter()
            .flatten()
            .filter_map(|section| section.header().subsection_name())
            .collect();
        let of_branch = branch.and_then(|branch| config.string(&format!("branch.{branch}.remote")));
        let name: &BStr = match (&of_branch, remotes.first()) {
            (Some(name), _) => name.as_bstr(),
            (None, Some(only)) if remotes.len() == 1 => only,
            (None, _) => b"origin".as_bstr(),
        };
        let url = config.strings_by("remote", Some(name), "url");
        // A branch may name an address in the place of a remote.
        let url = url.and_then(|urls| urls.into_iter().next()).or_else(|| of_branch.clone())?;
        remote::without_secrets(url.to_str().ok()?)
    }

    /// Returns why the work tree cannot be compared, if it cannot.
    ///
    /// `core.worktree` could make any directory the one that is compared and put into a patch.
    pub(super) fn check_work_tree(&self) -> Result<(), String> {
        match self.git.workdir().map(Path::canonicalize) {
            None => Err("the repository is bare".to_owned()),
            Some(Ok(found)) if found == self.root => Ok(()),
            Some(_) => Err("the repository's work tree is somewhere else".to_owned()),
        }
    }

    /// Returns the path of `directory` from the top, empty for the top itself.
    pub(super) fn path_to(&self, directory: &Path) -> Option<Vec<u8>> {
        Some(directory.strip_prefix(&self.root).ok()?.as_os_str().as_bytes().to_vec())
    }
}
