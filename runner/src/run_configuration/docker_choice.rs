//! Which container a run configuration asks for, before anything is looked up.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CondaChoice;

/// The container that was asked for. What is asked of it besides is in
/// [`ContainerOptions`](crate::container::ContainerOptions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerChoice {
    /// What it starts from.
    pub base: DockerBaseChoice,
    /// What is put on top of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesChoice>,
    /// The Python in the image, where packages bring none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// As `linux/amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Who to log in as where the image is pulled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryChoice>,
}

/// What a container starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DockerBaseChoice {
    /// A ready image.
    Image(String),
    /// A Dockerfile.
    Dockerfile {
        /// Where it is.
        file: PathBuf,
        /// The directory that its `COPY` lines see; without one they see nothing.
        context: Option<PathBuf>,
    },
    /// The text of a Dockerfile, which sees no files.
    DockerfileText(String),
    /// A build context that is not on this machine.
    Remote(String),
}

/// What is put on top of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PackagesChoice {
    /// Conda packages.
    Conda(CondaChoice),
    /// What a definition file lists, such as `requirements.txt`.
    File(PathBuf),
}

/// A user of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryChoice {
    /// The registry, as `registry.example.com:5000`.
    pub address: String,
    /// The user.
    pub username: String,
    /// The password. It is in no text that this is turned into.
    #[serde(skip)]
    pub password: Option<Password>,
}

/// A password, which does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl DockerChoice {
    /// Returns a container of `base` and nothing else.
    #[must_use]
    pub fn of(base: DockerBaseChoice) -> Self {
        Self { base, packages: None, interpreter: None, platform: None, registry: None }
    }

    /// Returns a container of an image as it is.
    #[must_use]
    pub fn of_image(reference: impl Into<String>) -> Self {
        Self::of(DockerBaseChoice::Image(reference.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_text() {
        let registry = RegistryChoice {
            address: "registry.example.com".to_owned(),
            username: "me".to_owned(),
            password: Some(Password("hunter2".to_owned())),
        };
        let choice = DockerChoice { registry: Some(registry), ..DockerChoice::of_image("x") };
        let text = format!("{choice:?} {}", serde_json::to_string(&choice).unwrap());
        assert!(text.contains("registry.example.com") && !text.contains("hunter2"), "{text}");
    }
}
