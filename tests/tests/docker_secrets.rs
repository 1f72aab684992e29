//! Secrets in containers and builds: given to the script, and nowhere to be found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tests::engine::{self, EngineYard, docker};
use tests::registry::{PASSWORD, Registry, USER};
use tests::{text, wait_until};

const SECRET: &str = "s3cr3t-value-of-the-test";

/// Returns the files below `directory` that hold `needle`, links not followed.
fn files_with(directory: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && holds(&fs::read(entry.path()).unwrap_or_default(), needle) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Returns the command lines, of all processes, that hold `needle`.
fn command_lines_with(needle: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|line| holds(line, needle))
        .map(|line| text(&line))
        .collect()
}

/// Says `TOKEN` in both ways it can be had, then waits for `go`.
const SCRIPT: &str = "
import os, time
print(len(os.environ['TOKEN']), len(open(os.environ['TOKEN_FILE']).read()), flush=True)
print(open('/proc/mounts').read().count(' /run/secrets'), flush=True)
print('leaked', os.environ['TOKEN'], flush=True)
while not os.path.exists('outputs/go'): time.sleep(0.01)
";

fn go(yard: &EngineYard, run: &str) {
    let outputs = yard.run_directory(run).join("work/outputs");
    fs::create_dir_all(&outputs).unwrap();
    fs::write(outputs.join("go"), "").unwrap();
}

