mod crash;
mod fresh;
mod image_builds;
mod images;
mod projects;
mod sharing;
mod tools;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::builder::{BuildError, FailureCause};
use crate::environment::RequirementsFile;
use crate::testing::{Host, python, uv, wait_until, write_wheels};

/// A cache, and wheels for what is built in it.
struct Fixture {
    directory: tempfile::TempDir,
    host: Host,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let wheels = directory.path().join("wheels");
        fs::create_dir(&wheels).unwrap();
        let host = Host::offline(&wheels);
        Self { directory, host }
    }

    fn with_wheels(self, packages: &[(&str, &str)]) -> Self {
        write_wheels(&self.directory.path().join("wheels"), packages);
        self
    }

    /// Builds take no time: a stand-in for uv makes an empty virtual environment.
    fn quick() -> Self {
        Self::with_tool("")
    }

    /// The same, after the shell commands `first`, with `$1` as `venv` or `pip`.
    fn with_tool(first: &str) -> Self {
        let mut fixture = Self::new();
        let tool = format!(
            "#!/bin/sh\n{first}\ncase $1 in\n\
             --version) echo uv 0.0.0;;\n\
             venv) echo making >&2; for last; do :; done; exec {} -I -m venv --without-pip \"$last\";;\n\
             pip) echo installing;;\nesac\n",
            python().display()
        );
        fixture.host.put_on_path(fixture.directory.path(), "uv", &tool);
        fixture
    }

    fn cache_path(&self) -> PathBuf {
        self.directory.path().join("environments")
    }

    fn cache(&self) -> EnvironmentCache {
        EnvironmentCache::open(
            &self.cache_path(),
            CacheOptions { host: self.host.variables(), ..CacheOptions::default() },
        )
        .unwrap()
    }

    /// The names in the cache's directory, with what is random taken out.
    fn files(&self) -> Vec<String> {
        let shown = |entry: std::io::Result<fs::DirEntry>| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(rest) = name.get(64..).filter(|_| name.parse::<EnvironmentKey>().is_err())
            else {
                return name;
            };
            if rest.starts_with('-') {
                let known = [".log", ".lease"].into_iter().find(|ending| rest.ends_with(ending));
                let ending = known.unwrap_or("/");
                return format!("<key>-<nonce>{ending}");
            }
            format!("<key>{rest}")
        };
        let mut names: Vec<String> = fs::read_dir(self.cache_path()).unwrap().map(shown).collect();
        names.retain(|name| !["interpreters", "tools", "tools.lock"].contains(&name.as_str()));
        names.sort_unstable();
        names
    }
}

fn requirements(text: &str) -> Environment {
    Environment::Requirements {
        interpreter: python(),
        files: vec![RequirementsFile {
            name: "requirements.txt".to_owned(),
            text: text.to_owned(),
        }],
    }
}

/// Prepares, and returns the log as well.
fn prepare(
    cache: &EnvironmentCache,
    environment: &Environment,
) -> (Result<PreparedEnvironment, EnvironmentError>, Vec<u8>) {
    let mut log = Vec::new();
    let never = AtomicBool::new(false);
    let result = cache.prepare(environment, &mut |bytes| log.extend_from_slice(bytes), &never);
    (result, log)
}

fn prepared(cache: &EnvironmentCache, text: &str) -> PreparedEnvironment {
    prepare(cache, &requirements(text)).0.unwrap()
}

