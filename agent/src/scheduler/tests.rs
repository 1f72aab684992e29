use std::sync::Arc;
use std::time::Duration;

use images::environment::Environment;
use jiff::Timestamp;
use runner::cancel_request::CancelledBy;
use runner::exit_record::ExitReason;
use snapshots::digest::Digest;
use tracing::info_span;

use super::*;
use crate::agent::{Agent, Parts};
use crate::api::wire::submission::SubmitRequest;
use crate::api::wire::waiting::After;
use crate::objects::StoreOf;
use crate::peer::Peer;
use crate::queue::of_this_machine;
use crate::run::submission;
use crate::store::Accepted;
use crate::store::tests::{new_run, request};
use crate::task::{self, Task};
use crate::workspace::Workspace;

#[tokio::test]
async fn who_watches_a_run_cancelled_before_it_was_in_the_queue_hears_of_its_end() {
    let (_directory, agent, _scheduling) = working(1).await;
    let mut run = new_run("exp", 1);
    // So that it is the queue that hears of it, not a driver.
    run.request.held = true;
    let id = run.id.clone();
    let accepted = agent.store.submit(run).await.unwrap();
    let by = CancelledBy { uid: 0, user: None };
    let request = CancelRequest::new(by, Timestamp::now(), false);

    let status = agent.scheduler.cancel(id.clone(), request).await.unwrap();
    // What `submit` does when it is its turn again.
    agent.live.publish(&id, RunStatus::Queued);
    let mut watching = agent.live.watch(&id).unwrap();
    let Accepted::New(row) = accepted else { panic!("{accepted:?}") };
    agent.scheduler.enqueue(&row);

    assert_eq!(status, RunStatus::Canceled);
    let ended = watching.wait_for(|status| status.is_ended());
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
    assert!(agent.live.watch(&id).is_none());
    assert_eq!(agent.scheduler.counts().queued, 0);
}

#[tokio::test]
async fn who_handed_a_run_in_finds_it_in_the_queue() {
    let (_directory, agent, _scheduling) = working(1).await;
    let mut writer = agent.objects.get_now(StoreOf::Agent).unwrap().writer().unwrap();
    let source = Digest::of(b"anything");
    writer.put(source, b"anything").unwrap();
    writer.commit().unwrap();
    let peer = Peer { uid: rustix::process::geteuid().as_raw(), rules: true };
    let asked = SubmitRequest { held: true, ..request(source) };

    let submitted = submission::submit(&agent, peer, None, asked).await.unwrap();

    let waits = agent.waits().remove(&submitted.run_id).unwrap();
    assert_eq!(waits.waits_for, Some(WaitsFor::Release));
}

/// An agent with `places` whose runs end at once, as their supervisor cannot be started.
async fn working(places: usize) -> (tempfile::TempDir, Arc<Agent>, Task<()>) {
    let directory = tempfile::tempdir().unwrap();
    let workspace = Workspace::at(directory.path().join("home"));
    workspace.create().unwrap();
    let parts = Parts {
        workspace,
        program: "/bin/false".into(),
        capacity: of_this_machine(Some(places), 2),
        policies: crate::agent::Policies::default(),
    };
    let (agent, inbox) = Agent::open(parts).unwrap();
    let scheduling = task::spawn(info_span!("scheduler"), work(Arc::clone(&agent), inbox));
    (directory, agent, scheduling)
}

/// Hands in a run as `submit` does.
async fn hand_in(agent: &Agent, number: u32, how: impl FnOnce(&mut SubmitRequest)) -> RunId {
    let mut run = new_run("exp", number);
    how(&mut run.request);
    let accepted = agent.store.submit(run).await.unwrap();
    let Accepted::New(row) = accepted else { panic!("{accepted:?}") };
    agent.live.publish(&row.id, RunStatus::Queued);
    agent.scheduler.enqueue(&row);
    row.id
}

async fn ended(agent: &Agent, run: &RunId) -> (RunStatus, Option<ExitReason>) {
    if let Some(mut watched) = agent.live.watch(run) {
        let ended = watched.wait_for(|status| status.is_ended());
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
    }
    let document = agent.store.document(run).await.unwrap();
    let reason = document.summary.exit.map(|exit| exit.reason);
    let named = ExitReason::ALL.into_iter().find(|it| reason.as_deref() == Some(it.name()));
    (document.summary.status, named)
}

