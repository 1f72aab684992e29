//! The records through their domain calls, on a real file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use images::environment::Environment;
use jiff::Timestamp;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::outputs::OutputFile;
use runner::run_id::RunId;
use snapshots::digest::Digest;

use super::*;
use crate::api::wire::submission::SubmitRequest;
use crate::objects::StoreOf;
use crate::peer::{Peer, Scope};
use crate::run::status::{Ending, RunEvent, RunStatus};

mod again;
mod users;

/// A request as a command line would make it.
pub(crate) fn request(snapshot: Digest) -> SubmitRequest {
    SubmitRequest {
        experiment: "exp".to_owned(),
        display_name: None,
        script: Some("train.py".to_owned()),
        command: None,
        arguments: vec!["--alpha".to_owned(), "0.5".to_owned()],
        target: "local".to_owned(),
        container: None,
        resources: Default::default(),
        network: Default::default(),
        sandbox: None,
        mounts: Vec::new(),
        fresh_environment: false,
        registry_password: None,
        environment: Environment::UserManaged { interpreter: "/usr/bin/python3".into() },
        environment_name: "python3".to_owned(),
        environment_variables: Default::default(),
        secrets: Default::default(),
        tags: BTreeMap::from([("kind".to_owned(), "nightly".to_owned())]),
        properties: BTreeMap::from([("azureml.git.branch".to_owned(), "main".to_owned())]),
        timeout_seconds: None,
        grace_seconds: None,
        snapshot_id: snapshot,
        source_directory: "/src".to_owned(),
        git_patch: None,
        warnings: vec!["train.py looks like a secret".to_owned()],
        rerun_of: None,
        priority: 0,
        held: false,
        retry: None,
        after: Vec::new(),
    }
}

/// Who handed them in, and sees everybody's.
const RULER: Peer = Peer { uid: 1000, rules: true };

/// All runs.
fn everything() -> ListFilter {
    ListFilter {
        scope: Scope::All,
        limit: None,
        experiment: None,
        status: None,
        tag: None,
        key: None,
    }
}

/// A run that was just handed in.
pub(crate) fn new_run(experiment: &str, number: u32) -> NewRun {
    let mut request = request(Digest::of(b"source"));
    request.experiment = experiment.to_owned();
    NewRun {
        store: StoreOf::Agent,
        max_runs: None,
        id: RunId::generate(experiment, 1_700_000_000, number),
        uid: 1000,
        display_name: format!("{experiment}-{number}"),
        command_line: "train.py --alpha 0.5".to_owned(),
        request,
        created: Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap(),
        idempotency: None,
    }
}

struct Fixture {
    store: Store,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("agent.db")).unwrap();
        Self { store, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("agent.db")
    }

    async fn submitted(&self, experiment: &str, number: u32) -> RunId {
        let run = new_run(experiment, number);
        let id = run.id.clone();
        assert!(matches!(self.store.submit(run).await.unwrap(), Accepted::New(_)));
        id
    }

    async fn apply(&self, run: &RunId, event: RunEvent, facts: Facts) -> RunStatus {
        self.store.apply(run, Change::now(event).with(facts)).await.unwrap()
    }

    /// Takes a run through its life.
    async fn completed(&self, run: &RunId) {
        self.begin(run).await;
        self.completed_from_running(run).await;
    }

    /// Takes a run to where its script is on.
    async fn begin(&self, run: &RunId) {
        let attempt = NewAttempt { reason: "submitted".to_owned(), boot_id: "boot".to_owned() };
        let attempt = Facts { attempt: Some(attempt), ..Facts::default() };
        self.apply(run, RunEvent::PlaceGiven, attempt).await;
        self.apply(run, RunEvent::LaunchIntended, Facts::default()).await;
        let started = Some(Timestamp::from_second(1_700_000_100).unwrap());
        self.apply(run, RunEvent::ScriptStarted, Facts { started, ..Facts::default() }).await;
    }

    async fn completed_from_running(&self, run: &RunId) {
        self.apply(run, RunEvent::ScriptEnded, Facts::default()).await;
        let mut exit = ExitRecord::new(ExitReason::Completed, "the script ended", Timestamp::now());
        exit.code = Some(0);
        let outputs = vec![OutputFile {
            path: "outputs/model.pkl".into(),
            size: 3,
            sha256: Digest::of(b"abc"),
        }];
        let facts = Facts { exit: Some(exit), outputs, ..Facts::default() };
        let status = self.apply(run, RunEvent::Collected(Ending::Well), facts).await;
        assert_eq!(status, RunStatus::Completed);
    }
}