/// Runs Python in an environment, as a run does.
fn say(environment: &PreparedEnvironment, code: &str) -> String {
    let output = Command::new(&environment.interpreter)
        .args(["-I", "-c", code])
        .env_clear()
        .envs(&environment.variables)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn builds_from_wheels(fixture: &Fixture, tool: &str, version: &str) {
    let cache = fixture.cache();
    let files = [
        ("requirements.txt", &*format!("Demo_One=={version}\n-r more.txt\n-c limits.txt\n")),
        ("more.txt", "demo-two\n"),
        ("limits.txt", "demo-two<2\n"),
    ];
    let file =
        |(name, text): (&str, &str)| RequirementsFile { name: name.into(), text: text.into() };
    let environment =
        Environment::Requirements { interpreter: python(), files: files.map(file).into() };

    assert_eq!(cache.find(&environment).unwrap(), None);
    let (first, log) = prepare(&cache, &environment);
    let first = first.unwrap();

    assert!(!first.reused);
    assert_eq!(
        say(&first, "import demo_one, demo_two; print(demo_one.version, demo_two.version)"),
        "1.0 1.5"
    );
    assert_eq!(say(&first, "import sys; print(sys.prefix)"), first.prefix.to_str().unwrap());
    let details = cache.show(&first.key.unwrap().short()).unwrap();
    assert_eq!(details.packages, ["demo-one==1.0", "demo-two==1.5"]);
    assert!(details.entry.built_by.starts_with(tool), "{details:?}");
    assert_eq!(details.files.len(), 3);
    assert!(details.entry.bytes > 10_000, "{details:?}");
    assert_eq!(fs::read(&details.entry.log).unwrap(), log);
    assert!(String::from_utf8_lossy(&log).contains("demo"), "the tool's own words are in the log");

    let started = Instant::now();
    let (second, log) = prepare(&fixture.cache(), &environment);
    let took = started.elapsed();
    assert_eq!(second.unwrap(), PreparedEnvironment { reused: true, ..first.clone() });
    assert!(log.is_empty());
    assert!(took < Duration::from_millis(50), "a hit took {took:?}");
    println!("a hit took {took:?}");
    assert_eq!(cache.find(&environment).unwrap().unwrap().key, first.key);
}

const WHEELS: &[(&str, &str)] =
    &[("demo-one", "1.0"), ("demo-one", "1.1"), ("demo-two", "1.5"), ("demo-two", "2.5")];

#[test]
fn pip_builds_what_the_requirements_say_once() {
    let mut fixture = Fixture::new().with_wheels(WHEELS);
    fixture.host.set("DEMO_VERSION", "1.0");
    // Where there is uv, pip builds all the same: uv does not know what the variable stands for.
    if let Some(uv) = uv() {
        fixture.host.put_first_on_path(uv.parent().unwrap());
    }

    builds_from_wheels(&fixture, "pip ", "${DEMO_VERSION}");
}

#[test]
fn uv_builds_what_the_requirements_say_once() {
    let Some(uv) = uv() else { return };
    let mut fixture = Fixture::new().with_wheels(WHEELS);
    fixture.host.put_first_on_path(uv.parent().unwrap());

    builds_from_wheels(&fixture, "uv ", "1.0");
}

#[test]
fn uv_is_found_among_the_tools_of_the_cache() {
    let fixture = Fixture::quick();
    let tools = fixture.cache_path().join("tools");
    fs::create_dir_all(&tools).unwrap();
    fs::rename(fixture.directory.path().join("uv"), tools.join("uv")).unwrap();

    let cache = fixture.cache();
    prepared(&cache, "");

    assert_eq!(cache.list().unwrap()[0].built_by, "uv 0.0.0");
}

#[test]
fn requirements_that_pip_cannot_satisfy_fail_and_the_log_stays() {
    let fixture = Fixture::new();
    let cache = fixture.cache();

    let (result, log) = prepare(&cache, &requirements("no-such-package==9\n"));

    let error = result.unwrap_err();
    let EnvironmentError::Failed { build, log: path } = &error else { panic!("{error:?}") };
    assert_eq!(build.what, "pip could not install the requirements (exit status: 1)");
    assert_eq!(build.cause, FailureCause::Unresolvable);
    assert!(error.to_string().contains("No matching distribution found for no-such-package==9"));
    assert!(error.hint().unwrap().contains(path.to_str().unwrap()));
    assert_eq!(fs::read(path).unwrap(), log);
    assert!(cache.list().unwrap().is_empty());
    insta::assert_snapshot!(fixture.files().join("\n"), @r#"
    <key>-<nonce>.log
    <key>.failed.json
    <key>.lock
    "#);
}

#[test]
fn an_index_that_cannot_be_reached_is_told_from_a_package_that_is_not_there() {
    let Some(uv) = uv() else { return };
    let mut fixture = Fixture::new();
    fixture.host.put_first_on_path(uv.parent().unwrap());
    fixture.host.set("PIP_NO_INDEX", "0");
    fixture.host.set("PIP_INDEX_URL", "http://127.0.0.1:9/simple");
    fixture.host.set("UV_HTTP_RETRIES", "0");

    let (result, _) = prepare(&fixture.cache(), &requirements("demo\n"));

    let error = result.unwrap_err();
    let EnvironmentError::Failed { build, .. } = &error else { panic!("{error:?}") };
    assert_eq!(build.cause, FailureCause::NoNetwork, "{error}");
}

#[test]
fn a_python_without_ensurepip_names_the_package_that_brings_it() {
    // What Debian's Python says, in the words of its venv module.
    let fixture =
        Fixture::with_tool("case $1 in venv) echo 'ensurepip is not available.'; exit 1;; esac");

    let (result, _) = prepare(&fixture.cache(), &requirements(""));

    let hint = result.unwrap_err().hint().unwrap();
    assert!(hint.starts_with("Install it with: apt install python3."), "{hint}");
}

#[test]
fn a_variable_that_is_not_set_is_named_and_one_that_is_reaches_the_tool() {
    let mut fixture = Fixture::with_tool("echo \"token ${#TOKEN} home ${AWS_SECRET-none}\"");
    fixture.host.set("AWS_SECRET", "x");
    let text = "# x\n--extra-index-url https://me:${TOKEN}@127.0.0.1/simple\n";

    let (unset, _) = prepare(&fixture.cache(), &requirements(text));
    fixture.host.set("TOKEN", "hunter2hunter2");
    let (set, log) = prepare(&fixture.cache(), &requirements(text));

    let error = unset.unwrap_err();
    let EnvironmentError::Build { source: source @ BuildError::Variable { .. } } = &error else {
        panic!("{error:?}")
    };
    insta::assert_snapshot!(source, @r#""requirements.txt" line 2 uses ${TOKEN}, which is not set where the build runs"#);
    let key = set.unwrap().key.unwrap();
    assert!(String::from_utf8_lossy(&log).contains("token 14 home none"));
    // Neither the value nor anything made from it is kept.
    let kept =
        Command::new("grep").args(["-r", "hunter2"]).arg(fixture.cache_path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
    fixture.host.set("TOKEN", "another");
    assert_eq!(prepared(&fixture.cache(), text).key, Some(key));
}

#[test]
fn a_user_managed_environment_is_described_and_never_built() {
    let fixture = Fixture::new();
    let venv = crate::testing::venv_with_wheels(&[]);
    let environment = Environment::UserManaged { interpreter: venv.path().join("bin/python") };

    let (result, log) = prepare(&fixture.cache(), &environment);

    let prepared = result.unwrap();
    let prefix = venv.path().canonicalize().unwrap();
    assert_eq!(prepared.key, None);
    assert_eq!(prepared.variables["VIRTUAL_ENV"], prefix.to_str().unwrap());
    assert_eq!(prepared.path_entries, [prefix.join("bin")]);
    assert!(log.is_empty() && fixture.files().is_empty());
    assert_eq!(fixture.cache().find(&environment).unwrap(), Some(prepared));
}

#[test]
fn environments_are_listed_by_last_use_and_removed_whole() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let [a, b] = ["a", "b"].map(|name| {
        // What the stand-in installs does not matter: only the key does.
        prepared(&cache, &format!("{name}\n")).key.unwrap()
    });
    prepared(&cache, "a\n");

    let listed: Vec<EnvironmentKey> =
        cache.list().unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(listed, [a, b]);
    for key in [a, b] {
        cache.remove(&key.to_string()).unwrap();
    }

    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
    assert!(matches!(cache.show(&a.to_string()), Err(EnvironmentError::NotFound { .. })));
    assert!(matches!(cache.remove(""), Err(EnvironmentError::NotFound { .. })));
}

#[test]
fn a_key_that_begins_several_is_ambiguous() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let first = prepared(&cache, "").key.unwrap();
    let record = cache.names(&first).record();
    let twin = format!("{}{}", &first.to_string()[..60], "0000");
    fs::copy(&record, record.with_file_name(format!("{twin}.json"))).unwrap();

    let error = cache.show(&first.to_string()[..8]).unwrap_err();

    assert!(
        matches!(&error, EnvironmentError::Ambiguous { candidates, .. } if candidates.len() == 2)
    );
    assert!(cache.show(&first.to_string()).is_ok());
}

#[test]
fn a_lease_keeps_an_environment_from_being_removed() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let key = prepared(&cache, "").key.unwrap();

    let leases = [cache.lease(&key).unwrap(), fixture.cache().lease(&key).unwrap()];
    assert!(matches!(cache.remove(&key.to_string()), Err(EnvironmentError::InUse { .. })));
    assert!(cache.list().unwrap()[0].in_use);
    drop(leases);
    assert!(!cache.list().unwrap()[0].in_use);
    cache.remove(&key.to_string()).unwrap();

    assert!(matches!(cache.lease(&key), Err(EnvironmentError::NotFound { .. })));
}

#[test]
fn what_is_prepared_with_a_lease_is_there_however_fast_others_remove_it() {
    static NEVER: AtomicBool = AtomicBool::new(false);
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let key = prepared(&cache, "").key.unwrap().to_string();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let removing = scope.spawn(|| {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                removed += u32::from(fixture.cache().remove(&key).is_ok());
            }
            removed
        });
        for _ in 0..5 {
            let (prepared, lease) =
                cache.prepare_leased(&requirements(""), &mut |_| {}, &NEVER).unwrap();
            assert!(prepared.interpreter.exists());
            assert!(cache.show(&key).is_ok());
            drop(lease.unwrap());
            while cache.find(&requirements("")).unwrap().is_some() {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(removing.join().unwrap() >= 5);
    });
}

