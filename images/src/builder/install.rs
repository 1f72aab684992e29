//! Requirements into an environment that is there, by uv or by pip.

use std::ffi::OsStr;
use std::path::Path;

use super::steps::Steps;
use super::{BuildError, IndexSettings};
use crate::host::HostVariables;

/// Gives uv what pip is told by the host's settings.
pub(super) fn tell_uv(steps: &mut Steps<'_, '_>, settings: &IndexSettings, host: &HostVariables) {
    steps.environment.extend(settings.uv_variables(host));
    // By variable: older versions have no such option.
    steps.environment.insert("UV_PYTHON_DOWNLOADS".into(), "never".into());
}

/// Installs by uv, which [`tell_uv`] was called for, and returns its name and version. `python` is
/// that of the environment, `more` are options.
pub(super) fn with_uv(
    steps: &mut Steps<'_, '_>,
    uv: &Path,
    settings: &IndexSettings,
    python: &Path,
    requirements: &Path,
    more: &[&str],
) -> Result<String, BuildError> {
    let version = steps.version(uv, &["--version"]);
    // uv compiles no bytecode unless it is told to: that took 16 of the 18 s of a build with
    // scikit-learn and pandas, where a script that uses them imports a tenth of the modules.
    let mut install: Vec<&OsStr> = vec!["pip".as_ref(), "install".as_ref()];
    install.extend(settings.uv_arguments().into_iter().chain(more.iter().copied()).map(OsStr::new));
    install.extend([OsStr::new("--python"), python.as_ref(), "-r".as_ref(), requirements.as_ref()]);
    steps.step("uv", "install the requirements", uv, &install)?;
    Ok(version.unwrap_or_else(|| "uv".to_owned()))
}

/// Installs by the pip of `python`, and returns its name and version. `more` are options.
pub(super) fn with_pip(
    steps: &mut Steps<'_, '_>,
    python: &Path,
    requirements: &Path,
    more: &[&str],
) -> Result<String, BuildError> {
    let install: Vec<&OsStr> = [
        "-I",
        "-m",
        "pip",
        "install",
        "--no-input",
        // As uv does.
        "--no-compile",
        "--disable-pip-version-check",
        "--progress-bar=off",
    ]
    .iter()
    .chain(more)
    .chain(&["--requirement"])
    .map(OsStr::new)
    .chain([requirements.as_os_str()])
    .collect();
    steps.step("pip", "install the requirements", python, &install)?;
    let version = steps.version(python, &["-I", "-m", "pip", "--version"]);
    Ok(version.unwrap_or_else(|| "pip".to_owned()))
}
