//! The agent over TCP: who is let in, for what, and what those can do who mean harm.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, Workspace, as_user, ask, call};

/// Any port of this machine, for whoever is on it.
const LISTEN: (&str, &str) = ("TRAINYARD_LISTEN_ADDRESS", "127.0.0.1:0");

/// Two users whom no system knows, and one whom every system has, in the group of its name.
const ANA: u32 = 61_001;
const BEN: u32 = 61_002;
const DAEMON: u32 = 1;

/// An agent that listens.
struct Listening {
    workspace: Workspace,
    address: SocketAddr,
}

impl Listening {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut workspace = Workspace::new(&[("a.txt", "a")]);
        workspace.start_with(&[&[LISTEN], variables].concat());
        Self::of(workspace)
    }

    /// One that answers every user of this machine; `None` where we cannot be somebody else.
    fn shared(variables: &[(&str, &str)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mut workspace = Workspace::new(&[("a.txt", "a")]);
        workspace.start_shared(&[&[LISTEN], variables].concat());
        Some(Self::of(workspace))
    }

    fn of(workspace: Workspace) -> Self {
        let status = workspace.get("/v1/status").json();
        let url = status["listening"]["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { workspace, address }
    }

    /// Makes a token as `uid`, at the socket.
    fn make(&self, uid: u32, request: &Value) -> Answer {
        let json = ["content-type: application/json"];
        let socket = self.workspace.socket();
        let body = request.to_string();
        as_user(uid, || call(&socket, "POST", "/v1/tokens", &json, body.as_bytes()))
    }

    fn token(&self, uid: u32, name: &str, scope: &str) -> String {
        let made = self.make(uid, &json!({"name": name, "scope": scope}));
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["token"].as_str().unwrap().to_owned()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        ask(self.connect(), method, path, headers, body.as_bytes())
    }

    /// Asks with a token, as a client does.
    fn with(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = format!("authorization: Bearer {token}");
        let mut headers = vec!["host: localhost", &token];
        headers.extend(body.map(|_| "content-type: application/json"));
        self.ask(method, path, &headers, &body.map(Value::to_string).unwrap_or_default())
    }

    fn get(&self, token: &str, path: &str) -> Answer {
        self.with(token, "GET", path, None)
    }

    /// Begins to follow a run, and returns once the agent has begun to tell of it.
    fn follow(&self, token: &str, run: &str) -> TcpStream {
        let mut stream = self.connect();
        let head = format!(
            "GET /v1/runs/{run}/follow HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut told = [0; 12];
        stream.read_exact(&mut told).unwrap();
        assert_eq!(told, *b"HTTP/1.1 200");
        stream
    }

    /// A run that waits until somebody releases it.
    fn held(&self) -> String {
        let mut submission = self.workspace.submission("true");
        submission["held"] = true.into();
        self.workspace.submit(&submission)
    }

    /// How many sockets the agent has open.
    fn sockets(&self) -> usize {
        let pid = self.workspace.get("/v1/status").json()["pid"].to_string();
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_listens_unless_it_is_asked_for_and_then_only_where_that_is_safe() {
    let mut quiet = Workspace::new(&[]);
    quiet.start();
    assert_eq!(quiet.get("/v1/status").json()["listening"], Value::Null);

    let workspace = Workspace::new(&[]);
    for (variables, why, what_to_do) in [
        (
            &[("TRAINYARD_LISTEN_ADDRESS", "0.0.0.0:0")][..],
            "others can reach, and there is no certificate",
            "listen.certificate and listen.key",
        ),
        (
            &[LISTEN, ("TRAINYARD_LISTEN_CERTIFICATE", "/c.pem")],
            "listen.certificate is set, and listen.key is not",
            "set listen.key",
        ),
        (&[LISTEN, ("TRAINYARD_LISTEN_CONNECTIONS", "1000000")], "this process can have", "ulimit"),
        (&[("TRAINYARD_LISTEN_ADDRESS", "here")], "must be an address and a port", ""),
    ] {
        let mut command = workspace.command(&["agent", "run"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(said.contains(what_to_do), "{said}");
        assert!(!workspace.home().join("agent.db").exists(), "nothing was begun");
    }
}

#[test]
fn whoever_asks_has_to_be_no_page_of_somebody_elses_and_to_show_a_token() {
    let agent = Listening::start(&[("TRAINYARD_LOG", "trace")]);
    let uid = rustix::process::geteuid().as_raw();
    let [read, write] = ["read", "write"].map(|scope| agent.token(uid, scope, scope));
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let (good, ro, host) = (bearer(&write), bearer(&read), "host: localhost:1");
    let wrong = bearer(&format!("ty_{}", "A".repeat(43)));
    let own = format!("origin: http://{}", agent.address);
    let at = format!("host: {}", agent.address);
    let (json, form) =
        ("content-type: application/json", "content-type: application/x-www-form-urlencoded");
    let in_url = format!("/v1/status?token={write}");
    let run = format!("/v1/runs/{}/cancel", agent.held());

    let table: &[(&str, &str, &[&str], u16, &str)] = &[
        ("GET", "/v1/status", &[host, &good], 200, ""),
        ("GET", "/v1/status", &[&at, &own, &good], 200, ""),
        ("GET", "/v1/status", &["host: evil.com", &good], 421, "other_host"),
        ("GET", "/v1/status", &["host: evil.com"], 421, "other_host"),
        ("GET", "/v1/status", &[&good], 421, "other_host"),
        ("GET", "/v1/status", &[host, "origin: https://evil.com", &good], 403, "other_origin"),
        ("GET", "/v1/status", &[host, "origin: null", &good], 403, "other_origin"),
        ("POST", &run, &[host, form, &good], 415, "unsupported_media_type"),
        ("POST", &run, &[host, &good], 415, "unsupported_media_type"),
        ("POST", "/v1/transfers/pack", &[host, json, &good], 415, "unsupported_media_type"),
        ("GET", "/v1/status", &[host], 401, "no_token"),
        ("GET", "/healthz", &[host], 401, "no_token"),
        ("GET", "/v1/nothing", &[host], 401, "no_token"),
        ("GET", &in_url, &[host], 401, "no_token"),
        ("GET", "/v1/status", &[host, &wrong], 401, "unknown_token"),
        ("GET", "/v1/status", &[host, "authorization: Bearer x"], 401, "unknown_token"),
        ("GET", "/v1/status", &[host, "authorization: Basic eDp5"], 401, "unknown_token"),
        ("GET", "/v1/runs", &[host, &ro], 200, ""),
        ("POST", &run, &[host, json, &ro], 403, "read_only_token"),
        ("DELETE", "/v1/runs/@", &[host, &ro], 403, "read_only_token"),
        ("GET", "/v1/tokens", &[host, &good], 403, "only_at_socket"),
        ("POST", "/v1/tokens", &[host, json, &good], 403, "only_at_socket"),
        ("DELETE", "/v1/tokens/read", &[host, &good], 403, "only_at_socket"),
        ("POST", &run, &[host, json, &good], 200, ""),
    ];
    for (method, path, headers, status, expected) in table {
        let body = if *method == "POST" { "{}" } else { "" };
        let answer = agent.ask(method, path, headers, body);
        let found = if *status < 300 { (answer.status, String::new()) } else { code(&answer) };
        assert_eq!(found, (*status, (*expected).to_owned()), "{method} {path} {headers:?}");
        let asks_for_one = answer.head.contains("\nwww-authenticate: bearer");
        assert_eq!(asks_for_one, *status == 401, "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("ty_"), "{answer:?}");
    }
    let log = std::fs::read_to_string(agent.workspace.home().join("agent.log")).unwrap();
    assert!(log.contains("Listening on TCP.") && log.contains("TRACE"), "it says everything");
    assert!(!log.contains(&write[3..]) && !log.contains(&read[3..]), "and no token");
}

#[test]
fn a_token_expires_and_is_revoked_and_what_was_open_ends() {
    let agent = Listening::start(&[]);
    let uid = rustix::process::geteuid().as_raw();
    let short = agent.make(uid, &json!({"name": "short", "lifetimeSeconds": 2})).json();
    let (short, long) = (short["token"].as_str().unwrap(), agent.token(uid, "long", "write"));
    assert_eq!(agent.get(short, "/v1/runs").status, 200);
    let mut following = agent.follow(&long, &agent.held());

    wait_until("it has expired", || agent.get(short, "/v1/runs").status == 401);
    let expired = agent.get(short, "/v1/runs");
    assert_eq!(code(&expired), (401, "expired_token".to_owned()));
    let message = expired.json()["error"]["message"].to_string();
    assert!(message.contains("short") && message.contains("expired at"), "{message}");

    let revoked = agent.workspace.trainyard(&["token", "revoke", "long"]);
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(code(&agent.get(&long, "/v1/runs")), (401, "unknown_token".to_owned()));
    let mut rest = Vec::new();
    // It breaks, or ends as a stream that was cut off does.
    following.read_to_end(&mut rest).ok();
    assert!(!String::from_utf8_lossy(&rest).contains("event: end"));

    let refused = |request: Value| {
        let answer = agent.make(uid, &request);
        format!("{:?}", code(&answer))
    };
    let table = [
        refused(json!({"name": "short"})),
        refused(json!({"name": "a b"})),
        refused(json!({"name": "x", "lifetimeSeconds": 0})),
        refused(json!({"name": "x", "lifetimeSeconds": 400_000_000})),
        refused(json!({"name": "x", "scope": "root"})),
        refused(json!({"name": "x", "uid": 0})),
    ];
    insta::assert_snapshot!(table.join("\n"));
    let ever = agent.make(uid, &json!({"name": "ever", "lifetimeSeconds": null})).json();
    assert_eq!(ever["expiresTimeUtc"], Value::Null);
    let gone = agent.workspace.trainyard(&["token", "revoke", "nobody"]);
    let said = String::from_utf8(gone.stderr).unwrap();
    assert!(gone.status.code() == Some(2) && said.contains("trainyard token list"), "{said}");
}

#[test]
fn the_command_line_makes_lists_and_revokes_them() {
    let agent = Listening::start(&[]);
    let said = |arguments: &[&str]| {
        let output = agent.workspace.trainyard(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    let token = said(&["token", "create", "laptop", "--scope", "read", "--expires", "30d"]);
    let made: Value =
        serde_json::from_str(&said(&["token", "create", "ci", "--expires", "never", "--json"]))
            .unwrap();

    assert_eq!(agent.get(token.trim_end(), "/v1/runs").status, 200);
    let mut list = agent.workspace.command(&["list"]);
    list.env("TRAINYARD_SOCKET", format!("http://{}", agent.address));
    let output = list.env("TRAINYARD_TOKEN", token.trim_end()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((&made["schemaVersion"], &made["scope"]), (&1.into(), &"write".into()));
    assert_eq!(agent.get(made["token"].as_str().unwrap(), "/v1/runs").status, 200);
    wait_until("the use is noted", || {
        let listed: Value = serde_json::from_str(&said(&["token", "list", "--json"])).unwrap();
        let [laptop, ci] = &listed.as_array().unwrap()[..] else { panic!("{listed}") };
        assert_eq!((&laptop["name"], &laptop["scope"]), (&"laptop".into(), &"read".into()));
        assert!(laptop["expiresTimeUtc"].is_string() && ci["expiresTimeUtc"].is_null());
        assert!(!listed.to_string().contains("ty_"), "{listed}");
        laptop["lastUsedTimeUtc"].is_string() && ci["lastUsedTimeUtc"].is_string()
    });
    let rows = said(&["token", "list", "--all-users"]);
    assert!(rows.lines().count() == 2 && rows.contains("\tread\t"), "{rows}");
    said(&["token", "revoke", made["id"].as_str().unwrap()]);
    assert_eq!(said(&["token", "list"]).lines().count(), 1);
}

#[test]
fn a_token_acts_as_its_user_and_rules_only_while_they_do() {
    let admins = ("TRAINYARD_USERS_ADMIN_GROUP", "daemon");
    let Some(mut agent) = Listening::shared(&[admins]) else { return };
    let [anas, bens] = [ANA, BEN].map(|uid| agent.token(uid, "mine", "write"));
    let refused = agent.make(ANA, &json!({"name": "more", "scope": "admin"}));
    assert_eq!(code(&refused), (403, "not_administrator".to_owned()));
    let all = agent.make(DAEMON, &json!({"name": "rules", "scope": "admin"})).json();
    let rules = all["token"].as_str().unwrap();
    let works = agent.token(DAEMON, "works", "write");
    // Root's own run, as the source is in its store.
    let run = agent.held();
    let shown = format!("/v1/runs/{run}");

    for (token, uid, can_rule) in
        [(&*anas, ANA, false), (&bens, BEN, false), (rules, DAEMON, true), (&works, DAEMON, false)]
    {
        let usage = agent.get(token, "/v1/usage").json();
        assert_eq!((&usage["uid"], &usage["rules"]), (&uid.into(), &can_rule.into()));
        assert_eq!(agent.get(token, &shown).status, if can_rule { 200 } else { 404 });
        let drain = agent.with(token, "DELETE", "/v1/agent/drain", None);
        assert_eq!(drain.status, if can_rule { 200 } else { 403 }, "{drain:?}");
    }
    // What somebody else has is answered as what nobody has.
    let [theirs, nobodys] = [&*run, "nobody"].map(|name| {
        let answer = agent.get(&bens, &format!("/v1/runs/{name}"));
        (answer.status, String::from_utf8(answer.body).unwrap().replace(name, "X"))
    });
    assert_eq!(theirs, nobodys);
    let listed = as_user(BEN, || call(&agent.workspace.socket(), "GET", "/v1/tokens", &[], b""));
    assert_eq!(listed.json().as_array().unwrap().len(), 1, "{listed:?}");

    // Nobody is in the group any more that ruled.
    agent.workspace.kill();
    std::fs::remove_file(agent.workspace.socket()).unwrap();
    agent.workspace.start_shared(&[LISTEN, ("TRAINYARD_USERS_ADMIN_GROUP", "no-such-group")]);
    let agent = Listening::of(agent.workspace);
    assert_eq!(agent.get(rules, &shown).status, 404);
    assert_eq!(agent.get(rules, "/v1/usage").json()["rules"], false);

    // Whoever the socket lets in no more is not let in with a token either.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(agent.workspace.socket(), closed).unwrap();
    assert_eq!(code(&agent.get(&anas, "/v1/runs")), (401, "shut_out".to_owned()));
}

#[test]
fn five_hundred_who_say_nothing_keep_nobody_out() {
    let agent = Listening::start(&[]);
    let token = agent.token(rustix::process::geteuid().as_raw(), "mine", "write");
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..500)
        .map(|_| {
            let mut stream = agent.connect();
            stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: loc").unwrap();
            stream
        })
        .collect();

    assert_eq!(agent.workspace.get("/v1/status").status, 200);
    assert_eq!(agent.get(&token, "/v1/status").status, 200);

    let last = slow.last_mut().unwrap();
    last.set_nonblocking(true).unwrap();
    let still = last.read(&mut [0]).map_err(|error| error.kind());
    // On a machine that took so long over it they have gone by themselves.
    let in_time = begun.elapsed() < Duration::from_secs(9);
    assert!(!in_time || still == Err(ErrorKind::WouldBlock), "the last still waits: {still:?}");
    last.set_nonblocking(false).unwrap();
    for mut stream in slow {
        // All are gone in the end; what was not read of theirs may break the connection.
        stream.read_to_end(&mut Vec::new()).ok();
    }
    assert_eq!(agent.get(&token, "/v1/status").status, 200);
}

#[test]
fn who_has_a_place_keeps_it_and_the_socket_has_places_of_its_own() {
    let agent = Listening::start(&[("TRAINYARD_LISTEN_CONNECTIONS", "2")]);
    let token = agent.token(rustix::process::geteuid().as_raw(), "mine", "write");
    let run = agent.held();
    let following = [(); 2].map(|()| agent.follow(&token, &run));

    let mut third = agent.connect();
    let mut said = Vec::new();
    third.read_to_end(&mut said).ok();

    assert!(said.is_empty());
    assert_eq!(agent.workspace.get("/v1/status").status, 200);
    drop(following);
    wait_until("a place is free", || {
        let mut stream = agent.connect();
        let head = format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        );
        let mut answer = Vec::new();
        stream.write_all(head.as_bytes()).ok();
        stream.read_to_end(&mut answer).ok();
        answer.starts_with(b"HTTP/1.1 200")
    });
}

#[test]
fn a_body_that_stops_is_given_up_and_a_follower_who_waits_is_not() {
    let agent = Listening::start(&[]);
    let token = agent.token(rustix::process::geteuid().as_raw(), "mine", "write");
    let mut following = agent.follow(&token, &agent.held());
    let mut stopped = agent.connect();
    let head = format!(
        "POST /v1/runs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{"
    );
    stopped.write_all(head.as_bytes()).unwrap();

    // What keeps the line alive comes later than all who have shown no token would have to go.
    let mut told = Vec::new();
    while !told.ends_with(b":\n\n\r\n") {
        let mut byte = [0];
        following.read_exact(&mut byte).unwrap();
        told.push(byte[0]);
    }
    let mut answer = String::new();
    stopped.read_to_string(&mut answer).unwrap();

    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
}

#[test]
fn a_hundred_follow_over_tcp_and_the_socket_has_room_for_more() {
    let agent = Listening::start(&[]);
    let token = agent.token(rustix::process::geteuid().as_raw(), "mine", "read");
    let run = agent.held();
    let following: Vec<_> = (0..100).map(|_| agent.follow(&token, &run)).collect();

    let more = agent.get(&token, &format!("/v1/runs/{run}/follow"));

    assert_eq!(code(&more), (503, "not_ready".to_owned()));
    let cancelled = agent.workspace.post(&format!("/v1/runs/{run}/cancel"), &json!({"now": false}));
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let events = agent.workspace.follow(&run);
    assert!(events.iter().any(|(name, _)| name == "end"));
    drop(following);
    // A place is free as soon as the agent has seen that its follower went.
    wait_until("there is room again", || {
        agent.get(&token, &format!("/v1/runs/{run}/follow")).status == 200
    });
}

#[test]
fn a_follower_who_takes_nothing_is_dropped_and_costs_no_memory() {
    // More than all that lies between two ends of a connection, and twice what it may cost.
    const MEBIBYTES: u64 = 64;
    let agent = Listening::start(&[]);
    let token = agent.token(rustix::process::geteuid().as_raw(), "mine", "read");
    let line = format!("head -c {} /dev/zero", MEBIBYTES << 20);
    let run = agent.workspace.submit(&agent.workspace.submission(&line));
    agent.workspace.wait(&run, |run| run["status"] == "Completed");
    let pid = agent.workspace.get("/v1/status").json()["pid"].to_string();
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let (before, sockets) = (peak(), agent.sockets());

    let following = [(); 5].map(|()| agent.follow(&token, &run));

    wait_until("they are connected", || agent.sockets() >= sockets + 5);
    wait_until("they are dropped", || agent.sockets() <= sockets);
    let grown = peak() - before;
    assert!(grown < 32 << 10, "the agent took {grown} KiB more");
    for mut stream in following {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
        assert!((rest.len() as u64) < MEBIBYTES << 20, "it was sent all: {}", rest.len());
    }
}
