use std::fs;
use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::testing::{python, write_executable};

fn find_in(
    choice: Option<&Path>,
    variables: &[(&str, &Path)],
) -> Result<PathBuf, InterpreterError> {
    find(choice, &|name| {
        variables
            .iter()
            .find(|(set, _)| *set == name)
            .map(|(_, value)| value.as_os_str().to_owned())
    })
}

/// A directory with `bin/<name>` in it, which is a link to a real interpreter.
fn prefix_with(name: &str) -> tempfile::TempDir {
    let prefix = tempfile::tempdir().unwrap();
    fs::create_dir(prefix.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(python(), prefix.path().join("bin").join(name)).unwrap();
    prefix
}

#[test]
fn the_choice_comes_first_then_what_is_active_then_the_path() {
    let [chosen, venv, conda, path] = ["python"; 4].map(prefix_with);
    let bin = path.path().join("bin");
    let all =
        [("VIRTUAL_ENV", venv.path()), ("CONDA_PREFIX", conda.path()), ("PATH", bin.as_path())];
    let interpreter = |prefix: &tempfile::TempDir| prefix.path().join("bin/python");

    assert_eq!(find_in(Some(&interpreter(&chosen)), &all).unwrap(), interpreter(&chosen));
    assert_eq!(find_in(None, &all).unwrap(), interpreter(&venv));
    assert_eq!(find_in(None, &all[1..]).unwrap(), interpreter(&conda));
    assert_eq!(find_in(None, &all[2..]).unwrap(), interpreter(&path));
}

#[test]
fn python3_anywhere_on_the_path_comes_before_python() {
    let [first, second] = [prefix_with("python"), prefix_with("python3")];
    let path = std::env::join_paths([first.path().join("bin"), second.path().join("bin")]).unwrap();

    let found = find_in(None, &[("PATH", Path::new(&path))]).unwrap();

    assert_eq!(found, second.path().join("bin/python3"));
}

#[test]
fn a_choice_can_be_a_name_or_the_directory_of_an_environment() {
    let prefix = prefix_with("python");
    let bin = prefix.path().join("bin");

    let by_name = find_in(Some(Path::new("python")), &[("PATH", &bin)]).unwrap();
    let by_directory = find_in(Some(prefix.path()), &[]).unwrap();

    assert_eq!(by_name, bin.join("python"));
    assert_eq!(by_directory, bin.join("python"));
}

#[test]
fn what_cannot_be_found_is_told_apart() {
    let empty = tempfile::tempdir().unwrap();
    let plain = empty.path().join("plain");
    fs::write(&plain, "text").unwrap();
    let show = |result: Result<PathBuf, InterpreterError>| {
        let error = result.unwrap_err();
        format!("{error}\n  {}\n", error.hint().unwrap_or("-"))
            .replace(&*empty.path().to_string_lossy(), "<dir>")
    };

    let mut told = show(find_in(None, &[("PATH", empty.path())]));
    told += &show(find_in(None, &[("VIRTUAL_ENV", empty.path())]));
    told += &show(find_in(Some(Path::new("python9")), &[("PATH", empty.path())]));
    told += &show(find_in(Some(&empty.path().join("none")), &[]));
    told += &show(find_in(Some(&plain), &[]));
    told += &show(find_in(Some(empty.path()), &[]));

    insta::assert_snapshot!(told, @r#"
    no environment is active, and neither python3 nor python is on PATH
      Install Python 3, or name an interpreter with --python.
    VIRTUAL_ENV names "<dir>" as the active environment, which has no bin/python
      Deactivate the environment, or name an interpreter with --python.
    no program "python9" is on PATH
      Give the path of a Python interpreter, or of a virtual environment.
    interpreter "<dir>/none" does not exist
      Give the path of a Python interpreter, or of a virtual environment.
    interpreter "<dir>/plain" is not an executable file
      Give the path of a Python interpreter, or of a virtual environment.
    interpreter "<dir>" is not an executable file
      Give the path of a Python interpreter, or of a virtual environment.
    "#);
}

#[test]
fn an_interpreter_path_that_is_not_utf8_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let odd = directory.path().join(OsString::from_vec(b"py\xff".to_vec()));
    std::os::unix::fs::symlink(python(), &odd).unwrap();

    assert!(matches!(find_in(Some(&odd), &[]), Err(InterpreterError::NotUtf8 { .. })));
}

#[test]
fn a_shim_is_followed_by_the_files_of_pyenv() {
    let root = tempfile::tempdir().unwrap();
    let shims = root.path().join("shims");
    fs::create_dir(&shims).unwrap();
    write_executable(&shims.join("python"), "#!/bin/sh\nexit 9\n");
    for version in ["3.1.1", "3.2.2"] {
        let bin = root.path().join("versions").join(version).join("bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(python(), bin.join("python")).unwrap();
    }
    let project = root.path().join("project/deep");
    fs::create_dir_all(&project).unwrap();
    fs::write(root.path().join("version"), "3.1.1\n").unwrap();
    let shim = shims.join("python");
    let choose = |variables: &[(&str, &Path)]| find_in(Some(&shim), variables).unwrap();
    let in_version = |version: &str| root.path().join("versions").join(version).join("bin/python");

    assert_eq!(choose(&[("PYENV_DIR", &project)]), in_version("3.1.1"));
    fs::write(root.path().join("project/.python-version"), "3.2.2\n").unwrap();
    assert_eq!(choose(&[("PYENV_DIR", &project)]), in_version("3.2.2"));
    assert_eq!(choose(&[("PYENV_VERSION", Path::new("3.1.1"))]), in_version("3.1.1"));
}

#[test]
fn any_other_shim_is_asked_where_it_leads() {
    let directory = tempfile::tempdir().unwrap();
    let shim = directory.path().join("python");
    write_executable(&shim, &format!("#!/bin/sh\nexec {} \"$@\"\n", python().display()));

    let found = find_in(Some(&shim), &[]).unwrap();

    assert_eq!(found.canonicalize().unwrap(), python().canonicalize().unwrap());
}

#[test]
fn an_interpreter_says_what_it_is() {
    let facts = describe(&python()).unwrap();

    assert_eq!(facts.implementation, "CPython");
    assert_eq!(facts.executable, python());
    assert_eq!(facts.prefix, facts.base_prefix);
    assert!(facts.base_executable.is_file());
    assert!(facts.version.starts_with("3."), "{facts:?}");
    assert!(facts.platform.starts_with("linux-"), "{facts:?}");
    assert!(!facts.abi.is_empty(), "{facts:?}");
}

#[test]
fn what_is_no_python_is_refused_with_its_last_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        write_executable(&path, text);
        path
    };
    let cases = [
        file("fails", "#!/bin/sh\necho no such luck >&2\nexit 1\n"),
        file("forges", "#!/bin/sh\nprintf 'a\\033[2Jb\\n'\n"),
        file("silent", "#!/bin/sh\n"),
        file("old", "#!/bin/sh\necho 'trainyard-probe {\"version\": \"3.7.16\"}'\n"),
        file("ancient", "#!/bin/sh\necho 'Unknown option: -I' >&2\nexit 2\n"),
        file("broken", "#!/nonexistent\n"),
        PathBuf::from("python3"),
    ];

    let mut told = String::new();
    for path in &cases {
        let error = describe(path).unwrap_err().to_string();
        told += &error.replace(&*directory.path().to_string_lossy(), "<dir>");
        told.push('\n');
    }

    insta::assert_snapshot!(told, @r#"
    "<dir>/fails" does not answer as a Python does: no such luck
    "<dir>/forges" does not answer as a Python does: a[2Jb
    "<dir>/silent" does not answer as a Python does: nothing
    "<dir>/old" is Python 3.7.16, but 3.8 or newer is needed
    "<dir>/ancient" is Python 3.3 or older, but 3.8 or newer is needed
    cannot start interpreter "<dir>/broken"
    interpreter "python3" is not an absolute path
    "#);
}

#[test]
fn a_description_is_remembered_until_the_interpreter_changes() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = prefix_with("python");
    let interpreter = prefix.path().join("bin/python");

    let first = describe_cached(&interpreter, directory.path()).unwrap();
    // With the interpreter's file the same, nothing is asked: what is remembered can be forged.
    let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let forged = fs::read_to_string(&file).unwrap().replace("CPython", "Remembered");
    fs::write(&file, forged).unwrap();
    let second = describe_cached(&interpreter, directory.path()).unwrap();
    fs::write(prefix.path().join("pyvenv.cfg"), "home = /nonexistent\n").unwrap();
    let third = describe_cached(&interpreter, directory.path());

    assert_eq!(first.implementation, "CPython");
    assert_eq!(second.implementation, "Remembered");
    assert_ne!(third.map(|facts| facts.implementation).unwrap_or_default(), "Remembered");
}

#[test]
fn a_damaged_description_costs_only_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = describe_cached(&python(), directory.path()).unwrap();
    let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "{").unwrap();

    assert_eq!(describe_cached(&python(), directory.path()).unwrap(), first);
}

