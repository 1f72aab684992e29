//! Secrets as files in memory, which a container sees and no disk ever does.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::{Path, PathBuf};

use images::host::HostVariables;
use rustix::fs::statfs;
use snapshots::path_error::{IoContext as _, PathError};

use super::ContainerError;
use super::owner::Owner;
use crate::run_id::RunId;

/// What `statfs` says of file systems in memory.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
/// As much of a run id as tells it from all others: its end.
const ID_LENGTH: usize = 64;

/// A directory of secrets. Only the container's user may look into it. Removed when this is
/// dropped.
#[derive(Debug)]
pub(super) struct SecretFiles {
    path: PathBuf,
}

impl SecretFiles {
    /// Writes `secrets` of `run` for `owner`.
    pub(super) fn create<'a>(
        run: &RunId,
        owner: Owner,
        variables: &HostVariables,
        secrets: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ContainerError> {
        let place = places(variables).into_iter().find(|place| is_in_memory(place));
        let path = place.ok_or(ContainerError::NoMemoryFiles)?.join(name(run));
        DirBuilder::new().mode(0o700).create(&path).context("create", &path)?;
        let files = Self { path };
        for (name, value) in secrets {
            files.write(owner, name, value)?;
        }
        owner.take(&files.path, |path, uid, gid| lchown(path, uid, gid))?;
        Ok(files)
    }

    fn write(&self, owner: Owner, name: &str, value: &str) -> Result<(), ContainerError> {
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(ContainerError::SecretName { name: name.to_owned() });
        }
        let path = self.path.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&path)
            .context("create", &path)?;
        file.write_all(value.as_bytes()).context("write", &path)?;
        owner.take(&path, |_, uid, gid| fchown(&file, uid, gid))?;
        Ok(())
    }

    /// Returns where they are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SecretFiles {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("{error}");
        }
    }
}

/// Removes the secrets of `run`, whoever wrote them.
pub(super) fn remove_of(run: &RunId, variables: &HostVariables) -> Result<(), PathError> {
    places(variables).into_iter().try_for_each(|place| remove(&place.join(name(run))))
}

fn remove(path: &Path) -> Result<(), PathError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}

fn name(run: &RunId) -> String {
    let id = run.as_str();
    format!("trainyard-{}", &id[id.len().saturating_sub(ID_LENGTH)..])
}

/// Returns where file systems in memory are as a rule.
fn places(variables: &HostVariables) -> Vec<PathBuf> {
    let own = variables.get("XDG_RUNTIME_DIR").map(PathBuf::from);
    std::iter::once(PathBuf::from("/dev/shm")).chain(own).collect()
}

fn is_in_memory(place: &Path) -> bool {
    let writable = rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok();
    writable && statfs(place).is_ok_and(|facts| IN_MEMORY.contains(&facts.f_type))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn made(secrets: &[(&str, &str)], id: u32) -> Result<SecretFiles, ContainerError> {
        let run = RunId::generate("secret-files", u64::from(std::process::id()), id);
        let variables = HostVariables::default();
        SecretFiles::create(&run, Owner::of_this_process(), &variables, secrets.iter().copied())
    }

    #[test]
    fn secrets_are_in_memory_and_for_one_user_only() {
        let files = made(&[("TOKEN", "hunter2\n")], 1).unwrap();

        let file = files.path().join("TOKEN");
        assert_eq!(fs::read(&file).unwrap(), b"hunter2\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(files.path()), mode(&file)), (0o700, 0o400));
        assert_eq!(fs::metadata(&file).unwrap().uid(), nix::unistd::geteuid().as_raw());
        assert!(is_in_memory(files.path()));

        let path = files.path().to_owned();
        drop(files);
        assert!(!path.exists());
    }

    #[test]
    fn a_name_that_is_no_file_name_leaves_nothing() {
        for (id, name) in ["../x", "", ".."].into_iter().enumerate() {
            let id = 10 + u32::try_from(id).unwrap();
            let error = made(&[("GOOD", "x"), (name, "x")], id).unwrap_err();
            assert_eq!(error.to_string(), format!("the secret {name:?} cannot be a file"));
            let run = RunId::generate("secret-files", u64::from(std::process::id()), id);
            assert!(!Path::new("/dev/shm").join(super::name(&run)).exists());
        }
    }
}
