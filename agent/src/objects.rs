//! The object stores: the agent's own, and one for each other user.
//!
//! A store answers whether it has an object, how many bytes of a snapshot had to travel, and takes
//! no time for what it has. Of a store that several users share, each of these tells one what
//! another has. So there is none: every question of a user goes to a store that holds only what
//! that user sent. What two users both send is kept twice; that is the price. It also makes what a
//! user takes on the disk the size of a directory.
//!
//! Root and the agent's own user, who can read all of them anyway, have the agent's own, which
//! their command line may write to directly.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use runner::durable_file::sync_directory;
use snapshots::path_error::{IoContext, PathError};
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;

use crate::peer::is_owner;
use crate::task;
use crate::workspace::Workspace;

/// Which object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoreOf {
    /// The agent's own.
    Agent,
    /// That of this user.
    User(u32),
}

impl StoreOf {
    /// Reads which it is from the user; none is the agent.
    pub(crate) fn from_uid(uid: Option<u32>) -> Self {
        uid.map_or(Self::Agent, Self::User)
    }

    /// Returns the user.
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Self::Agent => None,
            Self::User(uid) => Some(uid),
        }
    }
}

/// The object stores of an agent.
pub(crate) struct Objects {
    own: LocalStore,
    users: PathBuf,
    owner: u32,
    /// Those that were opened: what one has read of its packs is kept.
    open: Mutex<BTreeMap<u32, LocalStore>>,
}

impl Objects {
    /// Opens the agent's own, and none of the others.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn open(workspace: &Workspace) -> Result<Self, StoreError> {
        Ok(Self {
            own: LocalStore::open(&workspace.store())?,
            users: workspace.users(),
            owner: rustix::process::geteuid().as_raw(),
            open: Mutex::default(),
        })
    }

    /// Returns where what `uid` hands in goes.
    pub(crate) fn of(&self, uid: u32) -> StoreOf {
        if is_owner(uid, self.owner) { StoreOf::Agent } else { StoreOf::User(uid) }
    }

    /// Returns a store, and makes it where it is not there yet.
    ///
    /// # Errors
    ///
    /// It cannot be made or opened.
    pub(crate) async fn get(self: &Arc<Self>, whose: StoreOf) -> Result<LocalStore, StoreError> {
        let objects = Arc::clone(self);
        task::blocking(move || objects.get_now(whose)).await
    }

    /// As [`get`](Self::get), on the calling thread.
    pub(crate) fn get_now(&self, whose: StoreOf) -> Result<LocalStore, StoreError> {
        let StoreOf::User(uid) = whose else { return Ok(self.own.clone()) };
        let directory = self.directory(whose);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&uid) {
            return Ok(store.clone());
        }
        let user = self.users.join(uid.to_string());
        for directory in [&self.users, &user, &directory] {
            create(directory)?;
        }
        let store = LocalStore::open(&directory)?;
        open.insert(uid, store.clone());
        Ok(store)
    }

    /// Returns all that there are. Blocks.
    ///
    /// # Errors
    ///
    /// The disk cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<StoreOf>, PathError> {
        let entries = match std::fs::read_dir(&self.users) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(vec![StoreOf::Agent]);
            }
            entries => entries.context("list", &self.users)?,
        };
        let mut all = vec![StoreOf::Agent];
        for entry in entries {
            let name = entry.context("list", &self.users)?.file_name();
            all.extend(name.to_str().and_then(|name| name.parse().ok()).map(StoreOf::User));
        }
        Ok(all)
    }

    /// Returns the directories that all of them are in.
    pub(crate) fn directories(&self) -> [&Path; 2] {
        [self.own.directory(), &self.users]
    }

    /// Returns the directory that a store is in.
    pub(crate) fn directory(&self, whose: StoreOf) -> PathBuf {
        match whose {
            StoreOf::Agent => self.own.directory().to_owned(),
            StoreOf::User(uid) => self.users.join(uid.to_string()).join("store"),
        }
    }
}

fn create(directory: &Path) -> Result<(), PathError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.context("create", directory)?;
            // A run that was accepted is not to lose its source with the power.
            directory.parent().map_or(Ok(()), sync_directory)
        }
    }
}

#[cfg(test)]
mod tests {
    use snapshots::digest::Digest;

    use super::*;

    #[test]
    fn what_one_user_stores_is_in_no_other_store() {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().join("home"));
        workspace.create().unwrap();
        let objects = Objects::open(&workspace).unwrap();
        assert_eq!(objects.all().unwrap(), [StoreOf::Agent]);
        let [ana, ben] = [objects.of(4_000_001), objects.of(4_000_002)];
        let content = b"of ana alone";

        let mut writer = objects.get_now(ana).unwrap().writer().unwrap();
        writer.put(Digest::of(content), content).unwrap();
        writer.commit().unwrap();

        let has = |whose| objects.get_now(whose).unwrap().contains(&Digest::of(content)).unwrap();
        assert_eq!([ana, ben, objects.of(0)].map(has), [true, false, false]);
        let again = Objects::open(&workspace).unwrap();
        let mut all = again.all().unwrap();
        all.sort();
        assert_eq!(all, [StoreOf::Agent, ana, ben]);
        assert!(again.get_now(ana).unwrap().contains(&Digest::of(content)).unwrap());
    }
}
