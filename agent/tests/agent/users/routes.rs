//! Every route of the API, asked for what another user has: the answer is, byte for byte, the one
//! for what does not exist. A route that is not in the table fails the test.

use super::*;

/// What another user has, or something like it that nobody has.
struct Named {
    /// Names of a run: by its id, its name, the beginning of its id.
    runs: [String; 3],
    target: String,
    record: SnapshotRecord,
}

/// What a route can be asked for that somebody else has.
enum Asks {
    /// The run in its path, with this body.
    Run(Option<Value>),
    /// The target in its path, with this body.
    Target(Option<Value>),
    /// What its body names, in each of these.
    Body(fn(&Named) -> Vec<Value>),
    /// Nothing; and these words of others are not in the answer.
    List,
    /// Nothing, for this reason.
    Nothing(#[expect(dead_code, reason = "it is for the reader")] &'static str),
}

fn asks_for(operation: &str) -> Asks {
    match operation {
        "showRun" | "removeRun" | "runLogs" | "followRun" | "runFile" | "runEvents" => {
            Asks::Run(None)
        }
        "cancelRun" => Asks::Run(Some(json!({}))),
        "collectOutputs" => Asks::Run(None),
        "changeWaiting" => Asks::Run(Some(json!({"priority": 3}))),
        "submitRun" => Asks::Body(|named| {
            let of_source = submission(&named.record.id, "true");
            let mut after = submission(&Digest::of(b""), "true");
            after["after"] = json!([{"run": named.runs[0]}]);
            let mut to_target = submission(&Digest::of(b""), "true");
            to_target["target"] = json!(named.target);
            vec![of_source, after, to_target]
        }),
        "missingObjects" => Asks::Body(|named| vec![json!({"digests": [named.record.id]})]),
        "finishTransfer" => Asks::Body(|named| vec![json!({"record": named.record})]),
        "showTarget" | "detachTarget" => Asks::Target(None),
        "checkTarget" => Asks::Target(Some(json!({}))),
        "cleanTarget" => {
            Asks::Target(Some(json!({"runsOlderSeconds": 1, "maxBytes": null, "dryRun": true})))
        }
        "sendSnapshot" => Asks::Target(Some(json!({"snapshotId": Digest::of(b"")}))),
        "listTokens" | "listRuns" | "listTargets" | "listEnvironments" | "status" | "usage"
        | "statistics" | "metrics" | "collectGarbage" => Asks::List,
        "attachTarget" => Asks::Nothing("a name that is taken is said to be; see targets/tests.rs"),
        "receivePack" => Asks::Nothing("what is sent goes to one's own store, whatever it is"),
        "showEnvironment" | "removeEnvironment" | "environmentLog" => {
            Asks::Nothing("environments are everybody's")
        }
        "createToken" => Asks::Nothing("it is one's own; see store/tokens.rs"),
        "revokeToken" => Asks::Nothing("see listening.rs"),
        "stop" | "drain" | "undoDrain" => Asks::Nothing("who does not rule is refused"),
        "alive" | "ready" | "openapi" => Asks::Nothing("they say the same to all"),
        new => panic!("say in this table what can be asked of {new}"),
    }
}

/// A machine as it is kept that `ANA` has attached.
fn attach_anas_machine(workspace: &Workspace) {
    let kept = json!({
        "version": 1, "name": "ana-vm", "host": "127.0.0.1", "port": 1, "user": "ana",
        "hostKey": {"algorithm": "ssh-ed25519", "key": "AAAA"}, "jumps": [], "machine": "m",
        "allowUnsupported": false, "attachedTimeUtc": "2026-11-21T12:00:00Z", "owner": ANA,
    });
    let targets = workspace.home().join("targets");
    std::fs::create_dir_all(&targets).unwrap();
    std::fs::write(targets.join("ana-vm.json"), kept.to_string()).unwrap();
}

/// An answer without the time it was given at, and with `name` in it left out.
fn plain(answer: &Answer, name: &str) -> (String, String) {
    let head = answer.head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>();
    let body = String::from_utf8_lossy(&answer.body).replace(name, "<name>");
    (head.join("\n"), body)
}

/// Every operation that the API says it has; what removes things comes last.
fn operations(workspace: &Workspace) -> Vec<Operation<'_>> {
    let document = get(workspace, 0, "/openapi.json").json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let path = path.replace("{path}", "outputs/x");
            operations.push(Operation { workspace, id, method: method.to_uppercase(), path });
        }
    }
    operations.sort_by_key(|it| (it.id == "removeRun", it.id == "cancelRun"));
    operations
}

/// One operation, to be asked for what ana has and for what nobody has.
struct Operation<'a> {
    workspace: &'a Workspace,
    id: String,
    method: String,
    path: String,
}