#[tokio::test]
async fn a_run_is_kept_with_all_that_is_known_of_it() {
    let fixture = Fixture::new();
    let run = fixture.submitted("exp", 1).await;
    let metric = |step, value| MetricRow {
        name: "loss".to_owned(),
        step: Some(step),
        value,
        reported: Timestamp::from_second(1_700_000_200).unwrap(),
    };
    let metrics = vec![metric(1, Some(0.5)), metric(2, None)];
    fixture.store.add_metrics(&run, "stdout", (0, 100), metrics).await.unwrap();
    fixture.completed(&run).await;
    fixture.store.set_packages(&run, vec!["numpy==2.0".to_owned()]).await.unwrap();

    let mut document = fixture.store.document(&run).await.unwrap();

    let now = document.summary.end_time_utc.take().unwrap();
    assert!(now > document.summary.start_time_utc.unwrap());
    for attempt in &mut document.attempts {
        attempt.start_time_utc = Timestamp::UNIX_EPOCH;
        attempt.end_time_utc = attempt.end_time_utc.map(|_| Timestamp::UNIX_EPOCH);
    }
    insta::assert_snapshot!("run", serde_json::to_string_pretty(&document).unwrap());
}

#[tokio::test]
async fn what_cannot_happen_to_a_run_changes_nothing() {
    let fixture = Fixture::new();
    let run = fixture.submitted("exp", 1).await;
    fixture.completed(&run).await;
    let before = fixture.store.document(&run).await.unwrap();

    let facts = Facts { warnings: vec!["late".to_owned()], ..Facts::default() };
    let denied = fixture
        .store
        .apply(&run, Change::now(RunEvent::CancelAsked).with(facts))
        .await
        .unwrap_err();

    assert_eq!(denied.to_string(), "the run has already ended as Completed");
    assert_eq!(fixture.store.document(&run).await.unwrap(), before);
}

#[tokio::test]
async fn lists_are_filtered_and_the_latest_comes_first() {
    let fixture = Fixture::new();
    for (experiment, number) in [("a", 1), ("b", 2), ("a", 3)] {
        fixture.submitted(experiment, number).await;
    }
    let listed = |filter| {
        let store = &fixture.store;
        async move {
            let runs = store.list(filter).await.unwrap();
            runs.into_iter().map(|run| run.display_name).collect::<Vec<_>>()
        }
    };
    let tag = |key: &str, value: Option<&str>| {
        let tag = Some((key.to_owned(), value.map(str::to_owned)));
        ListFilter { tag, ..everything() }
    };

    assert_eq!(listed(everything()).await, ["a-3", "b-2", "a-1"]);
    let two = ListFilter { limit: Some(2), ..everything() };
    assert_eq!(listed(two).await, ["a-3", "b-2"]);
    let of_a = ListFilter { experiment: Some("a".to_owned()), ..everything() };
    assert_eq!(listed(of_a).await, ["a-3", "a-1"]);
    let running = ListFilter { status: Some(RunStatus::Running), ..everything() };
    assert!(listed(running).await.is_empty());
    assert_eq!(listed(tag("kind", Some("nightly"))).await.len(), 3);
    assert_eq!(listed(tag("kind", None)).await.len(), 3);
    assert!(listed(tag("kind", Some("weekly"))).await.is_empty());
}

