//! Tokens, with which the agent is asked over TCP.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::token::{DEFAULT_LIFETIME, TokenScope};

/// A token to make.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// What to call it: 1 to 64 letters, digits and `-_.@`.
    pub(crate) name: String,
    /// What it is good for. Default: `write`.
    #[serde(default = "usual_scope")]
    pub(crate) scope: TokenScope,
    /// For how long it is good, up to ten years; `null` for ever. Default: 90 days.
    #[serde(default = "usual_lifetime")]
    pub(crate) lifetime_seconds: Option<u64>,
}

fn usual_scope() -> TokenScope {
    TokenScope::Write
}

#[expect(clippy::unnecessary_wraps, reason = "the field is an Option, and absent is not null")]
fn usual_lifetime() -> Option<u64> {
    Some(DEFAULT_LIFETIME)
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenDocument {
    /// What it can be called besides its name.
    pub(crate) id: String,
    /// What its user calls it.
    pub(crate) name: String,
    /// Whose it is: its bearer acts as they do.
    pub(crate) uid: u32,
    /// Their name, if the agent's machine knows them.
    pub(crate) user: Option<String>,
    /// What it is good for.
    pub(crate) scope: TokenScope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_time_utc: Timestamp,
    /// Until when it is good; none is for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_time_utc: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_used_time_utc: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenMade {
    /// The token itself. It is told this once, and kept nowhere.
    pub(crate) token: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub(crate) about: TokenDocument,
}
