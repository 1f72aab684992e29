//! The asking side.

use std::io::{Read, Write};

use serde::de::DeserializeOwned;

use super::message::{Refusal, Request};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The connection broke, or was silent for too long. Ask again over another.
    #[error("the connection broke")]
    Broken {
        /// What the stream answered.
        source: std::io::Error,
    },
    /// The other side speaks otherwise.
    #[error("the other side answers in a way that this program does not understand: {said}")]
    Protocol {
        /// What it said.
        said: String,
    },
    /// It will not, or cannot.
    #[error("{}", refusal.message)]
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Asks a server over `stream`. After a [`RemoteError::Broken`] or `Protocol` it is of no use.
pub struct RemoteClient<S> {
    stream: S,
}

impl<S: Read + Write> RemoteClient<S> {
    /// Waits for the greeting, passing over what came before it.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Protocol`] with what came instead.
    pub fn greet(stream: S) -> Result<Self, RemoteError> {
        drop(stream);
        todo!()
    }

    /// Returns the stream.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Asks something whose answer is one message.
    ///
    /// # Errors
    ///
    /// [`RemoteError`].
    pub fn ask<A: DeserializeOwned>(&mut self, request: &Request) -> Result<A, RemoteError> {
        let _ = request;
        todo!()
    }

    /// Asks something that bytes go with. A refusal in the middle is heard as soon as it is there.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; also what `bytes` answered.
    pub fn send<A: DeserializeOwned>(
        &mut self,
        request: &Request,
        bytes: &mut dyn Read,
    ) -> Result<A, RemoteError> {
        let _ = (request, bytes);
        todo!()
    }

    /// Asks something whose answer bytes follow, and hands those to `to` as they come.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; also what `to` answered.
    pub fn receive<A: DeserializeOwned>(
        &mut self,
        request: &Request,
        to: &mut dyn FnMut(&A, &[u8]) -> std::io::Result<()>,
    ) -> Result<A, RemoteError> {
        let _ = (request, to);
        todo!()
    }
}
