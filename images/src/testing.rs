//! What the tests of this crate share: real interpreters, and wheels made on the spot.

pub(crate) mod engine;
pub(crate) mod registry;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::HostVariables;
use crate::interpreter;

/// A real interpreter of this machine: not a shim.
pub(crate) fn python() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let variable = |name: &str| match name {
            "PATH" | "HOME" => std::env::var_os(name),
            _ => None,
        };
        let found = interpreter::find(None, &variable).unwrap();
        interpreter::describe(&found).unwrap().executable
    });
    found.clone()
}

/// Waits for something that takes a moment, on a busy machine a long one.
pub(crate) fn wait_until(what: &str, condition: &dyn Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "waited too long until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn write_executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes wheels of packages that have nothing but a name, a version and a module.
pub(crate) fn write_wheels(directory: &Path, packages: &[(&str, &str)]) {
    const SCRIPT: &str = r#"
import sys, zipfile
directory, packages = sys.argv[1], [p.split("=") for p in sys.argv[2:]]
for name, version in packages:
    module = name.replace("-", "_")
    info = "%s-%s.dist-info" % (module, version)
    files = {
        module + ".py": "version = %r\n" % version,
        info + "/METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
        info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join("%s,,\n" % path for path in [*files, info + "/RECORD"])
    path = "%s/%s-%s-py3-none-any.whl" % (directory, module, version)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in [*files.items(), (info + "/RECORD", record)]:
            wheel.writestr(file, text)
"#;
    let mut command = Command::new(python());
    command.args(["-I", "-c", SCRIPT]).arg(directory);
    command.args(packages.iter().map(|(name, version)| format!("{name}={version}")));
    assert!(command.status().unwrap().success());
}

/// Makes a wheel of a package whose program, of the same name, is the script `text`.
pub(crate) fn write_wheel_with_program(directory: &Path, package: (&str, &str), text: &str) {
    const SCRIPT: &str = r#"
import sys, zipfile
directory, name, version, text = sys.argv[1:]
info = "%s-%s.dist-info" % (name, version)
files = {
    "%s-%s.data/scripts/%s" % (name, version, name): text,
    info + "/METADATA": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
    info + "/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = "".join("%s,,\n" % path for path in [*files, info + "/RECORD"])
with zipfile.ZipFile("%s/%s-%s-py3-none-any.whl" % (directory, name, version), "w") as wheel:
    for file, text in [*files.items(), (info + "/RECORD", record)]:
        entry = zipfile.ZipInfo(file)
        entry.external_attr = 0o100755 << 16
        wheel.writestr(entry, text)
"#;
    let mut command = Command::new(python());
    command.args(["-I", "-c", SCRIPT]).arg(directory).args([package.0, package.1, text]);
    assert!(command.status().unwrap().success());
}

/// A virtual environment without pip that holds `packages`.
pub(crate) fn venv_with_wheels(packages: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(python())
        .args(["-I", "-m", "venv", "--without-pip"])
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    write_wheels(directory.path(), packages);
    let lib = fs::read_dir(directory.path().join("lib")).unwrap().next().unwrap().unwrap();
    for (name, version) in packages {
        let wheel = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
        let status = Command::new(python())
            .args(["-I", "-m", "zipfile", "-e"])
            .arg(directory.path().join(wheel))
            .arg(lib.path().join("site-packages"))
            .status()
            .unwrap();
        assert!(status.success());
    }
    directory
}

/// The real uv, from `TRAINYARD_TEST_UV` or `PATH`. Without it a test passes with a word, except
/// where everything is to be there.
pub(crate) fn uv() -> Option<PathBuf> {
    let given = std::env::var_os("TRAINYARD_TEST_UV").map(|path| {
        let path = PathBuf::from(path);
        if path.is_dir() { path.join("uv") } else { path }
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = given.or_else(|| interpreter::on_path("uv".as_ref(), &path));
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs uv: TRAINYARD_TEST_UV");
        eprintln!("NOT TESTED: uv is neither on PATH nor named by TRAINYARD_TEST_UV");
    }
    found
}

/// A host's variables as a test sets them.
#[derive(Clone)]
pub(crate) struct Host(BTreeMap<String, String>);

impl Host {
    /// One that finds packages in `wheels` only, and no uv.
    pub(crate) fn offline(wheels: &Path) -> Self {
        let home = wheels.parent().unwrap();
        let mut host = Self(BTreeMap::new());
        host.set("PATH", "/usr/local/bin:/usr/bin:/bin");
        host.set("HOME", home.to_str().unwrap());
        host.set("PIP_NO_INDEX", "1");
        host.set("PIP_FIND_LINKS", wheels.to_str().unwrap());
        host.set("PIP_CONFIG_FILE", "/dev/null");
        host
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn put_first_on_path(&mut self, directory: &Path) {
        let path = format!("{}:{}", directory.display(), self.0["PATH"]);
        self.set("PATH", &path);
    }

    /// Writes a program into `directory` and puts that on the path.
    pub(crate) fn put_on_path(&mut self, directory: &Path, name: &str, text: &str) {
        write_executable(&directory.join(name), text);
        self.put_first_on_path(directory);
    }

    /// Finds packages where `other` does.
    pub(crate) fn copy_index_from(&mut self, other: &Self) {
        self.set("PIP_FIND_LINKS", &other.0["PIP_FIND_LINKS"]);
    }

    pub(crate) fn variables(&self) -> HostVariables {
        HostVariables::new(self.0.iter().map(|(name, value)| (name.into(), value.into())))
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(&self.0).unwrap()
    }

    pub(crate) fn from_text(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }
}
