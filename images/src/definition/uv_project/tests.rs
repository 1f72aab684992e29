use std::fs;

use super::*;
use crate::definition::requirements::CanonicalLine;

const PROJECT: &str = r#"
[project]
name = "demo"
version = "1.0"
requires-python = ">= 3.9"
dependencies = ["Six == 1.16", "idna>=3"]

[tool.uv]
prerelease = "allow"
[tool.ruff]
line-length = 100
"#;

const LOCKED: &str = r#"
version = 1
requires-python = ">=3.9"
[[package]]
name = "demo"
version = "1.0"
source = { virtual = "." }
dependencies = [{ name = "idna" }, { name = "six" }]
[[package]]
name = "idna"
version = "3.7"
source = { registry = "https://host/simple" }
[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://host/simple" }
"#;

fn project(pyproject: &str, lock: Option<&str>) -> UvProject {
    UvProject { pyproject: pyproject.to_owned(), lock: lock.map(str::to_owned) }
}

fn parts(pyproject: &str, lock: Option<&str>) -> String {
    let parts = canonical(&project(pyproject, lock)).unwrap();
    let shown = |(name, line): (&str, CanonicalLine)| {
        format!("{name}: {}{}", line.text, line.contains.join(" ").replace("==", " "))
    };
    parts.into_iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_project_is_read_by_its_directory_or_either_file() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let missing = load(directory.path()).unwrap_err();
    assert!(missing.to_string().ends_with("pyproject.toml\" does not exist"), "{missing}");

    write(PYPROJECT, PROJECT);
    assert_eq!(load(directory.path()).unwrap(), project(PROJECT, None));
    write(LOCK, LOCKED);
    for path in
        [directory.path().to_owned(), directory.path().join(PYPROJECT), directory.path().join(LOCK)]
    {
        assert_eq!(load(&path).unwrap(), project(PROJECT, Some(LOCKED)));
    }
    fs::remove_file(directory.path().join(LOCK)).unwrap();
    fs::create_dir(directory.path().join(LOCK)).unwrap();
    let odd = load(directory.path()).unwrap_err();
    assert!(odd.to_string().ends_with("uv.lock\" is not a regular file"), "{odd}");
    write(PYPROJECT, "\u{feff}[project]\n");
    fs::remove_dir(directory.path().join(LOCK)).unwrap();
    assert!(load(directory.path()).is_ok());
    fs::write(directory.path().join(PYPROJECT), b"\xff").unwrap();
    assert!(load(directory.path()).unwrap_err().to_string().ends_with("is not UTF-8 text"));
}

#[test]
fn what_counts_of_a_project() {
    insta::assert_snapshot!(parts(PROJECT, None), @r#"
    requires python: >=3.9
    dependency: idna>=3
    dependency: six==1.16
    uv setting: prerelease = "allow"
    "#);
    let other = "
        # a note
        tool.uv = { prerelease = 'allow', managed = true }
        [project]
        version = '2.0'
        name = 'other'
        dependencies = [ 'idna >= 3', \"six==1.16\" ]
        requires-python = '>=3.9'\n";
    assert_eq!(parts(other, None), parts(PROJECT, None));
    for (from, to) in [("1.16", "1.17"), (">= 3.9", ">=3.8"), ("allow", "disallow")] {
        assert_ne!(parts(&PROJECT.replace(from, to), None), parts(PROJECT, None));
    }
}

#[test]
fn a_lock_counts_whole_but_for_the_project_itself() {
    let before = parts(PROJECT, Some(LOCKED));

    assert!(before.contains("idna 3.7 six 1.16.0"), "{before}");
    let renamed = LOCKED.replace("\"demo\"\nversion = \"1.0\"", "\"x\"\nversion = \"2\"");
    assert_eq!(parts(PROJECT, Some(&renamed)), before);
    assert_ne!(parts(PROJECT, Some(&LOCKED.replace("3.7", "3.8"))), before);
    assert_eq!(parts(PROJECT, Some(&format!("# note\n{LOCKED}"))), before);
}

#[test]
fn what_cannot_be_built_is_refused_with_the_reason() {
    let with = |more: &str| (format!("{PROJECT}\n{more}"), None);
    let locked = |from: &str, to: &str| (PROJECT.to_owned(), Some(LOCKED.replace(from, to)));
    let depends = |on: &str| (PROJECT.replace("idna>=3", on), None);
    let cases = [
        ("[tool.poetry]\n".to_owned(), None),
        ("[project]\ndynamic = ['dependencies']\n".to_owned(), None),
        ("[project\n".to_owned(), None),
        ("[project]\ndependencies = 1\n".to_owned(), None),
        depends("-r /etc/passwd"),
        depends("x @ file:///srv/x"),
        depends("x @ https://me:word@host/x.whl"),
        with("[tool.uv.sources]\nidna = { path = '../idna', editable = true }\n"),
        with("[tool.uv.sources]\nidna = [{ workspace = true }]\n"),
        with("[[tool.uv.index]]\nurl = 'wheels'\n"),
        locked("registry = \"https://host/simple\"", "editable = \"packages/idna\""),
        locked("https://host/simple", "../wheels"),
        locked("{ name = \"idna\" }, ", ""),
    ];

    let mut told = String::new();
    for (pyproject, lock) in &cases {
        let error = Project::parse(&project(pyproject, lock.as_deref())).unwrap_err();
        told += &format!("{error} ({})\n", error.hint().unwrap_or_default());
    }

    insta::assert_snapshot!(told, @r#"
    pyproject.toml: there is no [project] table with the dependencies (List them in `dependencies` of [project], or name another definition with --env.)
    pyproject.toml: the dependencies are dynamic: only a build of the project would tell them (Run `uv lock` beside it.)
    pyproject.toml: line 1: unclosed table, expected `]` ()
    pyproject.toml: `dependencies` is not a list of requirements ()
    pyproject.toml: "-r /etc/passwd" is not a requirement ()
    pyproject.toml: "x @ file:///srv/x" is on the local disk (Put the code into the source directory, or install it from an index or an https:// URL.)
    "pyproject.toml" line 6: the URL carries credentials, which would be stored with every run (Write ${NAME} in place of the secret and set that variable where the agent runs, or use a netrc file.)
    pyproject.toml: "idna" comes from a path, which is local (Put the code into the source directory, or install it from an index or an https:// URL.)
    pyproject.toml: "idna" comes from a workspace, which is local (Put the code into the source directory, or install it from an index or an https:// URL.)
    pyproject.toml: index "wheels" is a relative path (Put the code into the source directory, or install it from an index or an https:// URL.)
    uv.lock: "idna" has a local source (editable) (Put the code into the source directory, or install it from an index or an https:// URL.)
    uv.lock: "idna" comes from a relative path (Put the code into the source directory, or install it from an index or an https:// URL.)
    uv.lock: "idna" is missing, which pyproject.toml asks for (Run `uv lock` to bring it up to date.)
    "#);
}

#[test]
fn a_lock_may_tell_what_is_dynamic() {
    let text = "[project]\nname = 'demo'\ndynamic = ['dependencies']\n";

    let parsed = Project::parse(&project(text, Some(LOCKED))).unwrap();

    assert!(parsed.needs_uv());
    assert!(!Project::parse(&project(PROJECT, None)).unwrap().needs_uv());
    assert_eq!(
        Project::parse(&project(PROJECT, None)).unwrap().requirements().text,
        "Six == 1.16\nidna>=3\n"
    );
}