#[test]
fn an_environment_that_was_damaged_is_built_again() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let first = prepared(&cache, "");

    fs::remove_dir_all(&first.prefix).unwrap();
    let second = prepared(&cache, "");
    fs::write(cache.names(&first.key.unwrap()).record(), "{").unwrap();
    let third = prepared(&cache, "");

    assert_eq!([second.reused, third.reused], [false, false]);
    assert_eq!(say(&third, "print(1)"), "1");
    assert_eq!(cache.list().unwrap().len(), 1);
}

#[test]
fn a_record_of_a_newer_version_is_left_alone() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let key = prepared(&cache, "").key.unwrap();
    let path = cache.names(&key).record();
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replace("\"version\": 2,\n  \"key\"", "\"version\": 9,\n  \"key\"");
    fs::write(&path, &newer).unwrap();

    let (result, _) = prepare(&cache, &requirements(""));

    assert!(matches!(result, Err(EnvironmentError::Newer { .. })), "{result:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn an_interpreter_that_is_not_there_is_the_error() {
    let fixture = Fixture::new();
    let environment = Environment::UserManaged { interpreter: "/nonexistent/python".into() };

    let error = prepare(&fixture.cache(), &environment).0.unwrap_err();

    assert_eq!(error.to_string(), r#"interpreter "/nonexistent/python" does not exist"#);
    assert!(error.hint().is_some());
}

#[test]
fn a_definition_from_elsewhere_is_checked_before_anything_is_built() {
    let fixture = Fixture::quick();

    let error = prepare(&fixture.cache(), &requirements("-r /etc/passwd\n")).0.unwrap_err();

    assert!(matches!(error, EnvironmentError::Definition(_)), "{error:?}");
    assert!(fixture.files().is_empty());
}

fn cancel_when(condition: impl Fn() -> bool + Send + 'static, cancel: &'static AtomicBool) {
    thread::spawn(move || {
        wait_until("cancelling makes sense", &condition);
        cancel.store(true, Ordering::Relaxed);
    });
}

fn pid_in(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
