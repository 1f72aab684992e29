//! Runs that are tried again, in the records.

use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::run_configuration::RetryPolicy;

use super::*;
use crate::store::NextAttempt;

/// A run with one retry, whose script is over.
async fn over(fixture: &Fixture) -> RunId {
    let mut run = new_run("exp", 1);
    run.request.retry = Some(RetryPolicy::new(1, Default::default(), None));
    let id = run.id.clone();
    fixture.store.submit(run).await.unwrap();
    fixture.begin(&id).await;
    let metric = MetricRow {
        name: "loss".to_owned(),
        step: None,
        value: Some(1.0),
        reported: Timestamp::UNIX_EPOCH,
    };
    fixture.store.add_metrics(&id, "file", (0, 10), vec![metric]).await.unwrap();
    fixture.apply(&id, RunEvent::ScriptEnded, Facts::default()).await;
    id
}

fn tried_again() -> Change {
    let exit = ExitRecord::new(ExitReason::LostContact, "gone", Timestamp::now());
    let next = NextAttempt {
        after: ExitReason::LostContact,
        not_before: Timestamp::from_second(1_900_000_000).unwrap(),
    };
    let outputs =
        vec![OutputFile { path: "outputs/a".into(), size: 3, sha256: Digest::of(b"abc") }];
    let facts = Facts { exit: Some(exit), next: Some(next), outputs, ..Facts::default() };
    Change::now(RunEvent::TriedAgain).with(facts)
}

#[tokio::test]
async fn an_attempt_ends_and_the_run_waits_for_the_next_at_once() {
    let fixture = Fixture::new();
    let run = over(&fixture).await;

    let status = fixture.store.apply(&run, tried_again()).await.unwrap();

    assert_eq!(status, RunStatus::Queued);
    let row = fixture.store.row(&run).await.unwrap();
    assert_eq!(
        (row.attempt, row.boot_id, row.tried_after.as_deref()),
        (2, None, Some("lost_contact"))
    );
    assert_eq!(row.not_before.unwrap().as_second(), 1_900_000_000);
    let document = fixture.store.document(&run).await.unwrap();
    assert_eq!((document.summary.exit, document.summary.start_time_utc), (None, None));
    assert!(document.metrics.is_empty() && document.output_files.is_empty());
    assert_eq!(fixture.store.metrics_offset(&run, "file").await.unwrap(), 0);
    let [first] = &document.attempts[..] else { panic!("{:?}", document.attempts) };
    assert_eq!(first.exit.as_ref().unwrap().reason, "lost_contact");
    assert_eq!(first.output_files[0].path, "outputs/a");

    // A start that is taken back is followed by one of the same attempt.
    fixture.begin(&run).await;
    fixture.completed_from_running(&run).await;
    let document = fixture.store.document(&run).await.unwrap();
    let numbers: Vec<_> = document.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(document.output_files[0].path, "outputs/model.pkl");
    assert!(document.attempts[1].output_files.is_empty());
}

#[tokio::test]
async fn a_run_that_was_asked_to_end_is_not_tried_again() {
    let fixture = Fixture::new();
    let run = over(&fixture).await;
    let by = CancelledBy { uid: 7, user: None };
    let cancel = Some(CancelRequest::new(by, Timestamp::now(), false));
    let exit = Some(ExitRecord::new(ExitReason::Cancelled, "", Timestamp::now()));
    let asked = Facts { cancel, exit, ..Facts::default() };
    assert_eq!(fixture.apply(&run, RunEvent::CancelAsked, asked).await, RunStatus::Finalizing);
    let before = fixture.store.document(&run).await.unwrap();
    assert_eq!(before.summary.exit, None, "it has not ended");

    let denied = fixture.store.apply(&run, tried_again()).await.unwrap_err();

    assert!(matches!(denied, StoreError::Denied(_)), "{denied:?}");
    assert_eq!(fixture.store.document(&run).await.unwrap(), before);
}
