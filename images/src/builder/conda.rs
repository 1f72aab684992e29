//! Conda environments, by a tool of this machine or by the rattler crates.

mod listing;
#[cfg(feature = "conda")]
mod own;
mod pip;
mod tool;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BuildError, Built, FailedBuild, FailureCause, Watch, Workshop};
use crate::definition::conda_file::{
    self, ChannelSettings, CondaFile, location, locations, pip_files,
};
use crate::environment::{CondaPackages, RequirementsFile};
use crate::host::HostVariables;
use crate::interpreter;

/// The directory of the environment within that of a build.
const CONDA: &str = "conda";

/// What the locks are called.
pub(crate) const CONDA_LOCK: &str = "conda.lock";
pub(crate) const PIP_LOCK: &str = "requirements.lock";

/// How long listing the packages may take.
const PACKAGES_DEADLINE: Duration = Duration::from_secs(60);

/// Conda packages that are wanted somewhere.
struct Order<'a> {
    /// The definition's name, for messages.
    #[cfg_attr(not(feature = "conda"), expect(dead_code, reason = "only the solver names it"))]
    name: &'a str,
    specs: Vec<Spec<'a>>,
    /// Whether pip comes along, as conda does it where there is a section for pip.
    add_pip: bool,
    /// URLs, the one that counts most first.
    channels: Vec<String>,
    /// The lock of an earlier build, to be followed to the letter.
    explicit: Option<&'a str>,
    /// What conda calls the platform: `linux-64`.
    platform: &'a str,
    prefix: &'a Path,
    /// Where it will be used, if that is elsewhere.
    target_prefix: Option<&'a str>,
    host: &'a HostVariables,
    /// Where packages are kept for the next environment.
    cache: PathBuf,
}

/// One package that is wanted.
struct Spec<'a> {
    /// What the solver reads, without a channel in front.
    text: &'a str,
    /// The URL of the one channel that it may come from.
    channel: Option<String>,
}

impl<'a> Order<'a> {
    fn new(
        workshop: &Workshop<'a>,
        packages: &'a CondaPackages,
        file: &'a CondaFile,
        previous: &'a [RequirementsFile],
        prefix: &'a Path,
    ) -> Result<Self, BuildError> {
        let settings = ChannelSettings::read(workshop.host);
        let mut specs = Vec::new();
        for spec in &file.specs {
            let mut channel = Vec::new();
            if let Some(name) = &spec.channel {
                channel = location(name, packages, &settings)?;
            }
            let channel = channel.into_iter().next();
            specs.push(Spec { text: spec.without_channel(), channel });
        }
        Ok(Self {
            name: &packages.name,
            specs,
            add_pip: file.pip.is_some() && !file.specs.iter().any(|spec| spec.name == "pip"),
            channels: locations(file, packages, &settings)?,
            explicit: lock_named(CONDA_LOCK, previous),
            platform: this_platform(),
            prefix,
            target_prefix: None,
            host: workshop.host,
            // Packages are shared by all environments, which hold links to their files: never in
            // anybody's home, and on the file system of the environments.
            cache: workshop.tools.join("conda"),
        })
    }
}

/// Returns the directory of the environment within that of the build.
pub(crate) fn prefix(directory: &Path) -> PathBuf {
    directory.join(CONDA)
}

/// Builds a conda environment in the workshop's directory. `previous` is the lock of an earlier
/// build of the same, which is then made again exactly; without one, dependencies are resolved.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    packages: &CondaPackages,
    previous: &[RequirementsFile],
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let file = conda_file::parse(&packages.name, &packages.text)?;
    let prefix = prefix(workshop.directory);
    let order = Order::new(workshop, packages, &file, previous, &prefix)?;
    say_warnings(&file, watch);
    super::venv::note_use(workshop.tools, &order.cache);
    let mut built_by = match tool::find(workshop) {
        Some(tool) => tool.create(workshop, &order, watch)?,
        None => create(&order, watch)?,
    };
    let listed = listing::read(&prefix)?;
    let interpreter = prefix.join("bin/python");
    let python =
        if interpreter.exists() { Some(interpreter::describe(&interpreter)?) } else { None };
    let mut lock = vec![listed.lock(order.platform)];
    let mut lines = listed.lines();
    if let Some(files) = pip_files(packages)? {
        let python = python.as_ref().ok_or_else(|| no_python(&packages.name))?;
        let plan = pip::Plan { workshop, files: &files, previous, prefix: &prefix, python };
        built_by = format!("{built_by}, {}", plan.install(watch)?);
        let installed = interpreter::packages(&interpreter, PACKAGES_DEADLINE)?;
        let by_pip = listed.without_own(installed);
        lock.push(pip::lock(&files, &by_pip)?);
        lines.extend(by_pip);
    }
    Ok(Built {
        python_version: python.as_ref().map(|facts| facts.version.clone()),
        python,
        packages: lines,
        lock,
        built_by,
        image: None,
    })
}

