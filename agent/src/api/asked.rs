//! Who asks, and what their words mean: read from a request before its handler runs.
//!
//! A handler that is about one run takes a [`NamedRun`]. There is no other way from the words of a
//! request to a run, so that none can forget whose runs the asker may name.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use runner::run_id::RunId;

use super::error::ApiError;
use crate::agent::Agent;
use crate::peer::{Peer, is_owner};
use crate::task;

/// The user at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerUid(pub(super) u32);

impl FromRequestParts<Arc<Agent>> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, agent: &Arc<Agent>) -> Result<Self, ApiError> {
        let PeerUid(uid) = *parts.extensions.get().expect("the socket puts it there");
        let owner = rustix::process::geteuid().as_raw();
        if is_owner(uid, owner) {
            return Ok(Self { uid, rules: true });
        }
        let group = agent.users.admin_group.clone();
        Ok(task::blocking(move || Self::of(uid, owner, &group)).await)
    }
}

/// The run that the path of a request names, one of those that the asker may see.
pub(super) struct NamedRun(pub(super) RunId);

impl FromRequestParts<Arc<Agent>> for NamedRun {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, agent: &Arc<Agent>) -> Result<Self, ApiError> {
        let peer = Peer::from_request_parts(parts, agent).await?;
        let named = Path::<String>::from_request_parts(parts, agent).await;
        let Path(reference) = named.map_err(|error| ApiError::invalid(error.body_text()))?;
        Ok(Self(agent.store.resolve(&reference, peer).await?))
    }
}

impl Peer {
    /// Refuses those who may use the agent but not `action` it.
    pub(super) fn must_rule(self, action: &'static str) -> Result<(), ApiError> {
        if self.rules {
            return Ok(());
        }
        let owner = rustix::process::geteuid().as_raw();
        Err(ApiError::NotAdministrator { uid: self.uid, action, owner })
    }
}