#[test]
fn packages_are_listed_with_and_without_pip() {
    let directory = crate::testing::venv_with_wheels(&[("demo-one", "1.0"), ("demo_two", "2.5")]);
    let interpreter = directory.path().join("bin/python");

    let without_pip = packages(&interpreter, Duration::from_secs(30)).unwrap();
    let with_pip = packages(&python(), Duration::from_secs(30));

    assert_eq!(without_pip, ["demo-one==1.0", "demo_two==2.5"]);
    let freeze = std::process::Command::new(python())
        .args(["-m", "pip", "--disable-pip-version-check", "freeze"])
        .output()
        .unwrap();
    if freeze.status.success() {
        let freeze = String::from_utf8(freeze.stdout).unwrap();
        assert_eq!(with_pip.unwrap(), freeze.lines().collect::<Vec<_>>());
    }
}

#[test]
fn an_interpreter_that_hangs_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("python");
    write_executable(&path, "#!/bin/sh\nsleep 60\n");

    let result = packages(&path, Duration::from_millis(200));

    assert!(matches!(result, Err(InterpreterError::TimedOut { .. })), "{result:?}");
}

#[test]
fn an_interpreter_named_from_another_machine_is_found_here() {
    let prefix = prefix_with("python");
    let bin = prefix.path().join("bin");
    let variables = |name: &str| match name {
        "HOME" => Some(prefix.path().as_os_str().to_owned()),
        "PATH" => Some(bin.as_os_str().to_owned()),
        _ => None,
    };
    let found = |path: &str| named(Path::new(path), &variables).map_err(|error| error.to_string());

    assert_eq!(found("python"), Ok(bin.join("python")));
    assert_eq!(found("~/bin/python"), Ok(bin.join("python")));
    assert_eq!(found("~"), Ok(bin.join("python")), "the directory of an environment");
    assert_eq!(found("/no/such/python"), Ok("/no/such/python".into()));
    assert_eq!(
        found("bin/python"),
        Err(r#"interpreter "bin/python" is not an absolute path"#.into())
    );
    assert_eq!(found("python2"), Err(r#"no program "python2" is on PATH"#.into()));
}
