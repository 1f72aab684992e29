//! A project that trains with scikit-learn, and what it computes on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Yard, python, text};

/// Every package that the project's numbers depend on, pinned, as a requirements file.
pub const REQUIREMENTS: &str = "\
scikit-learn==1.7.2
numpy==2.2.6
scipy==1.15.3
joblib==1.5.2
threadpoolctl==3.6.0
";

/// A Python of the user's own that has [`REQUIREMENTS`]: made once, then kept beside the tools that
/// tests install.
///
/// # Panics
///
/// When the packages cannot be installed.
#[must_use]
pub fn user_managed_python() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/test-tools");
    fs::create_dir_all(&tools).unwrap();
    let digest = snapshots::digest::Digest::of(format!("{REQUIREMENTS}{:?}", python()).as_bytes());
    let directory = tools.join(format!("scikit-learn-{:.12}", digest.to_string()));
    let lock = fs::File::create(directory.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let done = directory.join("done");
    if !done.exists() {
        drop(fs::remove_dir_all(&directory));
        let file = directory.with_extension("txt");
        fs::write(&file, REQUIREMENTS).unwrap();
        succeed(Command::new(python()).args(["-m", "venv"]).arg(&directory));
        let pip = ["-m", "pip", "install", "-q", "--no-compile", "-r"];
        succeed(Command::new(directory.join("bin/python")).args(pip).arg(&file));
        fs::write(done, "").unwrap();
    }
    directory.join("bin/python")
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
}

/// Makes the project, with `files` beside it.
#[must_use]
pub fn project(yard: &Yard, files: &[(&str, &str)]) -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/diabetes");
    let read = |name| fs::read_to_string(example.join(name)).unwrap();
    let (train, alphas) = (read("train.py"), read("alphas.py"));
    let own = [("train.py", train.as_str()), ("alphas.py", alphas.as_str())];
    yard.project("diabetes", &[&own, files].concat())
}

/// Returns what the project prints and the metrics it writes, run by hand with this machine's
/// Python.
///
/// # Panics
///
/// When the project fails.
#[must_use]
pub fn expected(yard: &Yard) -> Results {
    let source = project(yard, &[]);
    let place = yard.home().with_file_name("by-hand");
    fs::create_dir(&place).unwrap();
    let output = Command::new(user_managed_python())
        .arg(source.join("train.py"))
        .current_dir(&place)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Results { stdout: text(&output.stdout), metrics: metrics(&place) }
}

/// What a run of the project comes to: the same bytes wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// All it prints.
    pub stdout: String,
    /// `logs/metrics.jsonl`.
    pub metrics: String,
}

impl Results {
    /// Takes the results of a run that ended.
    #[must_use]
    pub fn of(yard: &Yard, run: &str) -> Self {
        let stdout = yard.ok(["logs", "--stream", "stdout", run]);
        Self { stdout, metrics: metrics(&yard.run_directory(run).join("work")) }
    }
}

fn metrics(working_directory: &Path) -> String {
    fs::read_to_string(working_directory.join("logs/metrics.jsonl")).unwrap()
}
