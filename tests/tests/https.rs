//! The command line and an agent on another machine: everything works as at the socket, and who is
//! not who they should be is told apart.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tests::{Yard, certificates, is_alive, kill, python, text, wait_until};

/// An agent behind a certificate, and a user of another machine.
struct Afar {
    server: Yard,
    client: Yard,
    files: TempDir,
    port: u16,
}

impl Afar {
    fn start() -> Self {
        let files = certificates::make("127.0.0.1");
        let key = files.path().join("key.pem");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        // An agent that was killed has to find it again.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Yard::new();
        let certificate = files.path().join("cert.pem");
        server.configure(&format!(
            "[listen]\naddress = '127.0.0.1:{port}'\ncertificate = {certificate:?}\nkey = {key:?}\n"
        ));
        let token = server.ok(["token", "create", "laptop"]);
        fs::write(files.path().join("token"), token).unwrap();
        Self { server, client: Yard::new(), files, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The user's command line, with all that it needs.
    fn trainyard(&self) -> Command {
        let mut command = self.client.trainyard();
        command
            .env("TRAINYARD_SOCKET", format!("https://127.0.0.1:{}", self.port))
            .env("TRAINYARD_TOKEN_FILE", self.file("token"))
            .env("TRAINYARD_CA_FILE", self.file("ca.pem"));
        command
    }

    /// How many are connected to the agent.
    fn connections(&self) -> usize {
        let agent = format!(" 0100007F:{:04X} ", self.port);
        let all = fs::read_to_string("/proc/net/tcp").unwrap();
        // Its own end of those that are established.
        let ours = |line: &&str| {
            line.split_once(": ").is_some_and(|(_, rest)| {
                rest.starts_with(agent.trim_start()) && rest.split(' ').nth(2) == Some("01")
            })
        };
        all.lines().filter(ours).count()
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.trainyard().args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// Makes the command that runs `train.py`, which reads `script`.
    fn run(&self, script: &str, options: &[&str]) -> Command {
        let mut command = self.trainyard();
        command.args(["run", "--source"]).arg(self.client.script(script));
        command.arg("--python").arg(python()).args(options).arg("train.py");
        command
    }

    fn submit(&self, script: &str) -> String {
        let output = self.run(script, &["-d", "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        said["runId"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_run_from_afar_is_like_one_at_the_socket() {
    let afar = Afar::start();
    let script = "import os\n\
                  os.write(1, bytes(range(256)) * 5000)\n\
                  os.write(2, bytes(range(255, -1, -1)))\n\
                  open('outputs/model.bin', 'wb').write(bytes(range(256)) * 4000)\n\
                  raise SystemExit(7)";
    let ran = afar.run(script, &["--quiet"]).output().unwrap();

    assert_eq!(ran.status.code(), Some(7), "{}", text(&ran.stderr));
    let expected: Vec<u8> = (0..5000).flat_map(|_| 0..=255_u8).collect();
    assert!(ran.stdout == expected, "{} bytes", ran.stdout.len());
    assert!(ran.stderr.starts_with(&(0..=255_u8).rev().collect::<Vec<_>>()));
    assert!(afar.call(&["logs", "--stream", "stdout", "@"]).stdout == expected);
    let copy = afar.client.home().with_file_name("copy");
    afar.ok(&["outputs", "@", copy.to_str().unwrap()]);
    let model = fs::read(copy.join("outputs/model.bin")).unwrap();
    assert!(model == (0..4000).flat_map(|_| 0..=255_u8).collect::<Vec<_>>());

    // The source has travelled, and does so once.
    let again = afar.run(script, &[]).output().unwrap();
    assert!(!text(&again.stderr).contains("Sent"), "{}", text(&again.stderr));
    let other = afar.run("print('other')", &[]).output().unwrap();
    assert!(text(&other.stderr).contains("Sent 2 objects"), "{}", text(&other.stderr));
    assert_eq!(text(&other.stdout), "other\n");
    assert!(!afar.client.home().join("agent.lock").exists(), "no agent was started here");
}

#[test]
fn every_command_works_from_afar_but_making_tokens() {
    let afar = Afar::start();
    let waiting = afar.submit("import time\nprint('on', flush=True)\ntime.sleep(600)");
    wait_until("it is on", || afar.ok(&["logs", &waiting]) == "on\n");

    assert!(afar.ok(&["list"]).contains(&waiting));
    let shown: Value = serde_json::from_str(&afar.ok(&["show", "--json", &waiting])).unwrap();
    assert_eq!(shown["status"], "Running");
    assert!(afar.ok(&["queue", "list", "--json"]).starts_with("[]"));
    assert!(afar.ok(&["target", "list"]).contains("local"));
    afar.ok(&["env", "list"]);
    assert!(!afar.ok(&["explain", &waiting]).is_empty());
    afar.ok(&["cancel", &waiting]);
    assert_eq!(afar.call(&["wait", &waiting]).status.code(), Some(130));
    let rerun = afar.ok(&["rerun", "-d", "--json", &waiting]);
    let rerun: Value = serde_json::from_str(&rerun).unwrap();
    afar.ok(&["cancel", "--now", rerun["runId"].as_str().unwrap()]);
    afar.ok(&["diff", &waiting, "@"]);
    afar.call(&["wait", "@"]);
    afar.ok(&["remove", &waiting]);
    afar.ok(&["gc", "--dry-run"]);
    let doctor = text(&afar.call(&["doctor"]).stdout);
    let url = format!("https://127.0.0.1:{}", afar.port);
    assert!(doctor.contains(&format!("answers at {url}")), "{doctor}");
    let certificate = format!("listening        {url}, with a certificate until");
    assert!(doctor.contains(&certificate), "{doctor}");
    let status = afar.ok(&["agent", "status"]);
    let listening = format!("Listening    {url}, certificate {}", afar.file("cert.pem").display());
    assert!(status.contains(&listening), "{status}");

    let token = afar.call(&["token", "create", "more"]);
    assert_eq!(token.status.code(), Some(2));
    assert!(text(&token.stderr).contains("at the agent's socket only"), "{}", text(&token.stderr));
    // The owner's, but of scope write: it does not rule.
    let stop = afar.call(&["agent", "stop"]);
    assert!(text(&stop.stderr).contains("scope admin"), "{}", text(&stop.stderr));
    let here = afar.call(&["agent", "run"]);
    assert_eq!(here.status.code(), Some(2));
    assert!(text(&here.stderr).contains("answers on a socket"), "{}", text(&here.stderr));
    let admin = afar.server.ok(["token", "create", "ops", "--scope", "admin"]);
    fs::write(afar.file("token"), admin).unwrap();
    let pid = afar.server.agent_pid();
    afar.ok(&["agent", "stop"]);
    wait_until("the agent is gone", || !is_alive(pid));
}

#[test]
fn a_follower_from_afar_goes_on_when_the_agent_was_killed() {
    let afar = Afar::start();
    let script = "import time\nfor i in range(200):\n    print('line', i)\n    time.sleep(0.02)\n";
    let run = afar.submit(script);
    let mut follower =
        afar.trainyard().args(["logs", "-f", &run]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(follower.stdout.take().unwrap());
    let mut seen = String::new();
    for _ in 0..10 {
        stdout.read_line(&mut seen).unwrap();
    }

    let pid = afar.server.agent_pid();
    kill(pid);
    wait_until("the killed agent is gone", || !is_alive(pid));
    afar.server.ok(["list"]);

    stdout.read_to_string(&mut seen).unwrap();
    let expected: String = (0..200).map(|i| format!("line {i}\n")).collect();
    assert_eq!(seen, expected, "every line once, in order");
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_follower_from_afar_that_pauses_is_dropped_and_misses_nothing() {
    const MEBIBYTES: usize = 100;
    let afar = Afar::start();
    let script = format!(
        "import sys\nblock = bytes(range(256)) * 4096\n\
         for _ in range({MEBIBYTES}): sys.stdout.buffer.write(block)\n"
    );
    let mut child = afar.run(&script, &["--quiet"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("it follows", || afar.connections() > 0);
    wait_until("its run is over", || {
        // No part of the following is asked on the same connection.
        afar.server.ok(["list", "--json"]).contains("\"Completed\"")
    });
    assert_eq!(afar.connections(), 1, "it is sent what it does not take");

    wait_until("it is dropped", || afar.connections() == 0);

    let mut stdout = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    assert!(child.wait().unwrap().success());
    let block: Vec<u8> = (0..4096).flat_map(|_| 0..=255_u8).collect();
    assert_eq!(stdout.len(), MEBIBYTES << 20);
    assert!(stdout.chunks(1 << 20).all(|chunk| chunk == block), "every byte once, in order");
}

#[test]
fn whoever_is_not_who_they_should_be_is_told_apart() {
    let afar = Afar::start();
    let other = certificates::make("127.0.0.1");
    let others_ca = other.path().join("ca.pem");
    fs::write(afar.file("bad"), "not a token\n").unwrap();
    fs::write(afar.file("unknown"), format!("ty_{}\n", "A".repeat(43))).unwrap();
    let (https, port) = (format!("https://127.0.0.1:{}", afar.port), afar.port);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (by_name, silent) = (format!("https://localhost:{port}"), format!("https://{nobody}"));
    let value = |path: PathBuf| path.to_str().unwrap().to_owned();
    let said = |variables: &[(&str, String)]| {
        let output = afar.trainyard().envs(variables.iter().cloned()).arg("list").output().unwrap();
        let said = text(&output.stderr).replace(&https, "HTTPS").replace(&silent, "SILENT");
        let said = said.replace(&by_name, "NAME").replace(value(afar.file("")).as_str(), "FILES/");
        format!("{}: {said}", output.status.code().unwrap())
    };

    let table = [
        said(&[("TRAINYARD_TOKEN_FILE", String::new())]),
        said(&[("TRAINYARD_TOKEN_FILE", value(afar.file("none")))]),
        said(&[("TRAINYARD_TOKEN_FILE", value(afar.file("bad")))]),
        said(&[("TRAINYARD_TOKEN", "ty_secret".to_owned())]),
        said(&[("TRAINYARD_TOKEN_FILE", value(afar.file("unknown")))]),
        said(&[("TRAINYARD_CA_FILE", value(others_ca))]),
        said(&[("TRAINYARD_CA_FILE", value(afar.file("token")))]),
        said(&[("TRAINYARD_SOCKET", by_name.clone())]),
        said(&[("TRAINYARD_SOCKET", silent.clone())]),
        said(&[("TRAINYARD_SOCKET", "http://192.0.2.7:8443".to_owned())]),
        said(&[("TRAINYARD_SOCKET", "https://ana:secret@localhost".to_owned())]),
    ];

    insta::assert_snapshot!(table.join("\n"));
    // Without a file of one's own the system's count, of which none signed it.
    let output = afar.trainyard().env_remove("TRAINYARD_CA_FILE").arg("list").output().unwrap();
    let untrusted = text(&output.stderr);
    assert!(untrusted.contains("is not trusted") && untrusted.contains("TRAINYARD_CA_FILE"));
    let doctor = afar.trainyard().env("TRAINYARD_SOCKET", &silent).arg("doctor").output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        text(&doctor.stdout)
            .contains(&format!("BAD  agent            no agent answers at {silent}"))
    );
    let run = afar.run("pass", &[]).env("TRAINYARD_SOCKET", &silent).output().unwrap();
    assert_eq!(run.status.code(), Some(125), "{}", text(&run.stderr));
    assert!(!afar.client.home().join("agent.lock").exists(), "no agent was started here");
}

#[test]
fn a_new_certificate_is_shown_to_whoever_connects_and_a_broken_one_to_nobody() {
    let afar = Afar::start();
    let pid = afar.server.agent_pid();
    let log = || fs::read_to_string(afar.server.home().join("agent.log")).unwrap();
    let following = afar.submit("import time\nprint('on', flush=True)\ntime.sleep(600)");
    let follower = afar.trainyard().args(["logs", "-f", &following]).stdout(Stdio::null()).spawn();

    fs::write(afar.file("cert.pem"), "no certificate").unwrap();
    wait_until("the broken one is told", || log().contains("Still shows the old certificate"));
    afar.ok(&["list"]);
    assert_eq!(log().matches("Still shows the old certificate").count(), 1, "{}", log());
    assert!(log().contains("it has to be a certificate in PEM"), "{}", log());

    let others = certificates::make("127.0.0.1");
    let another = || {
        let ca = others.path().join("ca.pem");
        afar.trainyard().env("TRAINYARD_CA_FILE", ca).arg("list").output().unwrap()
    };
    assert!(!another().status.success(), "it is not shown yet");
    for name in ["key.pem", "cert.pem"] {
        fs::copy(others.path().join(name), afar.file(name)).unwrap();
        fs::set_permissions(afar.file(name), Permissions::from_mode(0o600)).unwrap();
    }
    wait_until("the new one is shown", || another().status.success());
    let untrusted = afar.call(&["list"]);
    assert!(text(&untrusted.stderr).contains("is not trusted"), "{}", text(&untrusted.stderr));

    // Whoever was connected by then has noticed nothing.
    assert_eq!(afar.server.agent_pid(), pid);
    afar.server.ok(["cancel", "--now", &following]);
    assert!(follower.unwrap().wait().unwrap().success());
}

#[test]
fn an_agent_does_not_start_with_a_certificate_or_a_key_that_will_not_do() {
    let [ours, others] = [(); 2].map(|()| certificates::make("127.0.0.1"));
    let file = |of: &TempDir, name: &str| of.path().join(name).to_str().unwrap().to_owned();
    for of in [&ours, &others] {
        let private = Permissions::from_mode(0o600);
        fs::set_permissions(of.path().join("key.pem"), private).unwrap();
    }
    let everybodys = file(&ours, "everybodys.pem");
    fs::copy(file(&ours, "key.pem"), &everybodys).unwrap();
    fs::set_permissions(&everybodys, Permissions::from_mode(0o644)).unwrap();
    let yard = Yard::new();
    let said = |certificate: &str, key: &str| {
        yard.configure(&format!(
            "[listen]\naddress = '0.0.0.0:0'\ncertificate = {certificate:?}\nkey = {key:?}\n"
        ));
        let output = yard.call(["agent", "run"]);
        assert!(!output.status.success());
        let said = text(&output.stderr).replace(ours.path().to_str().unwrap(), "OURS");
        said.replace(others.path().to_str().unwrap(), "OTHERS")
    };
    let (cert, key) = (file(&ours, "cert.pem"), file(&ours, "key.pem"));
    fs::set_permissions(&cert, Permissions::from_mode(0o600)).unwrap();

    let table = [
        said(&cert, &everybodys),
        said(&cert, &file(&others, "key.pem")),
        said(&cert, &cert),
        said(&key, &key),
        said(&file(&ours, "none.pem"), &key),
    ];

    insta::assert_snapshot!(table.join("\n"));
    assert!(!yard.home().join("agent.db").exists());
}

#[test]
fn a_token_of_the_environment_goes_to_no_agent_and_so_to_no_run() {
    let yard = Yard::new();
    let started = yard.trainyard().env("TRAINYARD_TOKEN", "ty_secret").arg("list").status();
    assert!(started.unwrap().success());

    let environment = fs::read(format!("/proc/{}/environ", yard.agent_pid())).unwrap();

    assert!(!text(&environment).contains("ty_secret"));
    assert!(text(&environment).contains("TRAINYARD_HOME"));
}