/// What a run waits for, once the scheduler has carried out what was asked of it before.
async fn waits_for(agent: &Agent, run: &RunId) -> Option<WaitsFor> {
    // Nothing changes, and the answer comes when it is this command's turn.
    agent.scheduler.change(run.clone(), ChangeWaiting::default()).await.unwrap();
    let mut waits = agent.waits();
    waits.remove(run.as_str()).unwrap().waits_for
}

fn after(run: &RunId, any_end: bool) -> Vec<After> {
    vec![After { run: run.to_string(), any_end }]
}

#[tokio::test]
async fn a_held_run_waits_until_it_is_released() {
    let (_directory, agent, _scheduling) = working(1).await;
    let run = hand_in(&agent, 1, |request| request.held = true).await;
    assert_eq!(waits_for(&agent, &run).await, Some(WaitsFor::Release));

    let release = ChangeWaiting { held: Some(false), ..ChangeWaiting::default() };
    agent.scheduler.change(run.clone(), release.clone()).await.unwrap();

    // Its source is not there: it was begun.
    assert_eq!(ended(&agent, &run).await.0, RunStatus::Failed);
    let refused = agent.scheduler.change(run, release).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotWaiting { .. }), "{refused:?}");
}

#[tokio::test]
async fn what_waits_for_a_run_that_does_not_complete_ends_too_and_so_on() {
    let (_directory, agent, _scheduling) = working(1).await;
    let first = hand_in(&agent, 1, |request| request.held = true).await;
    let second = hand_in(&agent, 2, |request| request.after = after(&first, false)).await;
    let third = hand_in(&agent, 3, |request| request.after = after(&second, false)).await;
    let whatever = hand_in(&agent, 4, |request| request.after = after(&third, true)).await;
    let waits = WaitsFor::Runs { run_ids: vec![first.to_string()] };
    assert_eq!(waits_for(&agent, &second).await, Some(waits));

    let by = CancelledBy { uid: 0, user: None };
    let request = CancelRequest::new(by, Timestamp::now(), false);
    agent.scheduler.cancel(first.clone(), request).await.unwrap();

    let vain = (RunStatus::Canceled, Some(ExitReason::DependencyFailed));
    assert_eq!(ended(&agent, &second).await, vain);
    assert_eq!(ended(&agent, &third).await, vain);
    assert_eq!(ended(&agent, &whatever).await.0, RunStatus::Failed, "it was begun");
    // What comes when all is over hears so too.
    let late = hand_in(&agent, 5, |request| request.after = after(&first, false)).await;
    assert_eq!(ended(&agent, &late).await, vain);
    let gone: RunId = "exp_1700000000_ffffffff".parse().unwrap();
    let orphan = hand_in(&agent, 6, |request| request.after = after(&gone, false)).await;
    assert_eq!(ended(&agent, &orphan).await, vain);
}

#[tokio::test]
async fn a_run_in_the_queue_can_get_another_priority_and_another_target() {
    let (_directory, agent, _scheduling) = working(1).await;
    let run = hand_in(&agent, 1, |request| request.held = true).await;
    let change = ChangeWaiting {
        priority: Some(7),
        target: Some("gpu-vm".to_owned()),
        environment: Some(Environment::UserManaged { interpreter: "/opt/python".into() }),
        ..ChangeWaiting::default()
    };

    agent.scheduler.change(run.clone(), change).await.unwrap();

    let row = agent.store.row(&run).await.unwrap();
    assert_eq!((row.priority, row.held, row.request.target.as_str()), (7, true, "gpu-vm"));
    let Environment::UserManaged { interpreter } = row.request.environment else { panic!() };
    assert_eq!(interpreter.to_str(), Some("/opt/python"));
    assert_eq!(agent.scheduler.counts_of("gpu-vm").queued, 1);
    assert_eq!(agent.store.document(&run).await.unwrap().summary.target, "gpu-vm");
}
