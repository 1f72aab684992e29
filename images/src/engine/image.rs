//! Images: what the engine has, and pulling what it has not.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use secrecy::SecretString;

use super::{Engine, EngineError};

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// `sha256:…`.
    pub id: String,
    /// `name@sha256:…` for every registry it is known to have come from.
    pub digests: Vec<String>,
    /// Its names.
    pub tags: Vec<String>,
    /// As `linux/amd64`.
    pub platform: String,
    /// Bytes.
    pub bytes: u64,
    /// Variables that it sets.
    pub environment: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The user it sets, if it sets one.
    pub user: String,
}

/// A login at a registry.
#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// The registry's address.
    pub address: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: SecretString,
}

impl Engine {
    /// Returns the image `reference`, if the engine has it.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        let _ = reference;
        todo!()
    }

    /// Pulls `reference`. `log` gets lines, those of [`Progress`](crate::progress::Progress) among
    /// them. Without a login, `docker login`'s store and helpers are asked for one.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    pub fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        login: Option<&RegistryLogin>,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<ImageFacts, EngineError> {
        let _ = (reference, platform, login, log, cancel);
        todo!()
    }

    /// Removes an image; one that is not there is what was wanted.
    ///
    /// # Errors
    ///
    /// It is in use, or the engine does not answer.
    pub fn remove_image(&self, id: &str) -> Result<(), EngineError> {
        let _ = id;
        todo!()
    }

    /// Lists the images with our label, as made by the agent of the state directory `home`.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn our_images(&self, home: &str) -> Result<Vec<ImageFacts>, EngineError> {
        let _ = home;
        todo!()
    }
}