impl Operation<'_> {
    /// Asks as ben for `theirs` and for `nobodys`, each a name, a path and a body, and returns the
    /// status, which is the same, as all else is.
    fn same(
        &self,
        theirs: (&str, String, Option<&Value>),
        nobodys: (&str, String, Option<&Value>),
    ) -> u16 {
        assert_eq!(theirs.0.len(), nobodys.0.len(), "a length would tell them apart");
        let [theirs_told, nobodys_told] = [&theirs, &nobodys].map(|(name, path, body)| {
            let answer = asks(self.workspace, BEN, &self.method, path, *body);
            (answer.status, plain(&answer, name))
        });
        assert_eq!(theirs_told, nobodys_told, "{}: {:?}", self.id, theirs.0);
        theirs_told.0
    }

    /// Asks for `theirs` and `nobodys` in the path.
    fn in_path(&self, place: &str, theirs: &str, nobodys: &str, body: Option<&Value>) {
        let path = |name: &str| self.path.replace(place, name);
        let status = self.same((theirs, path(theirs), body), (nobodys, path(nobodys), body));
        assert_eq!(status, 404, "{}", self.id);
    }

    fn in_body(&self, theirs: &Value, nobodys: &Value) {
        let (one, other) = first_difference(theirs, nobodys);
        let path = || self.path.clone();
        self.same((&one, path(), Some(theirs)), (&other, path(), Some(nobodys)));
    }

    /// Checks that the owner of `run` is answered: a refusal for all would prove nothing.
    fn answers_owner(&self, run: &str, body: Option<&Value>) {
        // To follow a run that waits is to wait with it.
        if self.id != "followRun" {
            let answer =
                asks(self.workspace, ANA, &self.method, &self.path.replace("{ref}", run), body);
            let is_there =
                answer.status < 300 || answer.json()["error"]["code"] == "file_not_found";
            assert!(is_there, "{} for its owner: {answer:?}", self.id);
        }
    }

    fn tells_nothing_of(&self, foreign: &Named) {
        let body = (self.method == "POST").then(|| json!({}));
        let answer = asks(self.workspace, BEN, &self.method, &self.path, body.as_ref());
        assert!(answer.status < 300, "{}: {answer:?}", self.id);
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        let id = foreign.record.id.to_string();
        for word in foreign.runs.iter().chain([&foreign.target, &id]) {
            assert!(!said.contains(word.as_str()), "{} tells of {word}: {said}", self.id);
        }
    }
}

/// What ana has, and what nobody has.
fn made(workspace: &Workspace, directory: &Path) -> (Named, Named) {
    let record = sent(workspace, ANA, directory);
    let mut handed_in = submission(&record.id, "true");
    handed_in["displayName"] = json!("anas-first-one");
    handed_in["held"] = json!(true);
    let run = submit(workspace, ANA, &handed_in);
    let beginning = |run: &str| run[..run.len() - 3].to_owned();
    let other = format!("{}00000000", &run[..run.len() - 8]);
    let nobodys_id = Digest::of(b"nobody has this");
    let absent = Named {
        runs: [other.clone(), "nobodys-own-on".to_owned(), beginning(&other)],
        target: "not-vm".to_owned(),
        record: SnapshotRecord { id: nobodys_id, ..record.clone() },
    };
    let runs = [run.clone(), "anas-first-one".to_owned(), beginning(&run)];
    (Named { runs, target: "ana-vm".to_owned(), record }, absent)
}

#[test]
fn what_another_user_has_is_answered_as_what_does_not_exist() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut workspace = Workspace::new(&[]);
    attach_anas_machine(&workspace);
    workspace.start_shared(&[]);
    let own = tempfile::tempdir().unwrap();
    let (foreign, absent) = made(&workspace, own.path());

    let mut compared = 0;
    for operation in operations(&workspace) {
        match asks_for(&operation.id) {
            Asks::Run(body) => {
                for (theirs, nobodys) in foreign.runs.iter().zip(&absent.runs) {
                    operation.in_path("{ref}", theirs, nobodys, body.as_ref());
                    compared += 1;
                }
                operation.answers_owner(&foreign.runs[0], body.as_ref());
            }
            Asks::Target(body) => {
                operation.in_path("{name}", &foreign.target, &absent.target, body.as_ref());
                compared += 1;
            }
            Asks::Body(bodies) => {
                for (theirs, nobodys) in bodies(&foreign).iter().zip(&bodies(&absent)) {
                    operation.in_body(theirs, nobodys);
                    compared += 1;
                }
            }
            Asks::List => operation.tells_nothing_of(&foreign),
            Asks::Nothing(_) => {}
        }
    }
    // Nine routes name a run, five a target, and three name things in their bodies.
    assert_eq!(compared, 9 * 3 + 5 + 5);
}

/// Returns the texts at which two documents of one shape differ.
fn first_difference(one: &Value, other: &Value) -> (String, String) {
    match (one, other) {
        (Value::String(one), Value::String(other)) => (one.clone(), other.clone()),
        (Value::Object(map), Value::Object(others)) => {
            let key = map.keys().find(|key| map[*key] != others[*key]).unwrap();
            first_difference(&map[key], &others[key])
        }
        (Value::Array(items), Value::Array(others)) => {
            let (one, other) = items.iter().zip(others).find(|(a, b)| a != b).unwrap();
            first_difference(one, other)
        }
        _ => panic!("{one} and {other} differ otherwise"),
    }
}
