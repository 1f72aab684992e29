//! What the tests of conda environments share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::super::*;
use crate::builder::{BuildSettings, IndexSettings};
use crate::testing::{Host, python};

/// A directory with a host, a cache and perhaps a channel.
pub(super) struct Fixture {
    pub(super) directory: tempfile::TempDir,
    pub(super) host: Host,
}

pub(super) struct Made {
    pub(super) result: Result<Built, BuildError>,
    pub(super) log: String,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["wheels", "tools", "channel"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let host = Host::offline(&directory.path().join("wheels"));
        Self { directory, host }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn packages(&self, text: &str) -> CondaPackages {
        conda_file::of_text("conda.yml", text, self.directory.path()).unwrap()
    }

    /// Makes packages without Python: a file of data in two versions, and a script that needs one.
    pub(super) fn tiny_channel(&self, versions: &[&str]) {
        const SCRIPT: &str = r##"
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import channel
directory = pathlib.Path(sys.argv[2])
state = {"records": {}}
for version in sys.argv[3:]:
    data = channel.Package("tinydata", version, [])
    data.file("share/tiny.txt", version.encode() + b"\n")
    channel.add(directory, state, data)
tool = channel.Package("tinytool", "0.3", ["tinydata"])
text = "#!/bin/sh\ncat %s/share/tiny.txt\n" % channel.PLACEHOLDER
tool.file("bin/tinytool", text.encode(), 0o755, channel.PLACEHOLDER)
channel.add(directory, state, tool)
channel.write_repodata(directory, state["records"])
"##;
        let mut command = Command::new(python());
        command.args(["-B", "-c", SCRIPT]).arg(scripts()).arg(self.path("channel")).args(versions);
        assert!(command.status().unwrap().success());
    }

    pub(super) fn workshop<T>(&self, directory: &Path, work: impl FnOnce(&Workshop<'_>) -> T) -> T {
        let host = self.host.variables();
        fs::create_dir_all(directory).unwrap();
        work(&Workshop {
            key: "0".repeat(64).parse().unwrap(),
            host: &host,
            index: &IndexSettings::read(&host),
            settings: &BuildSettings::default(),
            fresh: false,
            directory,
            tools: &self.path("tools"),
            objects: None,
            home: "home",
        })
    }

    pub(super) fn build(&self, name: &str, text: &str, previous: &[RequirementsFile]) -> Made {
        self.build_until(name, text, previous, &AtomicBool::new(false))
    }

    pub(super) fn build_until(
        &self,
        name: &str,
        text: &str,
        previous: &[RequirementsFile],
        cancel: &AtomicBool,
    ) -> Made {
        let mut log = Vec::new();
        let packages = self.packages(text);
        let result = self.workshop(&self.path(name), |workshop| {
            let mut watch = Watch {
                log: &mut |bytes: &[u8]| log.extend_from_slice(bytes),
                marker: ("TRAINYARD_TEST_MARKER", name),
                cancel,
            };
            build(workshop, &packages, previous, &mut watch)
        });
        let log = String::from_utf8(log).unwrap();
        Made { result, log: log.replace(self.directory.path().to_str().unwrap(), "DIR") }
    }
}

pub(super) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

pub(super) fn failed(made: Made) -> FailedBuild {
    match made.result.unwrap_err() {
        BuildError::Failed(failed) => failed,
        other => panic!("{other:?}\n{}", made.log),
    }
}

pub(super) fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
