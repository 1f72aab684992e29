//! Runs whose attempts end: they wait for the next, which finds an empty directory.

use runner::run_configuration::RetryPolicy;

use super::rebooted::Rebooted;
use super::*;
use crate::run::status::RunEvent as E;
use crate::run::workplace;
use crate::store::NextAttempt;

/// Accepts a run with one retry, and records what happened to it.
async fn accepted(agent: &Agent, past: &[RunEvent]) -> RunId {
    let mut run = new_run("exp", 1);
    run.request.retry = Some(RetryPolicy::new(1, Default::default(), Some(0)));
    let id = run.id.clone();
    agent.store.submit(run).await.unwrap();
    for &event in past {
        agent.record(&id, Change::now(event)).await.unwrap();
    }
    id
}

async fn drive_on(agent: &Arc<Agent>, run: &RunId, begin: Begin) {
    let (_asks, cancel) = watch::channel(None);
    drive(Arc::clone(agent), run.clone(), begin, cancel).await.unwrap();
}

#[tokio::test]
async fn a_fault_of_the_agent_ends_an_attempt_and_the_last_the_run() {
    let home = tempfile::tempdir().unwrap();
    let target = Faulty { is_on: false, waited: AtomicBool::new(false), cancelled: Arc::default() };
    let agent = agent(&home.path().join("home"), Arc::new(target));
    let run = accepted(&agent, &[RunEvent::PlaceGiven, RunEvent::LaunchIntended]).await;

    drive_on(&agent, &run, Begin::Launch).await;

    let row = agent.store.row(&run).await.unwrap();
    assert_eq!((row.status, row.attempt), (RunStatus::Queued, 2));
    assert_eq!(row.tried_after.as_deref(), Some("agent_fault"));
    for event in [RunEvent::PlaceGiven, RunEvent::LaunchIntended] {
        agent.record(&run, Change::now(event)).await.unwrap();
    }
    drive_on(&agent, &run, Begin::Launch).await;
    assert_eq!(agent.store.row(&run).await.unwrap().status, RunStatus::Failed);
}

#[tokio::test]
async fn the_target_forgets_an_attempt_before_the_next_is_prepared() {
    let home = tempfile::tempdir().unwrap();
    let target = Arc::new(Rebooted { prepared: 1.into(), ..Rebooted::default() });
    let agent = agent(&home.path().join("home"), Arc::clone(&target) as Arc<dyn ComputeTarget>);
    let past = [E::PlaceGiven, E::LaunchIntended, E::ScriptStarted, E::ScriptEnded];
    let run = accepted(&agent, &past).await;
    let directory = agent.workspace.run_directory(&run);
    directory.create().unwrap();
    std::fs::write(directory.std_log(), "first").unwrap();
    std::fs::write(directory.kept_secrets_json(), "{}").unwrap();
    let row = agent.store.row(&run).await.unwrap();
    workplace::write_request(&directory, &row).unwrap();
    let next = NextAttempt { after: ExitReason::LostContact, not_before: Timestamp::now() };
    let exit = ExitRecord::new(ExitReason::LostContact, "", Timestamp::now());
    let facts = Facts { exit: Some(exit), next: Some(next), ..Facts::default() };
    agent.record(&run, Change::now(E::TriedAgain).with(facts)).await.unwrap();

    drive_on(&agent, &run, Begin::FromTheStart).await;

    assert_eq!(agent.store.row(&run).await.unwrap().status, RunStatus::Completed);
    assert_eq!(target.set_aside_when_released.lock().unwrap().first(), Some(&false));
    assert_eq!(std::fs::read_to_string(directory.attempt(1).std_log()).unwrap(), "first");
    assert!(!directory.std_log().exists());
    assert!(!directory.kept_secrets_json().exists(), "no attempt can follow");
    let document = agent.document(&run).await.unwrap();
    assert_eq!(document.attempts.last().unwrap().reason, "lost_contact");
}
