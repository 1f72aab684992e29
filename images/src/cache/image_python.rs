//! The Python to start in an image that was not built here, found once.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::IoContext;

use super::{EnvironmentCache, EnvironmentError, record};
use crate::builder::docker::python_of;
use crate::engine::Engine;
use crate::environment::PreparedEnvironment;

/// The version of the files.
const VERSION: u32 = 1;

/// `interpreters/image-<digest>.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    version: u32,
    /// The image's id.
    image: String,
    /// `None`: it has no Python.
    interpreter: Option<String>,
    python_version: Option<String>,
}

impl EnvironmentCache {
    /// Fills in the Python of a ready image for which none was named: `python`, or where there is
    /// only that, `python3`. With an engine the image is asked, if it was not before; that takes as
    /// long as a container. An image that cannot be asked is taken to have `python`: whoever starts
    /// it will see why.
    pub(super) fn fill_in_python(
        &self,
        prepared: &mut PreparedEnvironment,
        engine: Option<&Engine>,
    ) -> Result<(), EnvironmentError> {
        let Some(image) = &prepared.image else { return Ok(()) };
        let name = format!("image-{}.json", Digest::of(image.id.as_bytes()));
        let path = self.directory.join("interpreters").join(name);
        let known = record::read::<Found>(&path)?
            .filter(|found| (found.version, &found.image) == (VERSION, &image.id));
        let found = match (known, engine) {
            (Some(found), _) => found,
            (None, None) => return Ok(()),
            (None, Some(engine)) => {
                let asked = match python_of(engine, &image.id, &self.options.home) {
                    Ok(asked) => asked,
                    Err(error) => {
                        tracing::warn!(%error, image = image.reference, "Could not ask for Python.");
                        return Ok(());
                    }
                };
                let (interpreter, python_version) = asked.unzip();
                let found = Found {
                    version: VERSION,
                    image: image.id.clone(),
                    interpreter,
                    python_version: python_version.flatten(),
                };
                let parent = path.parent().unwrap_or(&self.directory);
                fs::create_dir_all(parent).context("create", parent)?;
                record::write(&path, &found)?;
                found
            }
        };
        if let Some(interpreter) = found.interpreter {
            prepared.interpreter = PathBuf::from(interpreter);
        }
        prepared.python_version = found.python_version;
        Ok(())
    }
}
