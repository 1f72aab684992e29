//! Everything the agent says no with, and how that looks on the wire.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use images::cache::EnvironmentError;
use runner::compute_target::TargetError;
use runner::container::ContainerRefused;
use snapshots::digest::Digest;
use snapshots::transfer::TransferError;
use tracing::error;

use super::wire::problem::{Problem, ProblemDetail};
use crate::disk::is_full as is_disk_full;
use crate::disk::shortage::Shortage;
use crate::quota::{Bytes, NoRoom};
use crate::run::removal::RemovalError;
use crate::run::sandboxing::SandboxNotAllowed;
use crate::run::status::TransitionDenied;
use crate::run::submission::Refused;
use crate::store::StoreError;
use crate::targets::RegistryError;
use crate::token::TokenRefused;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// There is no such route.
    #[error("there is nothing at {path}")]
    NoRoute {
        /// What was asked for.
        path: String,
    },
    /// The route exists for other methods.
    #[error("{path} does not take {method}")]
    Method {
        /// What was asked for.
        path: String,
        /// How.
        method: String,
    },
    /// The caller is someone else.
    #[error("uid {uid} may not use the agent of uid {owner}")]
    Foreign {
        /// The caller.
        uid: u32,
        /// Whose agent it is.
        owner: u32,
    },
    /// The caller may use the agent, but not rule it.
    #[error("uid {uid} may not {action} the agent of uid {owner}")]
    NotAdministrator {
        /// The caller.
        uid: u32,
        /// What was asked for.
        action: &'static str,
        /// Whose agent it is.
        owner: u32,
    },
    /// The `Host` header names somebody else: whoever asks was led here by a name of theirs.
    #[error("{host:?} is no name of this agent")]
    OtherHost {
        /// What was asked for.
        host: String,
    },
    /// A page of another site asks.
    #[error("pages of {origin:?} may not ask this agent")]
    OtherOrigin {
        /// Whose page it is.
        origin: String,
    },
    /// The token lets nobody in.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The token is good for less.
    #[error("the token {name:?} is for reading: it may not {method}")]
    ReadOnly {
        /// What its user called it.
        name: String,
        /// What was tried.
        method: String,
    },
    /// No token is good for it.
    #[error("tokens are made, listed and revoked at the agent's socket only")]
    OnlyAtSocket,
    /// The agent is there, but not for new work.
    #[error("{reason}")]
    NotReady {
        /// Why.
        reason: &'static str,
        /// What can be done.
        hint: &'static str,
    },
    /// The body is not said to be what it must be.
    #[error("the body must be {expected}")]
    MediaType {
        /// What it must be.
        expected: &'static str,
    },
    /// The body is too long.
    #[error("the body is over the limit of {limit} bytes")]
    TooLarge {
        /// How long it may be.
        limit: usize,
    },
    /// The body broke off, and its sender said nothing.
    #[error("the rest of the body did not come")]
    Stalled,
    /// The request cannot be understood.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// Something cannot be done yet.
    #[error("{message}")]
    NotYet {
        /// What.
        message: String,
        /// What can be done instead.
        hint: String,
    },
    /// A container may not be what was asked for.
    #[error(transparent)]
    Container(#[from] ContainerRefused),
    /// A sandbox may not be what was asked for.
    #[error(transparent)]
    Sandbox(#[from] SandboxNotAllowed),
    /// The agent does not have the source of a run.
    #[error("the agent's store has no snapshot {snapshot}")]
    NoSnapshot {
        /// The snapshot.
        snapshot: Digest,
    },
    /// A run has no such file.
    #[error("run {run} has no file {path:?}")]
    NoFile {
        /// The run.
        run: String,
        /// The path.
        path: String,
    },
    /// The records said no.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// A snapshot's objects were not taken.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The user may have no more on the disk.
    #[error(transparent)]
    OverQuota(#[from] Bytes),
    /// Room is kept on the disk for the runs that are on.
    #[error("the agent takes nothing more for want of disk space: {_0}")]
    Short(Shortage),
    /// The environments said no.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A target is not there, or said no.
    #[error(transparent)]
    Target(#[from] RegistryError),
    /// The object store or a directory said no.
    #[error("cannot {action}")]
    Internal {
        /// What was being done.
        action: &'static str,
        /// Why it did not work.
        source: anyhow::Error,
    },
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid { message } => Self::Invalid { message },
            Refused::NotYet { message, hint } => Self::NotYet { message, hint },
            Refused::Container(refused) => Self::Container(refused),
            Refused::Sandbox(refused) => Self::Sandbox(refused),
            Refused::Target(error) => Self::Target(*error),
            Refused::NoSnapshot { snapshot } => Self::NoSnapshot { snapshot },
            Refused::Objects(error) => Self::internal("look for the snapshot")(error),
            Refused::Directory(error) => Self::internal("prepare the run directory")(error),
            Refused::Records(error) => Self::Records(error),
            Refused::NoRoom(error) => error.into(),
            Refused::Short(shortage) => Self::Short(shortage),
        }
    }
}

impl From<NoRoom> for ApiError {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Over(bytes) => Self::OverQuota(bytes),
            NoRoom::Records(error) => Self::Records(error),
        }
    }
}