#[test]
fn a_secret_reaches_the_script_and_nothing_else() {
    let Some(yard) = engine::yard() else { return };
    let output = yard
        .trainyard()
        .env("TOKEN", SECRET)
        .args(["run", "-d", "--json", "--secret", "TOKEN", "--docker", engine::BASE_IMAGE])
        .arg("--source")
        .arg(yard.script(SCRIPT))
        .arg("train.py")
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let id = answer["runId"].as_str().unwrap();
    wait_until("the script runs", || yard.ok(["logs", id]).lines().count() >= 3);

    let container = yard.containers().pop().expect("it runs");
    let log = yard.ok(["logs", id]);
    let length = SECRET.len();
    assert!(log.starts_with(&format!("{length} {length}\n1\nleaked ")), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    for said in
        [docker(["inspect", &container]), docker(["history", "--no-trunc", engine::BASE_IMAGE])]
    {
        assert!(!said.contains(SECRET), "{said}");
    }
    assert_eq!(command_lines_with(SECRET), Vec::<String>::new());

    go(&yard, id);
    assert_eq!(yard.ended(id)["status"], "Completed");
    assert_eq!(files_with(&yard.home(), SECRET), Vec::<PathBuf>::new());
    assert_eq!(files_with(Path::new("/dev/shm"), SECRET), Vec::<PathBuf>::new());
    assert!(!yard.show(id).to_string().contains(SECRET));
}

#[test]
fn secrets_of_a_run_whose_supervisor_was_killed_are_gone() {
    // Its own: the tests run at once, and look at the whole of /dev/shm.
    const SECRET: &str = "s3cr3t-value-of-a-killed-run";
    let Some(yard) = engine::yard() else { return };
    let output = yard
        .trainyard()
        .env("TOKEN", SECRET)
        .args(["run", "-d", "--json", "--secret", "TOKEN", "--docker", engine::BASE_IMAGE])
        .arg("--source")
        .arg(yard.script(SCRIPT))
        .arg("train.py")
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = answer["runId"].as_str().unwrap();
    wait_until("the script runs", || yard.ok(["logs", id]).lines().count() >= 3);

    tests::kill_supervisors(&yard, id);

    let shown = yard.ended(id);
    assert_eq!(shown["exit"]["reason"], "supervisor_killed", "{shown:#}");
    wait_until("the container is gone", || yard.containers().is_empty());
    wait_until("its secrets are gone", || files_with(Path::new("/dev/shm"), SECRET).is_empty());
}

#[test]
fn the_password_of_a_registry_is_used_and_forgotten() {
    let Some(yard) = engine::yard() else { return };
    let registry = Registry::start();
    let label = format!("LABEL trainyard.home={}", yard.home().display());
    let dockerfile = format!("FROM {}\n{label}\nENV ONLY=here\n", engine::BASE_IMAGE);
    let context = yard.project("private", &[("Dockerfile", &dockerfile)]);
    let image = docker(["build", "-q", context.to_str().unwrap()]);
    let reference = registry.push(image.trim(), "team/private:1");
    docker(["rmi", "-f", image.trim()]);
    let runconfig = format!(
        "script: train.py\ntarget: local\nframework: Python\n\
         environment:\n  python: {{userManagedDependencies: true, interpreterPath: python3}}\n  docker:\n    \
         enabled: true\n    baseImage: team/private:1\n    \
         baseImageRegistry: {{address: '{}', username: {USER}, password: '{PASSWORD}'}}\n\
         docker: {{useDocker: true}}\n",
        registry.address()
    );
    let script = "import os; print(os.environ['ONLY'])";
    let project = [("train.py", script), (".azureml/local.runconfig", &runconfig)];
    let source = yard.project("uses-private", &project);
    // The file is the user's, and so is what it says; only the snapshot may hold it.
    fs::write(source.join(".amlignore"), ".azureml\n").unwrap();
    let run = || {
        yard.trainyard()
            .args(["run", "-c", ".azureml/local.runconfig", "--source"])
            .arg(&source)
            .current_dir(&source)
            .output()
            .unwrap()
    };

    let first = run();
    assert_eq!(text(&first.stdout), "here\n", "{}", text(&first.stderr));
    assert_eq!(files_with(&yard.home(), PASSWORD), Vec::<PathBuf>::new());
    assert!(!text(&first.stderr).contains(PASSWORD), "{}", text(&first.stderr));
    let shown = yard.show("@");
    assert!(!shown.to_string().contains(PASSWORD));
    let digest = shown["preparedEnvironment"]["image"]["digest"].as_str().unwrap_or_default();
    assert!(digest.contains("@sha256:"), "{shown:#}");

    // One that runs it again has no password, and says so where it needs one.
    let again = |password: Option<&str>| {
        let mut command = yard.trainyard();
        command.args(["rerun", "@", "--fresh"]).stdin(Stdio::null());
        if let Some(password) = password {
            let file = yard.home().with_file_name("password");
            fs::write(&file, password).unwrap();
            command.arg("--registry-password-stdin").stdin(fs::File::open(&file).unwrap());
        }
        command.output().unwrap()
    };
    let refused = again(None);
    assert_eq!(refused.status.code(), Some(125), "{}", text(&refused.stderr));
    let said = text(&refused.stderr);
    assert!(said.contains("--registry-password-stdin"), "{said}");
    let given = again(Some(&format!("{PASSWORD}\n")));
    assert_eq!(text(&given.stdout), "here\n", "{}", text(&given.stderr));
    assert_eq!(files_with(&yard.home(), PASSWORD), Vec::<PathBuf>::new());

    // The engine has it now: nobody is asked again.
    drop(registry);
    let second = run();
    assert_eq!(text(&second.stdout), "here\n", "{}", text(&second.stderr));
    docker(["rmi", "-f", &reference]);
}

#[test]
fn a_registry_refuses_who_has_no_password_and_takes_what_docker_login_stored() {
    let Some(yard) = engine::yard() else { return };
    let registry = Registry::start();
    let reference = registry.push(engine::BASE_IMAGE, "team/base:1");
    let run = || yard.run(&yard.script("print('ran')"), &["--docker", &reference]);

    let refused = run();
    assert_eq!(refused.status.code(), Some(125), "{}", text(&refused.stderr));
    let said = text(&refused.stderr);
    assert!(said.contains(registry.address()), "{said}");
    assert!(said.contains("docker login"), "what to do is said: {said}");

    registry.log_in(&yard.user_home().join(".docker"));
    let taken = run();
    assert_eq!(text(&taken.stdout), "ran\n", "{}", text(&taken.stderr));
    docker(["rmi", &reference]);
}
