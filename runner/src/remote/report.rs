//! What a machine is, and whether it will do: `target check`.

use snapshots::digest::Hasher;
use snapshots::path_error::{IoContext as _, PathError};

use serde::{Deserialize, Serialize};

use super::files::RemoteHome;
use crate::durable_file;

/// What a machine says of itself. Everything that is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineReport {
    /// `ID` of `/etc/os-release`.
    pub os: Option<String>,
    /// `VERSION_ID`.
    pub os_version: Option<String>,
    /// `PRETTY_NAME`.
    pub os_name: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// As `x86_64`.
    pub architecture: String,
    /// The version of the C library.
    pub glibc: Option<String>,
    /// How many processors this user may use.
    pub cpus: u32,
    /// In bytes.
    pub memory_bytes: Option<u64>,
    /// Of that, what is free to use, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// What is free on the file system of the state directory, in bytes.
    pub disk_free_bytes: Option<u64>,
    /// Its size, in bytes.
    pub disk_bytes: Option<u64>,
    /// Names of the GPUs.
    pub gpus: Vec<String>,
    /// Version of the `python3` that is found first.
    pub python: Option<String>,
    /// Whether that one can make virtual environments.
    pub python_venv: bool,
    /// Which of `micromamba`, `mamba` and `conda` is found first.
    pub conda: Option<String>,
    /// Where `uv` is.
    pub uv: Option<String>,
    /// Version of the container engine.
    pub docker: Option<String>,
    /// Why it cannot be used, in words.
    pub docker_problem: Option<String>,
    /// `full`, `reduced` or `none`: what of the sandbox the machine offers.
    pub sandbox: String,
    /// Whether processes of a user who logs out are ended by the system.
    pub kills_on_logout: bool,
    /// What the machine's clock says.
    pub time_utc: Option<jiff::Timestamp>,
    /// The user who answers.
    pub user: String,
}

/// Asks the machine.
pub(super) fn report(home: &RemoteHome) -> MachineReport {
    let _ = home;
    MachineReport::default()
}

/// Tells this machine and user from all others: a digest of the machine's id and the user's number,
/// in hexadecimal. A machine without an id gets one, which is kept in `home`.
pub(super) fn machine(home: &RemoteHome) -> Result<String, PathError> {
    let known = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let id = known.iter().find_map(|path| read(path).filter(|id| id.trim().len() == 32));
    let id = match id {
        Some(id) => id,
        None => own_id(home)?,
    };
    let mut hasher = Hasher::new();
    hasher.update(id.trim().as_bytes());
    hasher.update(format!("\n{}\n", nix::unistd::getuid()).as_bytes());
    Ok(hasher.finish().to_string())
}

fn own_id(home: &RemoteHome) -> Result<String, PathError> {
    home.create()?;
    let path = home.path().join("machine-id");
    let new = format!("{:032x}\n", rand::random::<u128>());
    durable_file::create_new(&path, new.as_bytes())?;
    std::fs::read_to_string(&path).context("read", &path)
}
