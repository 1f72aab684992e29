//! What is installed in images that were not built here, asked for once.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::IoContext;

use super::{EnvironmentCache, EnvironmentError, record};
use crate::engine::{ContainerSpec, Engine, EngineError, ShortRun};
use crate::environment::PreparedImage;
use crate::interpreter::probe;

/// Held while an image is asked: many runs that start at once in the same image ask it once.
static ASKING: Mutex<()> = Mutex::new(());

/// The version of the files.
const VERSION: u32 = 1;

/// How long an image may take to answer.
const LIMIT: Duration = Duration::from_secs(120);

/// Nobody: to ask needs no rights.
const NOBODY: &str = "65534:65534";

/// `packages/<digest>.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    version: u32,
    /// The image's id.
    image: String,
    /// The Python that was asked.
    interpreter: String,
    packages: Vec<String>,
}

impl EnvironmentCache {
    /// Returns what `pip freeze` says in `image` when its Python `interpreter` is asked. The answer
    /// is kept: an image of one id never changes. Blocks for as long as a container takes.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or the image has no such Python.
    pub fn image_packages(
        &self,
        image: &PreparedImage,
        interpreter: &str,
    ) -> Result<Vec<String>, EnvironmentError> {
        let path = self.packages_file(image, interpreter);
        let _alone = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = record::read::<Listed>(&path)?
            && (known.version, known.image.as_str()) == (VERSION, image.id.as_str())
        {
            return Ok(known.packages);
        }
        let packages = self
            .connection
            .with(self.host(), |engine| Ok(ask(engine, image, interpreter, &self.options.home)?))?;
        let parent = path.parent().unwrap_or(&self.directory);
        std::fs::create_dir_all(parent).context("create", parent)?;
        let listed = Listed {
            version: VERSION,
            image: image.id.clone(),
            interpreter: interpreter.to_owned(),
            packages,
        };
        record::write(&path, &listed)?;
        Ok(listed.packages)
    }

    fn packages_file(&self, image: &PreparedImage, interpreter: &str) -> PathBuf {
        let name = Digest::of(format!("{}\n{interpreter}", image.id).as_bytes());
        self.directory.join("packages").join(format!("{name}.json"))
    }
}

/// Asks pip, and where there is none, Python itself.
fn ask(
    engine: &Engine,
    image: &PreparedImage,
    interpreter: &str,
    home: &str,
) -> Result<Vec<String>, EngineError> {
    let pip = ["-m", "pip", "--disable-pip-version-check", "freeze"];
    let short = ShortRun { home, purpose: "packages", limit: LIMIT };
    let (mut code, mut out, mut err) =
        engine.run_container(&spec(image, interpreter, &pip), short)?;
    if code != 0 {
        let own = spec(image, interpreter, &["-c", probe::PACKAGES]);
        (code, out, err) = engine.run_container(&own, short)?;
    }
    if code != 0 {
        let said = String::from_utf8_lossy(&err);
        let last = said.lines().last().unwrap_or("nothing").to_owned();
        return Err(EngineError::NoProgram { program: interpreter.to_owned(), message: last });
    }
    Ok(probe::listed(&out))
}

/// A container that can only look at its image.
fn spec(image: &PreparedImage, interpreter: &str, arguments: &[&str]) -> ContainerSpec {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    ContainerSpec {
        image: image.id.clone(),
        platform: Some(image.platform.clone()),
        entrypoint: vec![interpreter.to_owned()],
        command: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: [
            ("LC_ALL", "C.UTF-8"),
            ("PYTHONUTF8", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("HOME", "/nonexistent"),
        ]
        .map(pair)
        .into(),
        user: NOBODY.to_owned(),
        working_directory: "/".to_owned(),
        network: "none".to_owned(),
        pids: Some(256),
        read_only: true,
        ..ContainerSpec::default()
    }
}
