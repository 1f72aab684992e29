//! How the agent says no.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// What went wrong.
    pub(crate) error: ProblemDetail,
}

/// What went wrong, for a program, for a person, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProblemDetail {
    /// A word that stays the same, such as `run_not_found`.
    pub(crate) code: String,
    /// One line for a person.
    pub(crate) message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The runs that a reference could have meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) candidates: Vec<String>,
}