impl From<RemovalError> for ApiError {
    fn from(error: RemovalError) -> Self {
        match error {
            RemovalError::Records(error) => Self::Records(error),
            RemovalError::Directory(error) => Self::internal("remove the run directory")(error),
        }
    }
}

impl ApiError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    /// Says what was being done when something failed.
    pub(super) fn internal<E: Into<anyhow::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Internal { action, source: source.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute { .. } | Self::NoFile { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Foreign { .. }
            | Self::NotAdministrator { .. }
            | Self::OtherOrigin { .. }
            | Self::ReadOnly { .. }
            | Self::OnlyAtSocket => StatusCode::FORBIDDEN,
            Self::OtherHost { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Invalid { .. } | Self::NotYet { .. } => StatusCode::BAD_REQUEST,
            Self::Container(_) | Self::Sandbox(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoSnapshot { .. } => StatusCode::CONFLICT,
            Self::Records(error) => match error {
                StoreError::NoSuchRun { .. } | StoreError::NoSuchToken { .. } => {
                    StatusCode::NOT_FOUND
                }
                StoreError::Ambiguous { .. }
                | StoreError::Denied(_)
                | StoreError::NotEnded { .. }
                | StoreError::NotWaiting { .. }
                | StoreError::AmbiguousToken { .. }
                | StoreError::TokenExists { .. }
                | StoreError::TooManyTokens { .. }
                | StoreError::KeyReused { .. } => StatusCode::CONFLICT,
                StoreError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
                error if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Transfer(error) => match error {
                TransferError::Archive(_) | TransferError::Record { .. } => StatusCode::BAD_REQUEST,
                TransferError::Incomplete { .. } => StatusCode::CONFLICT,
                TransferError::Store(error) if is_disk_full(error) => {
                    StatusCode::INSUFFICIENT_STORAGE
                }
                TransferError::Store(_) | TransferError::Remote { .. } => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            },
            Self::Short(_) | Self::OverQuota(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Environment(error) => environment_status(error),
            Self::Target(error) => target_status(error),
            Self::Internal { source, .. } if is_disk_full(source.as_ref()) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoRoute { .. } => "no_route",
            Self::Method { .. } => "method_not_allowed",
            Self::Foreign { .. } => "foreign_user",
            Self::NotAdministrator { .. } => "not_administrator",
            Self::OtherHost { .. } => "other_host",
            Self::OtherOrigin { .. } => "other_origin",
            Self::Token(refused) => match refused {
                TokenRefused::Missing => "no_token",
                TokenRefused::Malformed | TokenRefused::Unknown => "unknown_token",
                TokenRefused::Expired { .. } => "expired_token",
                TokenRefused::ShutOut { .. } => "shut_out",
            },
            Self::ReadOnly { .. } => "read_only_token",
            Self::OnlyAtSocket => "only_at_socket",
            Self::NotReady { .. } => "not_ready",
            Self::MediaType { .. } => "unsupported_media_type",
            Self::TooLarge { .. } => "body_too_large",
            Self::Stalled => "request_timeout",
            Self::Invalid { .. } => "invalid_request",
            Self::NotYet { .. } => "not_yet",
            Self::Container(_) => "container_refused",
            Self::Sandbox(_) => "sandbox_refused",
            Self::NoSnapshot { .. } => "snapshot_missing",
            Self::NoFile { .. } => "file_not_found",
            Self::Records(error) => match error {
                StoreError::NoSuchRun { .. } => "run_not_found",
                StoreError::Ambiguous { .. } => "ambiguous_run",
                StoreError::Denied(TransitionDenied::Ended { .. }) => "run_ended",
                StoreError::Denied(TransitionDenied::OutOfOrder { .. }) => "out_of_order",
                StoreError::NotEnded { .. } => "run_not_ended",
                StoreError::NotWaiting { .. } => "run_not_waiting",
                StoreError::KeyReused { .. } => "idempotency_key_reused",
                StoreError::TooMany { .. } => "too_many_runs",
                StoreError::NoSuchToken { .. } => "token_not_found",
                StoreError::AmbiguousToken { .. } => "ambiguous_token",
                StoreError::TokenExists { .. } => "token_exists",
                StoreError::TooManyTokens { .. } => "too_many_tokens",
                error if error.is_full() => "disk_full",
                _ => "records_failed",
            },
            Self::Transfer(error) => match error {
                TransferError::Archive(_) => "broken_pack",
                TransferError::Record { .. } => "unknown_record",
                TransferError::Incomplete { .. } => "snapshot_incomplete",
                TransferError::Store(error) if is_disk_full(error) => "disk_full",
                TransferError::Store(_) | TransferError::Remote { .. } => "transfer_failed",
            },
            Self::Short(_) => "disk_full",
            Self::OverQuota(_) => "over_quota",
            Self::Environment(EnvironmentError::NotFound { .. }) => "environment_not_found",
            Self::Environment(EnvironmentError::Ambiguous { .. }) => "ambiguous_environment",
            Self::Environment(EnvironmentError::InUse { .. }) => "environment_in_use",
            Self::Environment(_) => "environment_failed",
            Self::Target(error) => target_code(error),
            Self::Internal { source, .. } if is_disk_full(source.as_ref()) => "disk_full",
            Self::Internal { .. } => "internal",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => {
                Some("unset TRAINYARD_SOCKET and TRAINYARD_HOME to use an agent of your own".into())
            }
            Self::NotAdministrator { .. } => {
                Some("ask whoever looks after this agent: root, its own user and the administrators' group may, over TCP with a token of scope admin".into())
            }
            Self::OtherHost { .. } => {
                Some("`listen.hosts` in the agent's configuration names what it is called".into())
            }
            Self::Token(TokenRefused::ShutOut { .. }) => {
                Some("ask whoever looks after the agent's machine".into())
            }
            Self::Token(_) => Some(
                "`trainyard token create NAME` on the agent's machine makes one; set TRAINYARD_TOKEN_FILE to a file that holds it".into(),
            ),
            Self::ReadOnly { .. } => {
                Some("`trainyard token create NAME --scope write` makes one that may".into())
            }
            Self::OnlyAtSocket => {
                Some("log in to the agent's machine for that".into())
            }
            Self::OverQuota(_) => Some(
                "`trainyard remove` removes a run of yours, `trainyard gc --older 7d` old ones and what only they needed".into(),
            ),
            Self::NotReady { hint, .. } => Some((*hint).into()),
            Self::NoSnapshot { .. } => {
                Some("send its objects first: POST /v1/transfers/pack".into())
            }
            Self::NoRoute { .. } | Self::Method { .. } => {
                Some("GET /openapi.json lists what there is".into())
            }
            Self::NotYet { hint, .. } => Some(hint.clone()),
            Self::Container(refused) => Some(refused.hint.clone()),
            Self::Sandbox(refused) => Some(refused.hint().to_owned()),
            Self::Environment(error) => error.hint(),
            Self::Target(error) => error.hint(),
            Self::Records(error) if !error.is_full() => error.hint().map(str::to_owned),
            error if error.status() == StatusCode::INSUFFICIENT_STORAGE => {
                Some("`trainyard gc` frees what nothing refers to".into())
            }
            _ => None,
        }
    }

    fn message(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        text
    }
}

fn environment_status(error: &EnvironmentError) -> StatusCode {
    match error {
        EnvironmentError::NotFound { .. } => StatusCode::NOT_FOUND,
        EnvironmentError::Ambiguous { .. } | EnvironmentError::InUse { .. } => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn target_status(error: &RegistryError) -> StatusCode {
    match error {
        RegistryError::Invalid { .. } | RegistryError::Local { .. } => StatusCode::BAD_REQUEST,
        RegistryError::NotAttached { .. } => StatusCode::NOT_FOUND,
        RegistryError::Twice { .. }
        | RegistryError::OtherMachine { .. }
        | RegistryError::OtherKey { .. }
        | RegistryError::Taken { .. }
        | RegistryError::InUse { .. } => StatusCode::CONFLICT,
        RegistryError::NotYours { .. } => StatusCode::FORBIDDEN,
        RegistryError::Target { .. } => StatusCode::BAD_GATEWAY,
        RegistryError::Path(error) if is_disk_full(error) => StatusCode::INSUFFICIENT_STORAGE,
        RegistryError::Objects(error) if is_disk_full(error) => StatusCode::INSUFFICIENT_STORAGE,
        RegistryError::Path(_) | RegistryError::Records(_) | RegistryError::Objects(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn target_code(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Invalid { .. } => "invalid_request",
        RegistryError::Local { .. } => "target_is_local",
        RegistryError::NotAttached { .. } => "target_not_found",
        RegistryError::Twice { .. } => "attached_twice",
        RegistryError::OtherMachine { .. } => "other_machine",
        RegistryError::OtherKey { .. } => "other_host_key",
        RegistryError::InUse { .. } => "target_in_use",
        RegistryError::Taken { .. } => "taken",
        RegistryError::NotYours { .. } => "not_administrator",
        RegistryError::Target { error, .. } => match **error {
            TargetError::OutOfContact { .. } => "out_of_contact",
            _ => "target_failed",
        },
        RegistryError::Path(error) if is_disk_full(error) => "disk_full",
        RegistryError::Objects(error) if is_disk_full(error) => "disk_full",
        RegistryError::Path(_) | RegistryError::Records(_) | RegistryError::Objects(_) => {
            "internal"
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        // That it is not ready is asked every few seconds, and no news.
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            error!(code = self.code(), message = self.message(), "A request failed.");
        }
        let candidates = match &self {
            Self::Records(
                StoreError::Ambiguous { candidates, .. }
                | StoreError::AmbiguousToken { candidates, .. },
            ) => candidates.clone(),
            _ => Vec::new(),
        };
        let error = ProblemDetail {
            code: self.code().to_owned(),
            message: self.message(),
            hint: self.hint(),
            candidates,
        };
        let mut response = (status, Json(Problem { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
