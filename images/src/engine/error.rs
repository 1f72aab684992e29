//! Why an engine did not do what it was asked.

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
    /// It stopped answering, or never did.
    #[error("the container engine at {address} does not answer")]
    Gone {
        /// Where it was.
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
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

impl EngineError {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        None
    }
}
