//! Tokens: made, listed and revoked at the socket, never with a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use super::super::asked::AtSocket;
use super::super::body::Document;
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::super::wire::token::{TokenDocument, TokenMade, TokenRequest};
use crate::agent::Agent;
use crate::peer::Scope;
use crate::store::TokenRow;
use crate::task;
use crate::token::{self, Token, TokenScope};
use crate::user_database;

/// Whose tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub(in super::super) struct TokensQuery {
    /// Those of all users; only for who rules the agent. Default: one's own.
    #[serde(default)]
    all_users: bool,
}

/// Makes a token of the user who asks. This answer is the only place where it can be read.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "createToken", tag = "tokens",
    request_body = TokenRequest,
    responses(
        (status = 201, description = "The token, and what is kept of it.", body = TokenMade),
        (status = 400, description = "The request cannot be understood.", body = Problem),
        (status = 403, description = "Asked for with a token, or `admin` by who does not rule the agent.", body = Problem),
        (status = 409, description = "The user has one of that name, or as many as they may.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
    ))]
pub(in super::super) async fn create(
    State(agent): State<Arc<Agent>>,
    AtSocket(peer): AtSocket,
    Document(request): Document<TokenRequest>,
) -> Result<(StatusCode, Json<TokenMade>), ApiError> {
    let TokenRequest { name, scope, lifetime_seconds } = request;
    token::check_name(&name).map_err(ApiError::invalid)?;
    if scope == TokenScope::Admin {
        peer.must_rule("make a token that rules")?;
    }
    let now = Timestamp::now();
    let expires = token::expiry(lifetime_seconds, now).map_err(ApiError::invalid)?;
    let made = Token::generate();
    let id = format!("{:08x}", rand::random::<u32>());
    let row = TokenRow { id, uid: peer.uid, name, scope, created: now, expires, last_used: None };
    agent.store.add_token(made.digest(), row.clone()).await?;
    info!(uid = row.uid, id = row.id, name = row.name, scope = scope.name(), "Token made.");
    let token = made.reveal().to_owned();
    let about = documents(vec![row]).await.remove(0);
    Ok((StatusCode::CREATED, Json(TokenMade { token, about })))
}

/// Lists tokens, the oldest first, without what would let anybody in.
#[utoipa::path(get, path = "/v1/tokens", operation_id = "listTokens", tag = "tokens",
    params(TokensQuery),
    responses(
        (status = 200, description = "The tokens.", body = Vec<TokenDocument>),
        (status = 403, description = "Asked for with a token, or everybody's by who does not rule the agent.", body = Problem),
    ))]
pub(in super::super) async fn list(
    State(agent): State<Arc<Agent>>,
    AtSocket(peer): AtSocket,
    query: Result<Query<TokensQuery>, QueryRejection>,
) -> Result<Json<Vec<TokenDocument>>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    if query.all_users {
        peer.must_rule("list everybody's tokens of")?;
    }
    let scope = if query.all_users { Scope::All } else { Scope::Of(peer.uid) };
    Ok(Json(documents(agent.store.tokens(scope).await?).await))
}

/// Revokes a token: whoever shows it is turned away from now on, and what they follow breaks off
/// within half a minute.
#[utoipa::path(delete, path = "/v1/tokens/{ref}", operation_id = "revokeToken", tag = "tokens",
    params(("ref" = String, Path, description = "Its id or its name.")),
    responses(
        (status = 204, description = "It is revoked."),
        (status = 403, description = "Asked for with a token.", body = Problem),
        (status = 404, description = "There is none.", body = Problem),
        (status = 409, description = "Several users have one of that name.", body = Problem),
    ))]
pub(in super::super) async fn revoke(
    State(agent): State<Arc<Agent>>,
    AtSocket(peer): AtSocket,
    Path(reference): Path<String>,
) -> Result<StatusCode, ApiError> {
    let row = agent.store.remove_token(&reference, peer).await?;
    info!(by = peer.uid, uid = row.uid, id = row.id, name = row.name, "Token revoked.");
    Ok(StatusCode::NO_CONTENT)
}

/// Returns what is told of tokens. Their users' names are asked of the machine.
async fn documents(rows: Vec<TokenRow>) -> Vec<TokenDocument> {
    let document = |row: TokenRow| TokenDocument {
        user: user_database::name_of(row.uid),
        id: row.id,
        name: row.name,
        uid: row.uid,
        scope: row.scope,
        created_time_utc: row.created,
        expires_time_utc: row.expires,
        last_used_time_utc: row.last_used,
    };
    task::blocking(move || rows.into_iter().map(document).collect()).await
}
