//! The agent's socket: the kernel says who is at its other end.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::server::graceful::GracefulShutdown;
use snapshots::path_error::{IoContext, PathError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{info_span, warn};

use super::super::asked::Asker;
use super::super::error::ApiError;
use super::connection::{self, Limits};
use crate::agent::Agent;
use crate::peer::is_owner;
use crate::task;
use crate::workspace::socket_address::SocketAddress;

/// Those who may be here are in no hurry, and large pieces are quicker.
const LIMITS: Limits = Limits { head: Duration::from_secs(30), kept: 400 << 10 };

/// The socket that the agent answers on.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    /// Whether whoever could connect may come in: the mode and the group of a socket that systemd
    /// made are the administrator's word on who that is. On our own, only its owner and root.
    open: bool,
    /// The socket's file, where it goes with the agent.
    own: Option<PathBuf>,
    /// As many may follow runs as like to.
    followers: Arc<Semaphore>,
}

impl Door {
    /// Takes the socket that systemd passed, or listens on the agent's own. What an earlier agent
    /// left there is removed: the lock says that there is none now.
    pub(super) fn open(agent: &Agent, passed: Option<StdListener>) -> Result<Self, PathError> {
        let socket = agent.workspace.socket();
        let followers = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        if let Some(passed) = passed {
            let usable = passed.set_nonblocking(true).and_then(|()| UnixListener::from_std(passed));
            let listener = usable.context("use the socket that systemd passed for", socket)?;
            return Ok(Self { listener, open: true, own: None, followers });
        }
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.context("remove", socket)?,
        }
        let address = SocketAddress::of(socket)?;
        let listener = UnixListener::bind(address.path()).context("listen on", socket)?;
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(socket, owner_only).context("protect", socket)?;
        Ok(Self { listener, open: false, own: Some(socket.to_owned()), followers })
    }

    /// Lets in whoever comes, until the agent is to stop.
    pub(super) async fn answer(&self, agent: &Agent, router: &Router, graceful: &GracefulShutdown) {
        let owner = rustix::process::geteuid().as_raw();
        while let Some((stream, _)) =
            super::next(agent, async || self.listener.accept().await).await
        {
            self.connect(graceful, router, owner, stream);
        }
    }

    /// Answers whoever is at the other end of `stream`.
    fn connect(
        &self,
        graceful: &GracefulShutdown,
        router: &Router,
        owner: u32,
        stream: UnixStream,
    ) {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => return warn!(%error, "Could not learn who connected."),
        };
        let router = if self.open || is_owner(uid, owner) {
            let followers = Arc::clone(&self.followers);
            router.clone().layer(Extension(Asker { uid, token: None, followers }))
        } else {
            warn!(uid, "Turned away someone else.");
            let refused = move || async move { ApiError::Foreign { uid, owner } };
            Router::new().fallback(refused)
        };
        let answering = connection::serve(stream, router, LIMITS, graceful.watcher());
        // The connection owns itself: it ends with its peer, or when `graceful` says so.
        task::spawn(info_span!("connection", uid), answering).detach();
    }

    /// Removes what is the agent's own.
    pub(super) fn close(self) {
        drop(self.listener);
        if let Some(Err(error)) = self.own.map(std::fs::remove_file) {
            warn!(%error, "Could not remove the socket.");
        }
    }
}
