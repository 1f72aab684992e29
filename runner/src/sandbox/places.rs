//! Which files and directories of this machine a run needs. Looks at the disk; decides nothing.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use snapshots::path_error::{IoContext as _, PathError};

use super::network::resolver;
use super::prefixes::{PARTS, prefixes};
use crate::run_directory::RunDirectory;

/// Programs and libraries of the system: for everybody to read, and without secrets.
const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store"];

/// What programs read of `/etc`. None of it holds a secret.
const SETTINGS: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hostname",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "OpenCL",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "python3",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
    "vulkan",
];

/// Where programs look for who knows the addresses of names.
pub(super) const RESOLVER: &str = "/etc/resolv.conf";

/// What a GPU of NVIDIA's is made of, besides `/dev/nvidia0` and so on; then AMD's.
const GPUS: &[&str] =
    &["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps", "kfd", "dri"];

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Directories of the system, and files and directories of `/etc`.
    pub system: Vec<PathBuf>,
    /// Links in `/`, and what they say.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Where the program and its Python come from.
    pub prefixes: Vec<PathBuf>,
    /// GPUs.
    pub devices: Vec<PathBuf>,
    /// The run's own files.
    pub work: PathBuf,
    /// What becomes `/tmp`, `/var/tmp` and the home directory, and goes at the end.
    pub temporary: PathBuf,
    /// Where programs take their user to be at home.
    pub home: Option<PathBuf>,
    /// What becomes `/etc/resolv.conf` in a network of its own, where the machine's would not do.
    pub resolver: Option<String>,
}

/// What of a run decides where to look.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What is started.
    pub program: &'a str,
    /// With these variables.
    pub environment: &'a BTreeMap<String, String>,
    /// The run's own files.
    pub work: &'a Path,
    /// Its directory for temporary files.
    pub temporary: &'a Path,
    /// What no run sees: where the agent keeps its state.
    pub state: &'a Path,
    /// Whether it may have GPUs.
    pub gpus: bool,
}

/// Which GPUs a run was given; there when it asked for any, and empty when it asked for none.
const GPUS_GIVEN: &str = "CUDA_VISIBLE_DEVICES";

impl Places {
    /// Looks for what `program` of `run` needs with this environment.
    #[must_use]
    pub fn of_run(
        run: &RunDirectory,
        program: &[String],
        environment: &BTreeMap<String, String>,
        temporary: &Path,
    ) -> Self {
        Self::look(&Wanted {
            program: program.first().map_or("", String::as_str),
            environment,
            work: &run.work(),
            temporary,
            state: run.state(),
            gpus: environment.get(GPUS_GIVEN).is_none_or(|gpus| !gpus.is_empty()),
        })
    }

    /// Looks for what is wanted.
    #[must_use]
    pub fn look(wanted: &Wanted<'_>) -> Self {
        let mut places = Self {
            work: wanted.work.to_owned(),
            temporary: wanted.temporary.to_owned(),
            ..Self::default()
        };
        for path in SYSTEM.iter().map(PathBuf::from) {
            match fs::read_link(&path) {
                Ok(to) => places.links.push((path, to)),
                Err(_) if path.is_dir() => places.system.push(path),
                Err(_) => {}
            }
        }
        let settings = SETTINGS.iter().map(|name| Path::new("/etc").join(name));
        places.system.extend(settings.filter(|path| path.exists()));
        let home = wanted.environment.get("HOME").map(PathBuf::from);
        places.home = home.filter(|home| home.is_absolute() && home.components().count() > 1);
        let guarded: Vec<&Path> =
            [Some(wanted.state), places.home.as_deref()].into_iter().flatten().collect();
        places.prefixes = prefixes(wanted.program, wanted.environment)
            .into_iter()
            .flat_map(|prefix| narrowed(prefix, &guarded))
            .collect();
        places.resolver = fs::read_to_string(RESOLVER).ok().and_then(|text| resolver::own(&text));
        if wanted.gpus {
            places.devices = gpus();
        }
        places
    }

    /// Makes what is in the directory for temporary files.
    ///
    /// # Errors
    ///
    /// Something cannot be made.
    pub fn make(&self) -> Result<(), PathError> {
        for name in ["tmp", "var-tmp", "home"] {
            let path = self.temporary.join(name);
            DirBuilder::new().mode(0o700).recursive(true).create(&path).context("create", path)?;
        }
        if let Some(text) = &self.resolver {
            let path = self.temporary.join("resolv.conf");
            fs::write(&path, text).context("write", path)?;
        }
        Ok(())
    }
}

/// Returns the home directory within a run's directory for temporary files.
#[must_use]
pub fn home_in(temporary: &Path) -> PathBuf {
    temporary.join("home")
}

/// Returns `prefix`, or the parts of it that Python needs where one of `guarded` is in it.
fn narrowed(prefix: PathBuf, guarded: &[&Path]) -> Vec<PathBuf> {
    let holds_more = guarded.iter().any(|path| path.starts_with(&prefix));
    if !holds_more {
        return vec![prefix];
    }
    let parts = PARTS.iter().map(|part| prefix.join(part));
    parts
        .filter(|part| part.is_dir() && !guarded.iter().any(|path| path.starts_with(part)))
        .collect()
}

fn gpus() -> Vec<PathBuf> {
    let numbered =
        |name: &str| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let listed = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = listed
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| numbered(name) || GPUS.contains(&name))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_holds_the_state_shows_only_what_python_needs() {
        let root = tempfile::tempdir().unwrap();
        let local = root.path().join(".local");
        for name in ["bin", "lib", "state/trainyard", "share"] {
            fs::create_dir_all(local.join(name)).unwrap();
        }
        let state = local.join("state/trainyard");

        assert_eq!(narrowed(local.clone(), &[&state]), [local.join("bin"), local.join("lib")]);
        assert_eq!(narrowed(local.join("share"), &[&state]), [local.join("share")]);
        assert!(narrowed(state.clone(), &[&state]).is_empty());
    }

    #[test]
    fn this_machine_has_programs_and_a_list_of_users() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/".to_owned())]);
        let wanted = Wanted {
            program: "true",
            environment: &environment,
            work: Path::new("/w"),
            temporary: Path::new("/t"),
            state: Path::new("/s"),
            gpus: false,
        };

        let places = Places::look(&wanted);

        for path in ["/usr", "/etc/passwd"] {
            assert!(places.system.contains(&PathBuf::from(path)), "{places:?}");
        }
        assert_eq!((places.home, places.devices), (None, Vec::new()));
    }
}
