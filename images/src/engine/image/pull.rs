//! Pulling images.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::{Stream, StreamExt};
use secrecy::ExposeSecret;

use super::pull_progress::PullProgress;
use super::{ImageFacts, RegistryLogin, check, reference, registry};
use crate::engine::{Engine, EngineError, answer};
use crate::registry_login;

/// How often a flag is looked at that nothing announces.
const TICK: Duration = Duration::from_millis(50);

/// How long a connection has to close.
const CLOSING: Duration = Duration::from_millis(1);

/// How often progress is written.
const PROGRESS: Duration = Duration::from_millis(500);

/// How long a registry may keep an engine waiting: the engine has limits of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(600);

impl Engine {
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
        check(reference)?;
        let found = match login {
            Some(_) => None,
            None => self.stored_login(reference, log, cancel)?,
        };
        let login = login.or(found.as_ref());

        let tagged = reference::with_tag(reference);
        let mut options = CreateImageOptionsBuilder::default().from_image(&tagged);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let docker = self.docker.clone().with_timeout(ANSWER_LIMIT);
        let messages = docker.create_image(Some(options.build()), None, login.map(credentials));
        let digest = self
            .follow(reference, Box::pin(messages), log, cancel)
            .map_err(|error| answer::pull(reference, error))?;

        let image = self.image(&tagged)?.ok_or_else(|| EngineError::NoImage {
            reference: reference.to_owned(),
            message: "the engine pulled it and does not have it".to_owned(),
        })?;
        let digest = digest.unwrap_or_else(|| image.id.clone());
        log(format!("Pulled {reference}: {digest}\n").as_bytes());
        Ok(image)
    }

    fn stored_login(
        &self,
        reference: &str,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<Option<RegistryLogin>, EngineError> {
        match registry_login::find(registry(reference), &self.variables, cancel) {
            Ok(found) => Ok(found),
            Err(_) if cancel.load(Ordering::Relaxed) => Err(EngineError::Cancelled),
            // Many images can be had without one.
            Err(error) => {
                log(format!("{error}; going on without a login\n").as_bytes());
                Ok(None)
            }
        }
    }

    /// Follows a pull to its end and returns the digest. Leaving it ends it at the engine.
    fn follow(
        &self,
        reference: &str,
        mut messages: impl Stream<Item = Result<CreateImageInfo, bollard::errors::Error>> + Unpin,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<Option<String>, EngineError> {
        let mut progress = PullProgress::default();
        let mut written = Instant::now();
        loop {
            if cancel.load(Ordering::Relaxed) {
                drop(messages);
                // The connection is closed by a task of the runtime.
                self.runtime.block_on(async { tokio::time::sleep(CLOSING).await });
                return Err(EngineError::Cancelled);
            }
            let next =
                self.runtime.block_on(async { tokio::time::timeout(TICK, messages.next()).await });
            match next {
                // Nothing new.
                Err(_) => {}
                Ok(None) => return Ok(progress.digest().map(str::to_owned)),
                Ok(Some(message)) => progress.take(&message.map_err(|error| self.error(error))?),
            }
            if written.elapsed() >= PROGRESS {
                log(format!("{}\n", progress.progress(reference)).as_bytes());
                written = Instant::now();
            }
        }
    }
}

fn credentials(login: &RegistryLogin) -> DockerCredentials {
    let secret = Some(login.password.expose_secret().to_owned());
    let serveraddress = Some(login.address.clone());
    if login.username == registry_login::TOKEN_USER {
        return DockerCredentials { identitytoken: secret, serveraddress, ..Default::default() };
    }
    DockerCredentials {
        username: Some(login.username.clone()),
        password: secret,
        serveraddress,
        ..DockerCredentials::default()
    }
}
