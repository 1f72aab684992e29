//! Python projects, by uv and by pip, and uv where there is none yet.

use super::*;
use crate::environment::UvProject;

const PROJECT: &str = "[project]\nname = \"demo\"\nversion = \"1\"\nrequires-python = \">=3.8\"\n\
    dependencies = [\"demo-one<1.1\", \"demo-two\"]\n[dependency-groups]\ndev = [\"demo-dev\"]\n";

fn project(pyproject: &str, lock: Option<String>) -> Environment {
    let project = UvProject { pyproject: pyproject.to_owned(), lock };
    Environment::UvProject { interpreter: python(), project }
}

fn built(cache: &EnvironmentCache, environment: &Environment) -> PreparedEnvironment {
    prepare(cache, environment).0.unwrap()
}

#[test]
fn uv_locks_a_project_once_and_builds_the_lock_again() {
    let Some(uv) = uv() else { return };
    // uv resolves all there is, also what is not installed.
    let mut fixture = Fixture::new().with_wheels(WHEELS).with_wheels(&[("demo-dev", "1")]);
    fixture.host.put_first_on_path(uv.parent().unwrap());
    let cache = fixture.cache();
    let environment = project(PROJECT, None);

    let first = built(&cache, &environment);

    let details = cache.show(&first.key.unwrap().to_string()).unwrap();
    assert_eq!(details.packages, ["demo-one==1.0", "demo-two==2.5"]);
    assert_eq!(details.entry.kind, "uvProject");
    assert!(details.entry.built_by.starts_with("uv "), "{details:?}");
    assert_eq!(first.lock[1].name, "uv.lock");
    assert!(built(&cache, &environment).reused);

    // From the lock, whatever else there is meanwhile.
    let fixture = fixture.with_wheels(&[("demo-two", "2.6")]);
    let lock = first.lock[1]
        .text
        .replace("../../../wheels", fixture.directory.path().join("wheels").to_str().unwrap());
    let locked = built(&cache, &project(PROJECT, Some(lock)));
    assert_ne!(locked.key, first.key);
    assert_eq!(say(&locked, "import demo_one, demo_two; print(demo_two.version)"), "2.5");
    assert_eq!(say(&locked, "import sys; print(sys.prefix)"), locked.prefix.to_str().unwrap());
}

#[test]
fn without_uv_pip_takes_the_dependencies_and_a_lock_is_refused() {
    let fixture = Fixture::new().with_wheels(WHEELS);
    let cache = fixture.cache();

    let (result, log) = prepare(&cache, &project(PROJECT, None));
    let first = result.unwrap();
    assert_eq!(say(&first, "import demo_one; print(demo_one.version)"), "1.0");
    assert!(String::from_utf8_lossy(&log).contains("could not be fetched: pip is used"));
    assert!(cache.list().unwrap()[0].built_by.starts_with("pip "));

    let lock = "version = 1\nrequires-python = '>=3.8'\n".to_owned();
    let error = prepare(&cache, &project(PROJECT, Some(lock))).0.unwrap_err();
    assert!(matches!(error, EnvironmentError::Build { source: BuildError::NoUv }), "{error:?}");
    assert!(error.hint().unwrap().starts_with("Install uv"));
    assert_eq!(cache.list().unwrap().len(), 1);
}

#[test]
fn uv_is_fetched_once_as_a_wheel_through_pip() {
    let fixture = Fixture::new().with_wheels(WHEELS);
    // A wheel with a program that only says what it is, and then does as pip's venv does.
    let tool = format!(
        "#!/bin/sh\ncase $1 in\n--version) echo uv 0.13.9;;\n\
         venv) for last; do :; done; exec {} -I -m venv --without-pip \"$last\";;\nesac\n",
        python().display()
    );
    crate::testing::write_wheel_with_program(
        &fixture.directory.path().join("wheels"),
        ("uv", "0.13.9"),
        &tool,
    );
    let cache = fixture.cache();

    let (first, log) = prepare(&cache, &requirements("demo-one\n"));
    let (second, later) = prepare(&cache, &requirements("demo-two\n"));

    assert!(first.is_ok() && second.is_ok());
    let fetched = |log: &[u8]| String::from_utf8_lossy(log).contains("Fetching uv==0.13.9");
    let text = String::from_utf8_lossy(&log);
    assert!(fetched(&log) && !fetched(&later), "{text}");
    assert_eq!(cache.list().unwrap()[0].built_by, "uv 0.13.9");
    let tools = fs::read_dir(fixture.cache_path().join("tools")).unwrap();
    let names: Vec<_> = tools.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["uv"]);
}
