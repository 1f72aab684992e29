//! Why an engine did not do what it was asked.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls;

/// What went wrong, each with what to do.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no engine.
    #[error("there is no container engine: nothing answers at {address}")]
    NotFound {
        /// Where it was looked for.
        address: String,
    },
    /// The socket is there, and not for us.
    #[error("the container engine at {address} may not be used by this user")]
    NotPermitted {
        /// Where it is.
        address: String,
    },
    /// It is too old.
    #[error(
        "the container engine at {address} is too old: it speaks API {found}, and {needed} is needed"
    )]
    TooOld {
        /// Where it is.
        address: String,
        /// What it speaks.
        found: String,
        /// What is needed.
        needed: &'static str,
    },
    /// Podman speaks Docker's API, but not all of it in the same way.
    #[error(
        "the container engine at {address} is Podman {version}, which cannot be used: it does not \
         say that a container is there already in the way that keeps a run from being started twice"
    )]
    Podman {
        /// Where it is.
        address: String,
        /// Its version.
        version: String,
    },
    /// `DOCKER_HOST` says something that is not spoken here.
    #[error("the container engine at {address} cannot be spoken to: only unix:// and tcp:// can")]
    UnknownAddress {
        /// What it says.
        address: String,
    },
    /// A file that TLS needs.
    #[error("cannot use {path:?}, which TLS with the container engine needs")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of the two does not take the other's certificate.
    #[error("there is no TLS with the container engine at {address}")]
    Untrusted {
        /// Where it is.
        address: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A context of the `docker` command line that names no engine we could use.
    #[error("docker context {name:?}, which {named_by} names, cannot be used: {why}")]
    Context {
        /// What it is called.
        name: String,
        /// A variable or a file.
        named_by: String,
        /// Why not.
        why: String,
    },
    /// It stopped answering, or never did.
    #[error("the container engine at {address} does not answer")]
    Gone {
        /// Where it was.
        address: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It says what no engine says.
    #[error("what answers at {address} is no container engine, or one that is not understood")]
    Strange {
        /// Where it is.
        address: String,
        /// What is strange.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No such image here nor where it should be pulled from.
    #[error("there is no image {reference:?}: {message}")]
    NoImage {
        /// The image.
        reference: String,
        /// What the engine said.
        message: String,
    },
    /// The registry wants a login, or refuses this one.
    #[error("the registry does not let image {reference:?} be pulled: {message}")]
    Denied {
        /// The image.
        reference: String,
        /// What the engine said.
        message: String,
    },
    /// The registry cannot be reached.
    #[error("image {reference:?} cannot be pulled: {message}")]
    Unreachable {
        /// The image.
        reference: String,
        /// What the engine said.
        message: String,
    },
    /// The disk is full where the engine keeps its things.
    #[error("the container engine has no disk space left: {message}")]
    DiskFull {
        /// What the engine said.
        message: String,
    },
    /// The image has no such program.
    #[error("the image has no {program:?}: {message}")]
    NoProgram {
        /// The program.
        program: String,
        /// What the engine said.
        message: String,
    },
    /// A container that should have ended by itself did not.
    #[error("the container did not end within {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// It cannot do this at all.
    #[error("this container engine cannot {what}")]
    Unable {
        /// What it was asked.
        what: String,
    },
    /// Anything else that it said.
    #[error("the container engine answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the engine said.
        message: String,
    },
}

/// Returns the last cause alone: what is around it tells of libraries, not of the engine.
fn innermost(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    let mut cause: &(dyn Error + 'static) = &*error;
    loop {
        if cause.is::<tokio::time::error::Elapsed>() {
            return Box::new(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
        }
        // An error of the system's that was given a text has it as its cause, too.
        let io = cause.downcast_ref::<io::Error>();
        match (io, cause.source()) {
            (None, Some(next)) => cause = next,
            (Some(io), _) => return Box::new(io::Error::new(io.kind(), io.to_string())),
            (None, None) => return cause.to_string().into(),
        }
    }
}

impl EngineError {
    /// It is gone; or it was never spoken to, where TLS is the reason.
    pub(super) fn gone(address: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let (address, source) = (address.to_owned(), source.into());
        match tls::cause(&*source) {
            Some(cause) => Self::Untrusted { address, source: cause.to_string().into() },
            None => Self::Gone { address, source: innermost(source) },
        }
    }

    pub(super) fn strange(address: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Strange { address: address.to_owned(), source: source.into() }
    }

    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotFound { .. } => {
                "start Docker (`sudo systemctl start docker`), install it, or say where it is with DOCKER_HOST"
            }
            Self::NotPermitted { address } if address.starts_with("unix:") => {
                "ask the administrator for membership of the group that owns the socket \
                 (`sudo usermod -aG docker $USER`, then `newgrp docker` or log in again); its \
                 members can do on this machine whatever root can. Or use rootless Docker"
            }
            Self::NotPermitted { .. } => {
                "its administrator decides who may use it, by certificate or plugin"
            }
            Self::TooOld { .. } => "install Docker 19.03 or newer",
            Self::Podman { .. } => {
                "install Docker, rootless where you are not root, and say where it is with \
                 DOCKER_HOST; or build the environment on this machine, without a container"
            }
            Self::UnknownAddress { address } if address.starts_with("ssh://") => {
                "forward its socket, as in `ssh -L /tmp/docker.sock:/var/run/docker.sock HOST`, and \
                 set DOCKER_HOST=unix:///tmp/docker.sock; containers see that machine's files, not \
                 this one's"
            }
            Self::UnknownAddress { .. } => {
                "set DOCKER_HOST as in unix:///var/run/docker.sock, or unset it"
            }
            Self::Certificates { .. } => {
                "set DOCKER_CERT_PATH to the directory with key.pem, cert.pem and ca.pem, or give \
                 all three to the docker context"
            }
            Self::Untrusted { .. } => {
                "ca.pem has to be of the authority that signed the engine's certificate, which has \
                 to name this host, and cert.pem of one that the engine knows (--tlscacert)"
            }
            Self::Context { .. } => {
                "see `docker context ls`, make or update it, `docker context use` another, or set \
                 DOCKER_HOST"
            }
            Self::Gone { .. } => {
                "see whether `docker version` answers, and what the engine's log says \
                 (`journalctl -u docker`)"
            }
            Self::Strange { .. } => "see what listens there, and what `docker version` says",
            Self::NoImage { .. } => {
                "check name and tag; the engine's own images are listed by `docker images`"
            }
            Self::Denied { .. } => {
                "check the name; if it is right, `docker login REGISTRY` as the user whose agent \
                 this is, or put the login into the environment's definition"
            }
            Self::Unreachable { .. } => {
                "see whether the engine reaches the registry; it pulls, with its own proxy and \
                 certificate settings"
            }
            Self::DiskFull { .. } => {
                "make room: `trainyard gc` for what is ours, `docker system df` to see the rest"
            }
            Self::NoProgram { .. } => {
                "name a program that the image has, or an image that has the program"
            }
            Self::TimedOut { .. }
            | Self::Cancelled
            | Self::Unable { .. }
            | Self::Refused { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_is_told_from_a_connection_that_is_gone() {
        let of = |error: io::Error| EngineError::gone("tcp://m:1", error);
        let tls = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(tls()));
        for error in [io::Error::other(tls()), wrapped] {
            let EngineError::Untrusted { source, .. } = of(error) else { panic!("not of TLS") };
            assert_eq!(source.to_string(), "invalid peer certificate: UnknownIssuer");
        }
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, io::Error::other("cut"));
        assert!(matches!(of(cut), EngineError::Gone { .. }));
    }
}
