//! Who asks, and what their words mean: read from a request before its handler runs.
//!
//! A handler that is about one run takes a [`NamedRun`]. There is no other way from the words of a
//! request to a run, so that none can forget whose runs the asker may name.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use runner::run_id::RunId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::agent::Agent;
use crate::peer::{Peer, is_owner};
use crate::task;
use crate::token::TokenScope;

/// Who asks, by the word of the door that they came in by.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The user at the other end of the socket, or the one whose token was shown.
    pub(super) uid: u32,
    /// What the token is good for; none was needed at the socket.
    pub(super) token: Option<TokenScope>,
    /// The places for followers at that door.
    pub(super) followers: Arc<Semaphore>,
}

impl Asker {
    fn of(parts: &Parts) -> &Self {
        parts.extensions.get().expect("every door puts it there")
    }
}

impl FromRequestParts<Arc<Agent>> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, agent: &Arc<Agent>) -> Result<Self, ApiError> {
        let &Asker { uid, token, .. } = Asker::of(parts);
        if token.is_some_and(|scope| scope != TokenScope::Admin) {
            return Ok(Self { uid, rules: false });
        }
        let owner = rustix::process::geteuid().as_raw();
        if is_owner(uid, owner) {
            return Ok(Self { uid, rules: true });
        }
        let group = agent.users.admin_group.clone();
        Ok(task::blocking(move || Self::of(uid, owner, &group)).await)
    }
}

/// Who asks for what no token is good for: else whoever got hold of one could make more.
pub(super) struct AtSocket(pub(super) Peer);

impl FromRequestParts<Arc<Agent>> for AtSocket {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, agent: &Arc<Agent>) -> Result<Self, ApiError> {
        match Asker::of(parts).token {
            Some(_) => Err(ApiError::OnlyAtSocket),
            None => Ok(Self(Peer::from_request_parts(parts, agent).await?)),
        }
    }
}

/// A place for a follower, which is free again when this is dropped.
pub(super) struct FollowerPlace(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl<S: Sync> FromRequestParts<S> for FollowerPlace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let places = Arc::clone(&Asker::of(parts).followers);
        places.try_acquire_owned().map(Self).map_err(|_| ApiError::NotReady {
            reason: "as many runs are being followed over TCP as may be",
            hint: "try again when somebody has stopped",
        })
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
