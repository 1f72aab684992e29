//! What containers may not be, and engines that are not there: one clear message each, in time.

use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::engine::{self, EngineYard};
use tests::{Yard, text, wait_until};

/// A project whose run configuration asks for a container with `arguments`.
fn project(yard: &Yard, arguments: &str) -> PathBuf {
    let runconfig = format!(
        "script: train.py\ntarget: local\nframework: Python\n\
         environment:\n  python: {{userManagedDependencies: true, interpreterPath: python3}}\n  \
         docker: {{enabled: true, baseImage: '{}'}}\n\
         docker:\n  useDocker: true\n  arguments: {arguments}\n",
        engine::BASE_IMAGE
    );
    let name = format!(
        "asks-{:x}",
        arguments.bytes().fold(7u64, |hash, b| hash * 31 % 0xff_ffff + u64::from(b))
    );
    yard.project(&name, &[("train.py", "print('ran')"), (".azureml/local.runconfig", &runconfig)])
}

fn run(yard: &Yard, source: &Path, engine: &str) -> Output {
    yard.trainyard()
        .env("DOCKER_HOST", engine)
        .args(["run", "-c", ".azureml/local.runconfig", "--source"])
        .arg(source)
        .current_dir(source)
        .output()
        .unwrap()
}

fn dry_run(yard: &Yard, source: &Path) -> Output {
    yard.trainyard()
        .args(["run", "--dry-run", "-c", ".azureml/local.runconfig", "--source"])
        .arg(source)
        .current_dir(source)
        .output()
        .unwrap()
}

/// An engine that counts who calls and answers nobody.
struct DeafEngine {
    address: String,
    calls: Arc<AtomicUsize>,
}

impl DeafEngine {
    fn start(yard: &Yard) -> Self {
        let path = yard.home().with_file_name("deaf.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        std::thread::spawn(move || {
            for mut caller in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(caller.read(&mut [0; 64]));
            }
        });
        Self { address: format!("unix://{}", path.display()), calls }
    }
}

#[test]
fn what_could_reach_the_machine_is_refused_before_the_engine_is_called() {
    let yard = Yard::new();
    let engine = DeafEngine::start(&yard);
    // An agent looks once for containers that are left over, when it starts.
    let started =
        yard.trainyard().env("DOCKER_HOST", &engine.address).arg("list").status().unwrap();
    assert!(started.success());
    wait_until("it has looked", || {
        let log = std::fs::read_to_string(yard.home().join("agent.log")).unwrap_or_default();
        log.contains("Could not look for containers")
    });
    let calls = engine.calls.load(Ordering::SeqCst);
    let refused = [
        "[--privileged]",
        "['--privileged=true']",
        "[--pid=host]",
        "['--pid', host]",
        "[--ipc=host]",
        "[--uts=host]",
        "[--userns=host]",
        "[--cgroupns=host]",
        "[--net=host]",
        "['--network', host]",
        "['--network=container:other']",
        "['-v', '/:/host']",
        "['-v/:/host']",
        "['--volume=/etc:/x:ro']",
        "['-v', '/var/run/docker.sock:/var/run/docker.sock']",
        "['--mount', 'type=bind,src=/,dst=/host']",
        "['--volumes-from=other']",
        "['--volume-driver=x']",
        "[--cap-add=SYS_ADMIN]",
        "['--cap-add', ALL]",
        "['--security-opt', seccomp=unconfined]",
        "['--security-opt=apparmor=unconfined']",
        "['--device=/dev/sda']",
        "['--device-cgroup-rule=a *:* rwm']",
        "['--cgroup-parent=/']",
        "[--oom-score-adj=-1000]",
        "[--user=0]",
        "['--runtime=other']",
        "['--entrypoint=/bin/sh']",
        "['--sysctl=kernel.shmmax=1']",
        "['--pids-limit=-1']",
        "['--no-such-option']",
        "['image-name']",
        "['--cpus=two']",
    ];
    for arguments in refused {
        let source = project(&yard, arguments);
        let output = run(&yard, &source, &engine.address);

        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        let argument = arguments.trim_matches(['[', ']']).split([',', '=']).next().unwrap();
        let argument = argument.trim_matches('\'').trim_end_matches("/:/host");
        assert!(stderr.contains(argument), "{arguments} is not named: {stderr}");
        assert!(stderr.contains("hint") || stderr.contains("help"), "{arguments}: {stderr}");
    }
    let source = project(&yard, "[--privileged]");
    let output = dry_run(&yard, &source);
    assert_eq!(output.status.code(), Some(2), "a dry run says so, too: {}", text(&output.stdout));
    assert!(text(&output.stderr).contains("--privileged"), "{}", text(&output.stderr));
    assert_eq!(engine.calls.load(Ordering::SeqCst), calls, "the engine was called");
    if yard.home().join("agent.db").exists() {
        assert_eq!(yard.json(["list", "--json"]).as_array().unwrap().len(), 0, "none was accepted");
    }
}