/// Where conda packages are laid out for an image.
pub(crate) struct ForImage<'a> {
    /// On this machine.
    pub(crate) directory: &'a Path,
    /// Where they will be used, within the image.
    pub(crate) target_prefix: &'a str,
    /// The image's platform: `linux/amd64`.
    pub(crate) platform: &'a str,
}

/// Lays out the conda packages, without those of pip, as they will be used in an image. `previous`
/// is as for [`build`].
pub(crate) fn lay_out_for_image(
    workshop: &Workshop<'_>,
    packages: &CondaPackages,
    place: &ForImage<'_>,
    previous: &[RequirementsFile],
    watch: &mut Watch<'_>,
) -> Result<LaidOut, BuildError> {
    let file = conda_file::parse(&packages.name, &packages.text)?;
    let mut order = Order::new(workshop, packages, &file, previous, place.directory)?;
    order.platform = platform_of(place.platform);
    order.target_prefix = Some(place.target_prefix);
    say_warnings(&file, watch);
    // Always by the crates: the tools cannot lay out for another place than where they write.
    create(&order, watch)?;
    let listed = listing::read(place.directory)?;
    let pip = match lock_named(PIP_LOCK, previous) {
        Some(text) => {
            Some(vec![RequirementsFile { name: PIP_LOCK.to_owned(), text: text.to_owned() }])
        }
        None => pip_files(packages)?,
    };
    Ok(LaidOut { lock: listed.lock(order.platform), packages: listed.lines(), pip })
}

/// Conda packages that were laid out.
#[derive(Debug)]
pub(crate) struct LaidOut {
    /// Explicit URLs with hashes.
    pub(crate) lock: RequirementsFile,
    /// As `conda list` says it: `name=version=build`.
    pub(crate) packages: Vec<String>,
    /// The pip section as requirements, if it has one.
    pub(crate) pip: Option<Vec<RequirementsFile>>,
}

#[cfg(feature = "conda")]
fn create(order: &Order<'_>, watch: &mut Watch<'_>) -> Result<String, BuildError> {
    own::create(order, watch)
}

#[cfg(not(feature = "conda"))]
fn create(order: &Order<'_>, _: &mut Watch<'_>) -> Result<String, BuildError> {
    let (what, cause) = match order.target_prefix {
        None => (
            "there is no micromamba, mamba or conda on PATH, and this program was built without \
             its own",
            FailureCause::NoConda,
        ),
        Some(_) => (
            "this program was built without what puts conda packages into images",
            FailureCause::Other,
        ),
    };
    let what = what.to_owned();
    Err(BuildError::Failed(FailedBuild { what, cause, last_lines: Vec::new() }))
}

fn no_python(name: &str) -> BuildError {
    BuildError::Failed(FailedBuild {
        what: format!("{name} has a section for pip, but no Python to install into"),
        cause: FailureCause::Other,
        last_lines: Vec::new(),
    })
}

fn say_warnings(file: &CondaFile, watch: &mut Watch<'_>) {
    for warning in &file.warnings {
        (watch.log)(format!("warning: {warning}\n").as_bytes());
    }
}

fn lock_named<'a>(name: &str, previous: &'a [RequirementsFile]) -> Option<&'a str> {
    previous.iter().find(|file| file.name == name).map(|file| file.text.as_str())
}

/// Returns what conda calls the platform of this machine.
fn this_platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux-aarch64",
        "powerpc64" => "linux-ppc64le",
        "s390x" => "linux-s390x",
        _ => "linux-64",
    }
}

/// Returns what conda calls an image's platform.
fn platform_of(image: &str) -> &'static str {
    let mut parts = image.split('/').skip(1);
    match parts.next() {
        Some("arm64") => "linux-aarch64",
        Some("arm") => "linux-armv7l",
        Some("ppc64le") => "linux-ppc64le",
        Some("s390x") => "linux-s390x",
        Some("386") => "linux-32",
        Some("amd64") => "linux-64",
        _ => this_platform(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
