//! Which directories a program and its Python come from, by links and `pyvenv.cfg` alone: what
//! belongs to the user is read, never run.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Returns the directories that `program` with this environment needs to start, besides the
/// system's own: its prefix, that of the Python a virtual environment was made from, those that
/// links lead to, and those on `PATH`.
pub(super) fn prefixes(program: &str, environment: &BTreeMap<String, String>) -> BTreeSet<PathBuf> {
    let path: Vec<PathBuf> = environment
        .get("PATH")
        .map(|path| std::env::split_paths(path).filter(|entry| entry.is_absolute()).collect())
        .unwrap_or_default();
    let mut found = BTreeSet::new();
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
    } else if !program.contains('/')
        && let Some(entry) = path.iter().find(|entry| entry.join(named).is_file())
    {
        follow(&entry.join(named), &mut found);
    }
    // The interpreters of the directories on the path may be links to elsewhere too.
    for entry in &path {
        for python in ["python", "python3"] {
            follow(&entry.join(python), &mut found);
        }
    }
    found.retain(|prefix| prefix.is_dir());
    found
}

/// Takes `prefix`, and those that it was made from.
fn note(prefix: &Path, found: &mut BTreeSet<PathBuf>) {
    if !found.insert(prefix.to_owned()) {
        return;
    }
    let Ok(text) = fs::read_to_string(prefix.join("pyvenv.cfg")) else { return };
    for home in homes(&text) {
        follow(&home.join("python3"), found);
        note(&prefix_of(&home), found);
    }
    for python in ["python", "python3"] {
        follow(&prefix.join("bin").join(python), found);
    }
}

/// Takes the prefixes of `program` and of each link on the way to it.
fn follow(program: &Path, found: &mut BTreeSet<PathBuf>) {
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
        touch(&root.join("elsewhere/tool"));
        let path = format!("{}:relative:/nonexistent/bin", root.join("elsewhere").display());
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);

        let program = root.join("venv/bin/python");
        let found = prefixes(program.to_str().unwrap(), &environment);

        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(root).unwrap()).collect();
        let expected = ["elsewhere", "pythons/3.11", "pythons/latest", "venv"];
        assert_eq!(names, expected.map(Path::new));
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