#[test]
fn arguments_that_only_limit_are_passed_on() {
    let Some(yard) = engine::yard() else { return };
    let arguments = "['--cpus=1.5', '--memory', 200m, '--shm-size=48m', '--env', 'ASKED=yes', '-e', SECOND=2, '--ulimit', 'nofile=512:512', '--hostname=box']";
    let source = project(&yard, arguments);
    let script = "
import os, resource, socket
stat = os.statvfs('/dev/shm')
print(stat.f_blocks * stat.f_frsize >> 20, os.environ['ASKED'], os.environ['SECOND'])
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], socket.gethostname())
";
    std::fs::write(source.join("train.py"), script).unwrap();
    let output = run(&yard, &source, "unix:///var/run/docker.sock");

    assert_eq!(text(&output.stdout), "48 yes 2\n512 box\n", "{}", text(&output.stderr));
}

#[test]
fn what_the_administrator_allows_by_name_is_given() {
    let Some(yard) = engine::yard() else { return };
    let shared = yard.project("shared", &[("data.txt", "from this machine")]);
    yard.configure(&format!(
        "{}[docker]\nallow = [\"--volume={}\"]\n",
        engine::build_settings(),
        shared.display()
    ));
    let arguments = format!("['-v', '{}:/shared:ro']", shared.display());
    let source = project(&yard, &arguments);
    std::fs::write(source.join("train.py"), "print(open('/shared/data.txt').read())").unwrap();
    let planned = dry_run(&yard, &source);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));

    let output = run(&yard, &source, "unix:///var/run/docker.sock");

    assert_eq!(text(&output.stdout), "from this machine\n", "{}", text(&output.stderr));
}

/// Runs in a container of an engine that cannot be used; returns what is said about it.
fn without_engine(yard: &EngineYard, engine: &str) -> String {
    let output = yard
        .trainyard()
        .env("DOCKER_HOST", engine)
        .args(["run", "--docker", engine::BASE_IMAGE, "--source"])
        .arg(yard.script("print('ran')"))
        .arg("train.py")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

#[test]
fn an_engine_that_is_not_there_is_the_reason() {
    let Some(yard) = engine::yard() else { return };

    let said = without_engine(&yard, "unix:///no/such/docker.sock");

    assert!(said.contains("/no/such/docker.sock"), "{said}");
    assert!(said.to_lowercase().contains("docker"), "{said}");
    let shown = yard.show("@");
    assert_eq!(shown["exit"]["reason"], "environment_failed", "{shown:#}");
    let doctor = yard
        .trainyard()
        .env("DOCKER_HOST", "unix:///no/such/docker.sock")
        .arg("doctor")
        .output()
        .unwrap();
    let doctor = text(&doctor.stdout) + &text(&doctor.stderr);
    assert!(doctor.contains("/no/such/docker.sock"), "{doctor}");
}

#[test]
fn an_image_that_nobody_has_is_named() {
    let Some(yard) = engine::yard() else { return };
    let image = "127.0.0.1:9/no/such-image:1";
    let output = yard.run(&yard.script("print('ran')"), &["--docker", image]);

    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(image), "{}", text(&output.stderr));
    assert_eq!(yard.show("@")["exit"]["reason"], "environment_failed");
}

#[test]
fn gpus_are_refused_where_there_are_none() {
    let Some(yard) = engine::yard() else { return };
    if Path::new("/dev/nvidiactl").exists() {
        return;
    }
    let output = yard.in_container("print('ran')", &["--gpus", "1"]);

    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(2 | 125)), "{:?}: {said}", output.status);
    assert!(said.contains("GPU"), "{said}");
    assert_eq!(text(&output.stdout), "");
    wait_until("the container is gone", || yard.containers().is_empty());
}
