//! Connections that read. As many as there are readers at once, kept for the next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{StoreError, connection};
use crate::task;

/// More idle connections than this are closed.
const KEPT: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default() }
    }

    /// Carries out `call` on a connection, in one consistent state of the records.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.clone();
        task::blocking(move || readers.read_now(call)).await
    }

    /// As [`read`](Self::read), on the calling thread.
    pub(super) fn read_now<T>(
        &self,
        call: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connection::open_for_reading(&self.path)
                .map_err(|source| StoreError::Open { path: self.path.clone(), source })?,
        };
        let state = connection
            .transaction()
            .map_err(|source| StoreError::Statement { action: "begin to read", source })?;
        let result = call(&state);
        drop(state);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        result
    }
}
