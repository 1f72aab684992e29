//! What can go wrong between the command line and the agent.

use std::error::Error;
use std::io;
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
    /// Nobody listens on the other machine, or it cannot be reached.
    #[error("no agent answers at {url}")]
    NoServer {
        /// Where it should be.
        url: String,
        /// What the system answered.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It is asked with a token, and there is none.
    #[error("there is no token for the agent at {url}")]
    NoToken {
        /// Where it is.
        url: String,
    },
    /// Something else is where the token should be.
    #[error("what {from} holds is no token")]
    BadToken {
        /// A variable or a file.
        from: String,
    },
    /// The file with the token cannot be read.
    #[error("cannot read the token in {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file of those whom we trust is not that.
    #[error("cannot use the certificates in {path:?}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Whoever answers cannot show that it is the agent.
    #[error("the certificate of {url} is not trusted")]
    Untrusted {
        /// Where it is.
        url: String,
        /// Why not.
        source: rustls::Error,
    },
    /// The agent is called otherwise.
    #[error("the certificate of {url} is for another name")]
    OtherName {
        /// Where we looked for it.
        url: String,
        /// What it is called.
        names: Vec<String>,
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
        matches!(self, Self::NoAgent { .. } | Self::NoServer { .. })
    }

    /// Tells whether the answer got lost on its way, so that it may be asked for again.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::NoAgent { .. } | Self::NoServer { .. } => true,
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
        let (status, problem) = match self {
            Self::Refused { status, problem } => (status, problem),
            Self::NoToken { .. } | Self::BadToken { .. } => return true,
            Self::File { .. } | Self::CaFile { .. } => return true,
            _ => return false,
        };
        let about_state = *status == StatusCode::TOO_MANY_REQUESTS
            || *status == StatusCode::CONFLICT && problem.candidates.is_empty();
        status.is_client_error() && !about_state
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoAgent { .. } => Some("`trainyard agent run` starts one".to_owned()),
            Self::NoServer { .. } => Some(
                "see whether that machine is up, its agent has listen.address set (`trainyard agent status` there), and nothing between is in the way".to_owned(),
            ),
            Self::NoToken { .. } | Self::BadToken { .. } | Self::File { .. } => Some(
                "`trainyard token create NAME` on the agent's machine makes one; set TRAINYARD_TOKEN_FILE to a file that holds it".to_owned(),
            ),
            Self::CaFile { .. } => {
                Some("set TRAINYARD_CA_FILE to a file of certificates in PEM".to_owned())
            }
            Self::Untrusted { source, .. } => Some(untrusted_hint(source).to_owned()),
            Self::OtherName { names, .. } => Some(match names.as_slice() {
                [] => "set TRAINYARD_SOCKET to a name that is in the certificate".to_owned(),
                names => format!("set TRAINYARD_SOCKET to a name of it: {}", names.join(", ")),
            }),
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

/// Says who has to do something: whoever looks after the agent, or whoever asks.
fn untrusted_hint(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Why;
    match error {
        rustls::Error::InvalidCertificate(Why::Expired | Why::ExpiredContext { .. }) => {
            "whoever looks after that agent has to renew its certificate, and restart it; if it is not that, see whether this machine's clock is right"
        }
        _ => {
            "set TRAINYARD_CA_FILE to the PEM file of the authority that signed it, if you know that it is the right one"
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
    fn who_has_to_do_something_about_a_certificate_is_said() {
        use rustls::CertificateError as Why;
        let hint = |why| {
            let source = rustls::Error::InvalidCertificate(why);
            let url = "https://x".to_owned();
            let failure = Failure::from(ClientError::Untrusted { url, source });
            failure.next_step().unwrap().to_owned()
        };

        assert!(hint(Why::Expired).contains("renew its certificate"));
        assert!(hint(Why::UnknownIssuer).contains("TRAINYARD_CA_FILE"));
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
