//! A conda channel on this machine's disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::reference::REQUIREMENTS;
use crate::{python, text};

/// Returns the `file://` URL of a channel with this machine's Python, pip and what
/// [`REQUIREMENTS`] pin: made once, then kept beside the tools that tests install.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn channel() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    channel_in(&root.join("target/test-tools/channel"), REQUIREMENTS)
}

/// Makes a channel in `directory` with this machine's Python, pip and what `requirements` lead to;
/// returns its URL.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn channel_in(directory: &Path, requirements: &str) -> String {
    fs::create_dir_all(directory).unwrap();
    let output = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("channel.py"))
        .arg(directory)
        .args(requirements.lines())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// Returns a conda file that asks that channel for what [`REQUIREMENTS`] pin.
#[must_use]
pub fn conda_file() -> String {
    let packages = REQUIREMENTS.lines().map(|line| format!("- {}\n", line.replace("==", "=")));
    let packages: String = packages.collect();
    format!("name: diabetes\nchannels:\n- {}\ndependencies:\n- python\n{packages}", channel())
}
