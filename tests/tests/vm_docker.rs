//! Containers on a machine over SSH: packages on top of an image, and a link that is cut.

use std::process::Command;

use tests::attached::{AttachedYard, NAME};
use tests::engine::BASE_IMAGE;
use tests::text;
use tests::vm::{Vm, VmOptions};
use tests::wait_until;
use tests::wheel::wheel;

/// Lines of known bytes, a part of them after `go`.
const TALKS: &str = r#"
import os, time
def talk(numbers):
    for n in numbers:
        os.write(1, b"line %d \xff %s\n" % (n, b"x" * (n % 97)))
talk(range(1000))
while not os.path.exists(os.environ["GO"]):
    talk(())
    time.sleep(0.02)
talk(range(1000, 6000))
with open("outputs/model", "wb") as file:
    file.write(bytes(range(256)))
raise SystemExit(42)
"#;

/// What the script waits for, in its container.
const GO: &str = "/tmp/go";

/// Where packages are on the machine.
const PORT: u16 = 8000;

/// Returns the containers of `run`.
fn containers(run: &str) -> String {
    let filter = format!("label=trainyard.run={run}");
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().unwrap();
    text(&listed.stdout)
}

/// Returns the images that were made for `vm`.
fn images(vm: &Vm) -> String {
    let filter = format!("label=trainyard.home={}/.trainyard", vm.user_home().display());
    let listed = Command::new("docker").args(["images", "-q", "--filter", &filter]).output();
    text(&listed.unwrap().stdout)
}

#[test]
fn packages_are_put_on_an_image_there_and_a_container_outlives_the_link() {
    let options = VmOptions { docker: true, ..VmOptions::default() };
    let Some(yard) = AttachedYard::new(options) else { return };
    has_packages_on_top(&yard);
    outlives_the_link(&yard);

    yard.ok(["target", "detach", NAME, "--purge", "--yes"]);
    assert_eq!(images(&yard.vm), "", "what was built goes with the rest");
}

fn has_packages_on_top(yard: &AttachedYard) {
    let wheels = yard.vm.user_home().join("wheels");
    std::fs::create_dir(&wheels).unwrap();
    wheel(&wheels, "small", "1.2.3");
    let (wheels, log) = (wheels.display(), "/tmp/packages.log");
    yard.vm.exec(&format!("python3 -m http.server -d {wheels} {PORT} >{log} 2>&1 &"));
    let address = yard.vm.address();
    wait_until("packages are served", || {
        std::net::TcpStream::connect((address.as_str(), PORT)).is_ok()
    });
    let requirements = format!("small @ http://{address}:{PORT}/small-1.2.3-py3-none-any.whl\n");
    let script = "import small\nprint('small', small.VERSION)\n";
    let files = [("train.py", script), ("requirements.txt", requirements.as_str())];
    let source = yard.project("packages", &files);
    let options = ["--docker", BASE_IMAGE, "--env", "requirements.txt"];

    for reused in [false, true] {
        let output = yard.run_there(&source, &options);
        assert_eq!(text(&output.stdout), "small 1.2.3\n", "{}", text(&output.stderr));
        let prepared = &yard.show("@")["preparedEnvironment"];
        assert_eq!(prepared["reused"], reused, "{prepared:#}");
    }
    assert_ne!(images(&yard.vm), "");
}

fn outlives_the_link(yard: &AttachedYard) {
    let source = yard.script(TALKS);
    let variable = format!("GO={GO}");
    let source = source.to_str().unwrap();
    let mut run = vec!["run", "-d", "--json", "--target", NAME, "--docker", BASE_IMAGE];
    run.extend(["-e", &variable, "--source", source, "train.py"]);
    let run = yard.json(run)["runId"].as_str().unwrap().to_owned();
    wait_until("it is on", || yard.ok(["logs", &run]).contains("line 999 "));
    let container = containers(&run);
    assert_eq!(container.lines().count(), 1, "{container}");

    yard.vm.cut();
    wait_until("the cut is shown", || yard.show(&run)["outOfContact"].is_object());
    let touch = ["exec", container.trim(), "touch", GO];
    assert!(Command::new("docker").args(touch).status().unwrap().success());
    yard.vm.mend();
    yard.vm.restart_sshd();

    let shown = yard.ended(&run);
    assert_eq!(shown["exit"]["reason"], "script_failed", "{shown:#}");
    assert_eq!(shown["exit"]["code"], 42);
    assert_eq!(shown["outputFiles"].as_array().unwrap().len(), 1, "{shown:#}");
    let log = yard.call(["logs", &run]).stdout;
    let line = |n: usize| {
        [format!("line {n} ").as_bytes(), b"\xff ", &b"x".repeat(n % 97), b"\n"].concat()
    };
    let expected: Vec<u8> = (0..6000).flat_map(line).collect();
    assert!(log == expected, "{} bytes came, {} were written", log.len(), expected.len());
    assert_eq!(containers(&run), "");
}
