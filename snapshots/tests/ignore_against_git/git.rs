//! git, asked in a way that nothing outside the test's own directory has a say.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `git check-ignore` says of one path. Without a rule all fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) file: Vec<u8>,
    pub(crate) line: u32,
    pub(crate) pattern: Vec<u8>,
}

impl Answer {
    pub(crate) fn ignored(&self) -> bool {
        self.line > 0 && !self.pattern.starts_with(b"!")
    }
}

pub(crate) fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "core.excludesFile=/dev/null"]);
    command
}

pub(crate) fn init(directory: &Path) {
    let status = git(directory).args(["init", "-q"]).status().unwrap();
    assert!(status.success());
}

/// Asks for each of `paths` which rule decides, in the same order.
pub(crate) fn check_ignore(repository: &Path, paths: &[Vec<u8>]) -> Vec<Answer> {
    let mut child = git(repository)
        .args(["check-ignore", "--no-index", "--stdin", "-z", "-v", "--non-matching"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = paths.join(&0);
    let writer = std::thread::spawn(move || {
        input.write_all(&text).unwrap();
        input.write_all(&[0]).unwrap();
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);

    let mut fields = output.stdout.split(|byte| *byte == 0);
    paths
        .iter()
        .map(|path| {
            let mut field = || fields.next().unwrap().to_vec();
            let (file, line, pattern, answered) = (field(), field(), field(), field());
            assert_eq!(OsStr::from_bytes(&answered), OsStr::from_bytes(path));
            let line = str::from_utf8(&line).unwrap();
            let line = if line.is_empty() { 0 } else { line.parse().unwrap() };
            Answer { file, line, pattern }
        })
        .collect()
}

/// Lists the files that are neither tracked nor ignored, sorted.
pub(crate) fn untracked_files(repository: &Path) -> Vec<Vec<u8>> {
    let output = git(repository)
        .args(["ls-files", "-z", "--others", "--exclude-standard"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut files: Vec<Vec<u8>> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    files.sort();
    files
}
