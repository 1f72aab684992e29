//! Images: what the engine has, and pulling what it has not.

mod pull;
mod pull_progress;
mod reference;

use std::collections::{BTreeMap, HashMap};

use bollard::models::ImageInspect;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use secrecy::SecretString;

use super::{Engine, EngineError, HOME_LABEL, LABEL};

use self::reference::registry;

/// How names of ours begin.
const OUR_NAMES: &str = "trainyard-env:";

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
    /// The user. `<token>`: the password is an identity token.
    pub username: String,
    /// The password or token.
    pub password: SecretString,
}

impl Engine {
    /// Returns the image `reference`, if the engine has it.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or this is no image's name.
    pub fn image(&self, reference: &str) -> Result<Option<ImageFacts>, EngineError> {
        check(reference)?;
        match self.call(self.docker.inspect_image(reference)) {
            Ok(inspected) => Ok(Some(facts(inspected))),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(EngineError::Refused { status: 400, message }) => {
                Err(EngineError::NoImage { reference: reference.to_owned(), message })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes an image; one that is not there is what was wanted. By a name: that name, and the
    /// image where it was the last. By an id: our names of it, and the image where nobody else
    /// named it.
    ///
    /// # Errors
    ///
    /// It is in use, or the engine does not answer.
    pub fn remove_image(&self, id: &str) -> Result<(), EngineError> {
        let Some(image) = self.image(id)? else { return Ok(()) };
        if image.id != id {
            return self.remove_by(id);
        }
        for tag in image.tags.iter().filter(|tag| tag.starts_with(OUR_NAMES)) {
            self.remove_by(tag)?;
        }
        if image.tags.is_empty() { self.remove_by(id) } else { Ok(()) }
    }

    fn remove_by(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.call(self.docker.remove_image(reference, Some(options), None)) {
            Ok(_) | Err(EngineError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists the images with our label, as made by the agent of the state directory `home`.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn our_images(&self, home: &str) -> Result<Vec<ImageFacts>, EngineError> {
        let labels = vec![format!("{LABEL}=1"), format!("{HOME_LABEL}={home}")];
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let listed = self.call(self.docker.list_images(Some(options)))?;
        // The list says less than each of them does; one may be gone by then.
        let images = listed.iter().map(|listed| self.image(&listed.id));
        images.filter_map(Result::transpose).collect()
    }
}

fn check(reference: &str) -> Result<(), EngineError> {
    if reference::is_plain(reference) {
        return Ok(());
    }
    let message = "this is not how an image is called".to_owned();
    Err(EngineError::NoImage { reference: reference.to_owned(), message })
}

fn facts(inspected: ImageInspect) -> ImageFacts {
    let config = inspected.config.unwrap_or_default();
    let environment = config.env.unwrap_or_default();
    ImageFacts {
        id: inspected.id.unwrap_or_default(),
        digests: inspected.repo_digests.unwrap_or_default(),
        tags: inspected.repo_tags.unwrap_or_default(),
        platform: platform(inspected.os, inspected.architecture, inspected.variant),
        bytes: inspected.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        environment: environment.iter().map(|pair| variable(pair)).collect(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        user: config.user.unwrap_or_default(),
    }
}

/// As people write platforms: of 64-bit ones there is one variant.
fn platform(os: Option<String>, architecture: Option<String>, variant: Option<String>) -> String {
    let platform = format!("{}/{}", os.unwrap_or_default(), architecture.unwrap_or_default());
    match variant {
        Some(variant) if platform.ends_with("/arm") && !variant.is_empty() => {
            format!("{platform}/{variant}")
        }
        _ => platform,
    }
}

fn variable(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests;
