//! Which directories a program and its Python come from, by links and `pyvenv.cfg` alone: what
//! belongs to the user is read, never run.
//!
//! Variables, links and `pyvenv.cfg` may be a stranger's, so what they name is shown for what it is
//! and not because it is named: environments, programs, and what those need of where they are
//! installed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What programs need of where they are installed, beside which there may be anything.
pub(super) const PARTS: &[&str] = &["bin", "lib", "lib64", "include"];

/// What only the root of an environment has: that of `venv`, that of conda, that of Homebrew.
const MARKS: &[&str] = &["pyvenv.cfg", "conda-meta", "Cellar"];

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Returns the files and directories that `program` with this environment needs to start, besides
/// the system's own: of its prefix, of that of the Python a virtual environment was made from, of
/// those that links lead to, and of those on `PATH`.
pub(super) fn prefixes(program: &str, environment: &BTreeMap<String, String>) -> BTreeSet<PathBuf> {
    let path: Vec<PathBuf> = environment
        .get("PATH")
        .map(|path| std::env::split_paths(path).filter(|entry| entry.is_absolute()).collect())
        .unwrap_or_default();
    let mut found = Found::default();
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(prefix) = environment.get(name).map(PathBuf::from)
            && prefix.is_absolute()
        {
            note(&prefix, &mut found);
        }
    }
    for entry in &path {
        note(&prefix_of(entry), &mut found);
    }
    let named = Path::new(program);
    if named.is_absolute() {
        follow(named, &mut found);
        found.shown.extend(is_program(named).then(|| named.to_owned()));
    } else if !program.contains('/')
        && let Some(entry) = path.iter().find(|entry| entry.join(named).is_file())
    {
        follow(&entry.join(named), &mut found);
        found.shown.extend(is_program(&entry.join(named)).then(|| entry.join(named)));
    }
    // The interpreters of the directories on the path may be links to elsewhere too.
    for entry in &path {
        for python in ["python", "python3"] {
            follow(&entry.join(python), &mut found);
        }
    }
    found.without_parts()
}

#[derive(Debug, Default)]
struct Found {
    /// Prefixes that were looked at.
    prefixes: BTreeSet<PathBuf>,
    shown: BTreeSet<PathBuf>,
}

impl Found {
    /// Returns what is shown, without what is in another directory of it.
    fn without_parts(self) -> BTreeSet<PathBuf> {
        let is_in = |path: &PathBuf| path.ancestors().skip(1).any(|it| self.shown.contains(it));
        self.shown.iter().filter(|path| !is_in(path)).cloned().collect()
    }
}

/// Takes `prefix`, and those that it was made from.
fn note(prefix: &Path, found: &mut Found) {
    if !found.prefixes.insert(prefix.to_owned()) {
        return;
    }
    found.shown.extend(needed(prefix));
    let Ok(text) = fs::read_to_string(prefix.join("pyvenv.cfg")) else { return };
    for home in homes(&text) {
        follow(&home.join("python3"), found);
        note(&prefix_of(&home), found);
    }
    for python in ["python", "python3"] {
        follow(&prefix.join("bin").join(python), found);
    }
}

/// Returns what of `prefix` is shown: all of an environment; else what its programs need, if it
/// has any.
fn needed(prefix: &Path) -> Vec<PathBuf> {
    if MARKS.iter().any(|mark| prefix.join(mark).exists()) {
        return vec![prefix.to_owned()];
    }
    let parts = if prefix.join("bin").is_dir() { PARTS } else { &[] };
    parts.iter().map(|part| prefix.join(part)).filter(|part| part.is_dir()).collect()
}

/// Says whether `path` may be executed.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Takes the prefixes of `program` and of each link on the way to it.
fn follow(program: &Path, found: &mut Found) {
    let mut here = program.to_owned();
    for _ in 0..MOST_LINKS {
        let Some(directory) = here.parent() else { return };
        if !here.is_file() {
            return;
        }
        note(&prefix_of(directory), found);
        let Ok(to) = fs::read_link(&here) else { break };
        here = directory.join(to);
    }
    // A directory on the way may be a link too.
    if let Ok(real) = fs::canonicalize(program)
        && let Some(directory) = real.parent()
    {
        note(&prefix_of(directory), found);
    }
}

