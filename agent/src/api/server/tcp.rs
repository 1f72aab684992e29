//! The door to the network: a token says who asks, and everything has a limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state, map_request};
use axum::response::Response;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use jiff::Timestamp;
use snapshots::digest::Digest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, info_span, warn};

use super::super::asked::Asker;
use super::super::body::within;
use super::super::error::ApiError;
use super::connection::{self, Limits};
use super::gate::{self, Gate};
use super::patient::Patient;
use super::places::{Place, Places};
use crate::agent::Agent;
use crate::listen::{Certificate, Listener};
use crate::peer::may_connect;
use crate::store::TokenRow;
use crate::task;
use crate::token::TokenRefused;

/// How long whoever connects may take to show a token: the handshake and a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection is kept on which nothing more is asked, and how much for it.
const LIMITS: Limits = Limits { head: Duration::from_secs(60), kept: 64 << 10 };

/// How long a peer may take none of what it is sent, and send none of a body that it began.
const STALLED: Duration = Duration::from_secs(30);

/// How often it is looked whether the token that was shown on a connection still counts.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// The most runs that are followed over TCP at once.
const FOLLOWERS: usize = 100;

/// Where the agent answers over TCP.
pub(super) struct Door {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gate: Arc<Gate>,
    places: Places,
    followers: Arc<Semaphore>,
}

/// Somebody who came in by it.
struct Visit {
    agent: Arc<Agent>,
    gate: Arc<Gate>,
    place: Place,
    followers: Arc<Semaphore>,
    /// The token that was shown last.
    shown: Mutex<Option<Digest>>,
}

impl Door {
    pub(super) fn open(agent: &Agent, listener: Listener) -> std::io::Result<Self> {
        let Listener { socket, hosts, connections, entrance } = listener;
        socket.set_nonblocking(true)?;
        let tls = entrance.certificate.as_ref().map(Certificate::acceptor);
        let scheme = if tls.is_some() { "https" } else { "http" };
        info!(url = entrance.told().url, "Listening on TCP.");
        agent.listening.set(entrance).ok();
        Ok(Self {
            listener: TcpListener::from_std(socket)?,
            tls,
            gate: Arc::new(Gate { hosts, scheme }),
            places: Places::new(connections),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        })
    }

    /// Lets in whoever comes and finds a place, until the agent is to stop.
    pub(super) async fn answer(
        &self,
        agent: &Arc<Agent>,
        router: &Router,
        graceful: &GracefulShutdown,
    ) {
        while let Some((stream, from)) =
            super::next(agent, async || self.listener.accept().await).await
        {
            let Some(place) = self.places.take() else {
                debug!(%from, "Turned somebody away: all connections are taken.");
                continue;
            };
            let visit = Arc::new(Visit {
                agent: Arc::clone(agent),
                gate: Arc::clone(&self.gate),
                place,
                followers: Arc::clone(&self.followers),
                shown: Mutex::default(),
            });
            let (tls, router, graceful) = (self.tls.clone(), router.clone(), graceful.watcher());
            let visiting = visit.until_over(stream, tls, router, graceful);
            // The connection owns itself: it ends with its peer, its place or the agent.
            task::spawn(info_span!("connection", %from), visiting).detach();
        }
    }
}

impl Visit {
    /// Answers what is asked on `stream`, as long as the visitor may stay.
    async fn until_over(
        self: Arc<Self>,
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        router: Router,
        graceful: Watcher,
    ) {
        let router =
            router.layer(from_fn_with_state(Arc::clone(&self), admit)).layer(map_request(hurry));
        notice_its_end(&stream);
        let stream = Patient::new(stream, STALLED);
        let answering = async {
            match tls {
                None => connection::serve(stream, router, LIMITS, graceful).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => connection::serve(stream, router, LIMITS, graceful).await,
                    Err(error) => debug!(%error, "A TLS handshake failed."),
                },
            }
        };
        tokio::select! {
            () = answering => {}
            () = self.place.needed() => debug!("Gave the place of somebody silent to another."),
            () = self.outstayed() => debug!("Ended a connection without a token that counts."),
        }
    }

    /// Waits until the visitor has shown no token for too long, or one that counts no more.
    async fn outstayed(&self) {
        tokio::time::sleep(HEAD_LIMIT).await;
        loop {
            let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(digest) = shown else { return };
            // Records that cannot be read say nothing against anybody.
            if let Err(ApiError::Token(_)) = self.token(digest).await {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns what is known of a token that counts.
    async fn token(&self, digest: Digest) -> Result<TokenRow, ApiError> {
        let token = self.agent.store.token(digest).await?.ok_or(TokenRefused::Unknown)?;
        token.is_good(Timestamp::now())?;
        let socket = self.agent.workspace.socket().to_owned();
        let uid = token.uid;
        // A socket that cannot be looked at lets nobody in.
        let may = move || socket.metadata().is_ok_and(|found| may_connect(&found, uid));
        if task::blocking(may).await {
            return Ok(token);
        }
        Err(TokenRefused::ShutOut { name: token.name, uid }.into())
    }

    /// Notes that a token was shown that counts.
    fn welcome(&self, digest: Digest, token: &TokenRow) {
        self.place.prove();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        let (agent, token) = (Arc::clone(&self.agent), token.clone());
        // Nobody waits for that, nor is turned away while the records cannot be written.
        task::spawn(info_span!("token"), async move {
            if let Err(error) = agent.store.token_used(&token, Timestamp::now()).await {
                warn!(%error, "Could not note that a token was used.");
            }
        })
        .detach();
    }
}

/// Lets a request in that is as it has to be, with a token that is good for it.
async fn admit(
    State(visit): State<Arc<Visit>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    visit.gate.check(&parts)?;
    let digest = gate::take_token(&mut parts.headers)?.digest();
    let token = visit.token(digest).await?;
    visit.welcome(digest, &token);
    if !token.scope.covers(gate::only_looks(&parts.method)) {
        let method = parts.method.to_string();
        return Err(ApiError::ReadOnly { name: token.name, method });
    }
    let followers = Arc::clone(&visit.followers);
    parts.extensions.insert(Asker { uid: token.uid, token: Some(token.scope), followers });
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Sees to it that a body which was begun goes on.
async fn hurry(request: Request) -> Request {
    request.map(|body| within(body, STALLED))
}

/// Has the kernel give up a peer that is gone without a word, where it can.
fn notice_its_end(stream: &TcpStream) {
    let milliseconds = u32::try_from(STALLED.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds).ok();
    stream.set_nodelay(true).ok();
}
