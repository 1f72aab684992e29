//! Wheels made by hand, and a pip that looks for no others.

use std::path::Path;
use std::process::Command;

use crate::{Yard, python};

/// Makes a pure-Python wheel by hand, so that no test needs a package index.
///
/// # Panics
///
/// When it cannot be made.
pub fn wheel(directory: &Path, name: &str, version: &str) {
    let script = r#"
import sys, zipfile
directory, name, version = sys.argv[1:]
info = f"{name}-{version}.dist-info"
with zipfile.ZipFile(f"{directory}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
"#;
    let made = Command::new(python())
        .args(["-c", script])
        .arg(directory)
        .args([name, version])
        .status()
        .unwrap();
    assert!(made.success());
}

/// The binary, and pip under its agent, with the yard's folder of wheels in place of an index.
#[must_use]
pub fn with_wheels(yard: &Yard) -> Command {
    let mut command = yard.trainyard();
    let wheels = yard.home().with_file_name("wheels");
    if wheels.exists() {
        command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", wheels);
    }
    command
}
