//! From containers that were asked for to environments.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use images::environment::{DockerBase, DockerEnvironment, Environment, RegistryUser};
use runner::run_configuration::{DockerBaseChoice, DockerChoice};
use snapshots::path_error::IoContext;

use super::{BuildContext, Chooser, Chosen, on_top};
use crate::api::wire::submission::Hidden;
use crate::cli::Failure;
use crate::config::ImageMap;

/// The largest Dockerfile that is read.
const MAX_DOCKERFILE_BYTES: u64 = 1 << 20;

/// A Dockerfile that was asked for by itself sees the directory it is in.
pub(super) fn of_dockerfile(
    path: &Path,
    chooser: &Chooser<'_>,
    because: &str,
) -> Result<Chosen, Failure> {
    let context = path.parent().map(Path::to_owned);
    let base = DockerBaseChoice::Dockerfile { file: path.to_owned(), context };
    of_choice(&DockerChoice::of(base), chooser, because)
}

pub(super) fn of_choice(
    choice: &DockerChoice,
    chooser: &Chooser<'_>,
    because: &str,
) -> Result<Chosen, Failure> {
    let (base, mut name, build_context) = base(&choice.base, chooser)?;
    let (mut packages, mut notes) = (None, Vec::new());
    if let Some(choice) = &choice.packages {
        let (listed, listed_name, said) = on_top::packages(choice, chooser)?;
        name = format!("{name} + {listed_name}");
        (packages, notes) = (Some(listed), said);
    }
    let registry = choice.registry.as_ref();
    let docker = Box::new(DockerEnvironment {
        base,
        platform: choice.platform.clone(),
        packages,
        interpreter: choice.interpreter.clone(),
        registry: registry.map(|registry| RegistryUser {
            address: registry.address.clone(),
            username: registry.username.clone(),
        }),
    });
    let password = registry.and_then(|registry| registry.password.as_ref());
    Ok(Chosen {
        build_context,
        notes,
        registry_password: password.map(|password| Hidden(password.0.clone())),
        ..Chosen::new(Environment::Docker { docker }, name, because)
    })
}

fn base(
    choice: &DockerBaseChoice,
    chooser: &Chooser<'_>,
) -> Result<(DockerBase, String, Option<BuildContext>), Failure> {
    let dockerfile = |name: String, text| DockerBase::Dockerfile {
        name,
        text,
        context: None,
        build_arguments: BTreeMap::new(),
        target: None,
    };
    match choice {
        DockerBaseChoice::Image(image) => {
            check_reference(image)?;
            let base = DockerBase::Image { reference: image.clone() };
            Ok((base, image.clone(), None))
        }
        DockerBaseChoice::DockerfileText(text) => {
            let name = "Dockerfile in the run configuration".to_owned();
            Ok((dockerfile("Dockerfile".to_owned(), text.clone()), name, None))
        }
        DockerBaseChoice::Dockerfile { file, context } => {
            let text = read(file)?;
            let (within, build_context) = match context {
                Some(directory) => {
                    let (directory, within) = located(file, directory)?;
                    (within.clone(), Some(BuildContext::Directory(directory, within)))
                }
                None => (file.file_name().map(PathBuf::from).unwrap_or_default(), None),
            };
            let base = dockerfile(within.to_string_lossy().into_owned(), text);
            Ok((base, chooser.named(file), build_context))
        }
        // The check of what is not done yet comes too late for this: it has nothing to be built.
        DockerBaseChoice::Remote(location) => Err(Failure::not_yet(format!(
            "build contexts that are not on this machine ({location})"
        ))
        .hint("copy it here and name its Dockerfile with --env DIR/Dockerfile")),
    }
}

/// Returns the context, which has to be a directory, and the Dockerfile's path in it.
fn located(file: &Path, directory: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let directory = directory
        .canonicalize()
        .context("open the build context", directory)
        .map_err(Failure::usage)?;
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "the build context {} is not a directory",
            directory.display()
        )));
    }
    let file = file.canonicalize().context("read", file).map_err(Failure::usage)?;
    // One that is elsewhere is used all the same; its own ignore file has no place here.
    let within = match file.strip_prefix(&directory) {
        Ok(within) => within.to_owned(),
        Err(_) => file.file_name().map(PathBuf::from).unwrap_or_default(),
    };
    Ok((directory, within))
}

fn read(path: &Path) -> Result<String, Failure> {
    let metadata = path.metadata().context("read the Dockerfile", path).map_err(Failure::usage)?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("the Dockerfile {} is not a file", path.display())));
    }
    let file = std::fs::File::open(path).context("read the Dockerfile", path);
    let mut bytes = Vec::new();
    file.map_err(Failure::usage)?
        .take(MAX_DOCKERFILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .context("read the Dockerfile", path)
        .map_err(Failure::usage)?;
    if bytes.len() as u64 > MAX_DOCKERFILE_BYTES {
        return Err(Failure::usage(format!(
            "the Dockerfile {} is over the limit of {MAX_DOCKERFILE_BYTES} bytes",
            path.display()
        )));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("the Dockerfile {} is not UTF-8", path.display())))
}

/// What no engine would take is refused before anything is sent to one.
fn check_reference(image: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if !image.is_empty()
        && image.chars().all(plain)
        && image.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    let shown: String = image.chars().take(60).collect();
    Err(Failure::usage(format!("{shown:?} cannot be the name of an image"))
        .hint("an image is named as in python:3.11-slim or registry.example.com/name@sha256:…"))
}

/// Puts the image that the settings say in place of the one that was asked for. What `FROM` lines
/// of Dockerfiles name stays.
pub(super) fn map_image(chosen: &mut Chosen, map: &ImageMap) {
    let Environment::Docker { docker } = &mut chosen.environment else { return };
    let DockerBase::Image { reference } = &mut docker.base else { return };
    let Some(mapped) = map.get(reference) else { return };
    let asked = std::mem::replace(reference, mapped.image.to_owned());
    chosen.name = chosen.name.replacen(&asked, mapped.image, 1);
    chosen.because = format!("{}; for {asked}, by images.map in {}", chosen.because, mapped.origin);
    // They are for where the other image is.
    let registry = docker.registry.take();
    docker.registry = registry.filter(|registry| {
        mapped.image.strip_prefix(&registry.address).is_some_and(|rest| rest.starts_with('/'))
    });
    if docker.registry.is_none() {
        chosen.registry_password = None;
    }
}