/// Returns what a directory of programs belongs to: of `…/bin` the one it is in.
fn prefix_of(directory: &Path) -> PathBuf {
    let directory = crate::container::resolved(directory);
    match directory.parent() {
        Some(prefix) if directory.file_name() == Some(OsStr::new("bin")) => prefix.to_owned(),
        _ => directory,
    }
}

/// Reads where the Python of a `pyvenv.cfg` is. Pure.
fn homes(text: &str) -> Vec<PathBuf> {
    let values = text.lines().filter_map(|line| line.split_once('='));
    let homes = values.filter(|(key, _)| key.trim() == "home").map(|(_, value)| value.trim());
    homes.map(PathBuf::from).filter(|home| home.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn a_virtual_environment_leads_to_all_it_was_made_from() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(&root.join("pythons/3.11/bin/python3.11"));
        touch(&root.join("pythons/3.11/lib/python3.11/os.py"));
        touch(&root.join("pythons/3.11/more"));
        symlink("python3.11", root.join("pythons/3.11/bin/python3")).unwrap();
        symlink("3.11", root.join("pythons/latest")).unwrap();
        fs::create_dir_all(root.join("venv/bin")).unwrap();
        symlink(root.join("pythons/latest/bin/python3"), root.join("venv/bin/python")).unwrap();
        let home = root.join("pythons/latest/bin");
        fs::write(
            root.join("venv/pyvenv.cfg"),
            format!("home = {}\nversion = 3\n", home.display()),
        )
        .unwrap();
        touch(&root.join("elsewhere/bin/tool"));
        touch(&root.join("elsewhere/lib/libtool.so"));
        touch(&root.join("elsewhere/more"));
        let path = format!("{}:relative:/nonexistent/bin", root.join("elsewhere/bin").display());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);

        let program = root.join("venv/bin/python");
        let found = prefixes(program.to_str().unwrap(), &environment);

        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
        let expected = [
            "elsewhere/bin",
            "elsewhere/lib",
            "pythons/3.11/bin",
            "pythons/3.11/lib",
            "pythons/latest/bin",
            "pythons/latest/lib",
            "venv",
        ];
        assert_eq!(names, expected.map(Path::new));
    }

    #[test]
    fn what_is_no_environment_is_not_shown_for_being_called_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let (secret, venv) = (root.join("secret"), root.join("work/venv"));
        touch(&secret.join("key"));
        touch(&venv.join("bin/activate"));
        fs::write(venv.join("pyvenv.cfg"), format!("home = {}\n", secret.display())).unwrap();
        symlink(secret.join("key"), venv.join("bin/python")).unwrap();
        let name = |path: &Path| path.to_str().unwrap().to_owned();
        let variables = |list: &[(&str, &Path)]| {
            list.iter().map(|(key, path)| ((*key).to_owned(), name(path))).collect()
        };

        for (program, environment) in [
            (name(&secret.join("key")), BTreeMap::new()),
            (
                "key".to_owned(),
                variables(&[
                    ("PATH", &secret),
                    ("VIRTUAL_ENV", &secret),
                    ("CONDA_PREFIX", Path::new("/etc")),
                ]),
            ),
        ] {
            assert_eq!(prefixes(&program, &environment), BTreeSet::new());
        }
        let found =
            prefixes(&name(&venv.join("bin/python")), &variables(&[("VIRTUAL_ENV", &venv)]));
        assert_eq!(found, BTreeSet::from([venv]));
    }

    #[test]
    fn a_program_that_stands_alone_is_shown_alone() {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("tools/run");
        touch(&program);
        touch(&root.path().join("tools/key"));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

        let found = prefixes(program.to_str().unwrap(), &BTreeMap::new());

        assert_eq!(found, BTreeSet::from([program]));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();

        let found = prefixes(root.path().join("a").to_str().unwrap(), &BTreeMap::new());

        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn only_a_home_of_its_own_line_counts() {
        assert_eq!(
            homes("home = /a b/bin\nhomes = /c\n home=/d\nhome = e\n"),
            ["/a b/bin", "/d"].map(PathBuf::from)
        );
    }
}
