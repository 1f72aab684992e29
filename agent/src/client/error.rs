//! What can go wrong between the command line and the agent.

use std::error::Error;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;

use super::StartError;
use crate::api::wire::problem::ProblemDetail;
use crate::cli::Failure;
use crate::user_database;

/// Why the agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens on the socket.
    #[error("no agent answers on {socket:?}")]
    NoAgent {
        /// The socket.
        socket: PathBuf,
        /// What the system answered.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file system lets us not in.
    #[error("permission denied: {}", reason(socket, group.as_deref()))]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
        /// The group whose members may, where that is known and we are not in it.
        group: Option<String>,
    },
    /// An agent was needed and could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The agent said no.
    #[error("{}", problem.message)]
    Refused {
        /// Whose turn it is.
        status: StatusCode,
        /// Why.
        problem: ProblemDetail,
    },
    /// The connection broke, or the answer was no JSON.
    #[error("lost the agent while asking it to {asked}")]
    Broken {
        /// What was asked for.
        asked: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The agent knows no such request.
    #[error("the agent is of another version and cannot {asked}")]
    Older {
        /// What was asked for.
        asked: String,
    },
    /// The agent answered what no agent answers.
    #[error("the agent's answer makes no sense (asked it to {asked})")]
    Nonsense {
        /// What was asked for.
        asked: String,
    },
    /// Nothing was heard for so long that we stopped trying.
    #[error("lost contact with the agent")]
    Lost {
        /// The last attempt.
        source: Box<ClientError>,
    },
}

impl ClientError {
    /// Tells whether no agent is there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::NoAgent { .. })
    }

    /// Tells whether the answer got lost on its way, so that it may be asked for again.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::NoAgent { .. } => true,
            Self::Broken { source, .. } => !source.is_decode(),
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            _ => false,
        }
    }

    /// Tells whether the agent is not in the state for what it was asked.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::CONFLICT, .. })
    }

    fn is_users(&self) -> bool {
        let Self::Refused { status, problem } = self else { return false };
        let about_state = *status == StatusCode::TOO_MANY_REQUESTS
            || *status == StatusCode::CONFLICT && problem.candidates.is_empty();
        status.is_client_error() && !about_state
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoAgent { .. } => Some("`trainyard agent run` starts one".to_owned()),
            Self::NotAllowed { group: Some(group), .. } => Some(format!(
                "ask whoever looks after this machine for `adduser {} {group}`, then log in again",
                own_name()
            )),
            Self::NotAllowed { group: None, .. } => {
                Some("unset TRAINYARD_SOCKET to use an agent of your own".to_owned())
            }
            Self::Refused { problem, .. } if !problem.candidates.is_empty() => {
                Some(format!("it may be {}", problem.candidates.join(", ")))
            }
            Self::Refused { problem, .. } => problem.hint.clone(),
            Self::Older { .. } | Self::Nonsense { .. } => Some(
                "`trainyard agent stop` ends it; its runs go on, and the next command starts this version"
                    .to_owned(),
            ),
            Self::Start(error) => error.hint().map(str::to_owned),
            Self::Lost { .. } => {
                Some("the run goes on without us; `trainyard doctor` checks the machine".to_owned())
            }
            Self::Broken { .. } => None,
        }
    }
}

fn reason(socket: &Path, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("you are not in group {group}, whose agent answers on {socket:?}"),
        None => format!("you may not connect to the agent on {socket:?}"),
    }
}

fn own_name() -> String {
    user_database::name_of(rustix::process::geteuid().as_raw()).unwrap_or_else(|| "USER".to_owned())
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        let failure = if error.is_users() { Self::usage(error) } else { Self::failed(error) };
        failure.maybe_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, candidates: &[&str]) -> Failure {
        let problem = ProblemDetail {
            code: "x".to_owned(),
            message: "no".to_owned(),
            hint: Some("do that".to_owned()),
            candidates: candidates.iter().map(|name| (*name).to_owned()).collect(),
        };
        ClientError::Refused { status: StatusCode::from_u16(status).unwrap(), problem }.into()
    }

    #[test]
    fn the_answer_decides_the_exit_code() {
        let table: Vec<_> = [
            (400, &[][..]),
            (404, &[]),
            (409, &[]),
            (409, &["a", "b"]),
            (413, &[]),
            (429, &[]),
            (500, &[]),
            (507, &[]),
        ]
        .into_iter()
        .map(|(status, candidates)| {
            let failure = refused(status, candidates);
            let (code, hint) = (failure.exit(false).0, failure.next_step().unwrap_or("-"));
            format!("{status} {} candidates: exit {code}, {hint}", candidates.len())
        })
        .collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
        400 0 candidates: exit 2, do that
        404 0 candidates: exit 2, do that
        409 0 candidates: exit 1, do that
        409 2 candidates: exit 2, it may be a, b
        413 0 candidates: exit 2, do that
        429 0 candidates: exit 1, do that
        500 0 candidates: exit 1, do that
        507 0 candidates: exit 1, do that
        "#);
    }
}