#[tokio::test]
async fn a_run_is_found_by_whatever_names_it() {
    let fixture = Fixture::new();
    let first = fixture.submitted("exp", 0xab).await;
    let second = fixture.submitted("exp", 0xac).await;
    let other = fixture.submitted("other_100%", 0xad).await;
    let store = &fixture.store;
    let found = |reference: &'static str| async move { store.resolve(reference, RULER).await };

    assert_eq!(found("@").await.unwrap(), other);
    assert_eq!(found("exp-172").await.unwrap(), second);
    assert_eq!(found("exp_1700000000_000000ab").await.unwrap(), first);
    assert_eq!(found("oth").await.unwrap(), other);
    let StoreError::Ambiguous { candidates, .. } = found("exp_17").await.unwrap_err() else {
        panic!("an ambiguous reference is refused")
    };
    assert_eq!(candidates, [second.to_string(), first.to_string()]);
    for nothing in ["", "nobody", "%", "exp_", "_"] {
        let found = found(nothing).await;
        let is_ambiguous = nothing == "exp_" && matches!(found, Err(StoreError::Ambiguous { .. }));
        let is_nobody = matches!(found, Err(StoreError::NoSuchRun { .. }));
        assert!(is_nobody || is_ambiguous, "{nothing:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_key_stands_for_one_submission() {
    let fixture = Fixture::new();
    let keyed = |number, uid, asked: &[u8]| NewRun {
        idempotency: Some(("key".to_owned(), Digest::of(asked))),
        uid,
        ..new_run("exp", number)
    };
    let first = keyed(1, 1000, b"a");
    let id = first.id.clone();
    assert!(matches!(fixture.store.submit(first).await.unwrap(), Accepted::New(_)));

    let again = fixture.store.submit(keyed(2, 1000, b"a")).await.unwrap();
    let changed = fixture.store.submit(keyed(3, 1000, b"b")).await.unwrap_err();
    let others = fixture.store.submit(keyed(4, 1001, b"b")).await.unwrap();

    assert_eq!(again, Accepted::Before { id: id.clone(), display_name: "exp-1".to_owned() });
    assert!(matches!(changed, StoreError::KeyReused { .. }), "{changed:?}");
    let before = async |uid, asked: &[u8]| {
        let idempotency = Some(("key".to_owned(), Digest::of(asked)));
        fixture.store.accepted_before(uid, &idempotency).await
    };
    assert_eq!(before(1000, b"a").await.unwrap(), Some((id.clone(), "exp-1".to_owned())));
    assert!(matches!(before(1000, b"b").await, Err(StoreError::KeyReused { .. })));
    assert_eq!(before(1002, b"a").await.unwrap(), None);
    let under = |uid, key: &str| {
        fixture.store.list(ListFilter { key: Some((uid, key.to_owned())), ..everything() })
    };
    assert_eq!(under(1000, "key").await.unwrap()[0].run_id, id.to_string());
    assert!(under(1000, "other").await.unwrap().is_empty());
    assert!(under(1002, "key").await.unwrap().is_empty());
    assert!(matches!(others, Accepted::New(_)));
    assert_eq!(fixture.store.list(everything()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_runs_that_are_over_take_is_counted_once_and_goes_with_them() {
    let fixture = Fixture::new();
    fixture.submitted("exp", 1).await;
    let [second, third] = [fixture.submitted("exp", 2).await, fixture.submitted("exp", 3).await];
    for run in [&second, &third] {
        fixture.completed(run).await;
    }
    let store = &fixture.store;
    assert_eq!(store.not_counted().await.unwrap(), [second.clone(), third.clone()]);
    assert_eq!(store.size_of_runs().await.unwrap(), RunSize::default());

    let size = |bytes, log_bytes| RunSize { bytes, log_bytes };
    let sizes = vec![(second.clone(), size(100, 10)), (third.clone(), size(50, 0))];
    store.set_sizes(sizes).await.unwrap();

    assert_eq!(store.not_counted().await.unwrap(), []);
    assert_eq!(store.size_of_runs().await.unwrap(), size(150, 10));
    let old = store.ended_before(Timestamp::MAX, Scope::All).await.unwrap();
    assert_eq!(old, [(second.clone(), 100), (third, 50)]);
    store.remove(&second).await.unwrap();
    store.set_sizes(vec![(second, size(100, 10))]).await.unwrap();
    assert_eq!(store.size_of_runs().await.unwrap(), size(50, 0));
}

#[tokio::test]
async fn metrics_count_once_however_often_they_are_reported() {
    let fixture = Fixture::new();
    let run = fixture.submitted("exp", 1).await;
    let metric = MetricRow {
        name: "loss".to_owned(),
        step: None,
        value: Some(1.0),
        reported: Timestamp::UNIX_EPOCH,
    };
    let add = |from, to| fixture.store.add_metrics(&run, "file", (from, to), vec![metric.clone()]);

    assert_eq!(add(0, 10).await.unwrap(), 1);
    assert_eq!(add(0, 10).await.unwrap(), 0);
    assert_eq!(add(5, 20).await.unwrap(), 0);
    assert_eq!(add(10, 20).await.unwrap(), 1);

    assert_eq!(fixture.store.metrics_offset(&run, "file").await.unwrap(), 20);
    assert_eq!(fixture.store.metrics_offset(&run, "stdout").await.unwrap(), 0);
    assert_eq!(fixture.store.document(&run).await.unwrap().metrics["loss"].len(), 2);
}

#[tokio::test]
async fn only_ended_runs_are_forgotten_and_with_all_that_is_theirs() {
    let fixture = Fixture::new();
    let run = fixture.submitted("exp", 1).await;
    let refused = fixture.store.remove(&run).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotEnded { .. }), "{refused:?}");
    fixture.completed(&run).await;
    let (past, future) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    assert!(fixture.store.ended_before(past, Scope::All).await.unwrap().is_empty());
    assert_eq!(fixture.store.ended_before(future, Scope::All).await.unwrap(), [(run.clone(), 0)]);
    assert_eq!(fixture.store.snapshots_in_use(StoreOf::Agent, Vec::new()).await.unwrap().len(), 1);

    fixture.store.remove(&run).await.unwrap();

    let gone = fixture.store.remove(&run).await.unwrap_err();
    assert!(matches!(gone, StoreError::NoSuchRun { .. }), "{gone:?}");
    assert!(fixture.store.snapshots_in_use(StoreOf::Agent, Vec::new()).await.unwrap().is_empty());
    let connection = rusqlite::Connection::open(fixture.path()).unwrap();
    for table in ["attempts", "tags", "properties", "warnings", "outputs", "metrics"] {
        let sql = format!("select count(*) from {table}");
        let left: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[tokio::test]
async fn what_images_are_built_from_is_in_use_as_long_as_the_run_is_there() {
    let fixture = Fixture::new();
    let context = Digest::of(b"context");
    let mut run = new_run("exp", 1);
    let id = run.id.clone();
    run.request.environment = serde_json::from_value(serde_json::json!({
        "kind": "docker",
        "docker": { "base": {
            "from": "dockerfile", "name": "Dockerfile", "text": "FROM a", "context": context,
        } },
    }))
    .unwrap();
    fixture.store.submit(run).await.unwrap();
    fixture.submitted("exp", 2).await;

    let used = fixture.store.snapshots_in_use(StoreOf::Agent, Vec::new()).await.unwrap();
    let source = Digest::of(b"source").to_string();
    assert_eq!(used, [source.clone(), context.to_string()].into());
    assert_eq!(
        fixture.store.snapshots_in_use(StoreOf::Agent, vec![id]).await.unwrap(),
        [source].into()
    );
}

#[tokio::test]
async fn runs_that_are_not_over_come_back_in_their_order() {
    let fixture = Fixture::new();
    let mut runs = Vec::new();
    for number in 1..4 {
        runs.push(fixture.submitted("exp", number).await);
    }
    fixture.completed(&runs[1]).await;
    drop(fixture.store);

    let store = Store::open(&fixture.directory.path().join("agent.db")).unwrap();

    let unfinished: Vec<_> =
        store.unfinished().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(unfinished, [runs[0].clone(), runs[2].clone()]);
    assert_eq!(store.row(&runs[0]).await.unwrap().request, request(Digest::of(b"source")));
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    drop(Store::open(&path).unwrap());
    let set = |pragma: &str, value: i64| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, pragma, value).unwrap();
    };
    let refused = || {
        let before = std::fs::read(&path).unwrap();
        let refused = Store::open(&path).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before, "{refused}");
        refused
    };

    set("user_version", 1000);
    assert!(matches!(refused(), StoreError::Newer { found: 1000, .. }));
    set("user_version", 1);
    set("application_id", 7);
    assert!(matches!(refused(), StoreError::Foreign { .. }));
    std::fs::write(&path, "not a database, but long enough to be looked at".repeat(100)).unwrap();
    assert!(matches!(refused(), StoreError::Foreign { .. }));
}

#[test]
fn a_damaged_database_is_named_and_not_used() {
    use std::os::unix::fs::FileExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.db");
    drop(Store::open(&path).unwrap());
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // Past the first page, which holds the header.
    for page in 1..file.metadata().unwrap().len() / 4096 {
        file.write_all_at(&[0xff; 64], page * 4096).unwrap();
    }

    let refused = Store::open(&path).unwrap_err();

    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    assert!(refused.hint().unwrap().contains("recover"));
}

/// Every version that was ever released has its file here; it is never written again. To add one:
/// set `TRAINYARD_WRITE_DATABASE`, run this test, and add the file.
#[tokio::test]
async fn databases_of_every_version_are_opened() {
    let databases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/databases");
    if std::env::var_os("TRAINYARD_WRITE_DATABASE").is_some() {
        let fixture = Fixture::new();
        for number in 1..4 {
            let run = fixture.submitted("exp", number).await;
            if number == 1 {
                fixture.completed(&run).await;
            }
        }
        drop(fixture.store);
        std::fs::copy(fixture.directory.path().join("agent.db"), databases.join("v1.db")).unwrap();
    }
    let versions = std::fs::read_dir(databases).unwrap().map(|entry| entry.unwrap().path());
    let mut opened = 0;
    for version in versions {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.db");
        std::fs::copy(&version, &path).unwrap();

        let store = Store::open(&path).unwrap();

        let runs = store.list(everything()).await.unwrap();
        let statuses: Vec<_> = runs.iter().map(|run| run.status.name()).collect();
        assert_eq!(statuses, ["Queued", "Queued", "Completed"], "{version:?}");
        let first = store.resolve("exp-1", RULER).await.unwrap();
        assert_eq!(store.document(&first).await.unwrap().output_files.len(), 1);
        assert_eq!(store.unfinished().await.unwrap().len(), 2);
        opened += 1;
    }
    assert!(opened >= 1);
}
