//! Runs whose driver has a fault: each of them ends, and says so.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use runner::cancel_request::CancelledBy;
use runner::compute_target::{
    ComputeTarget, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState, TargetError,
};
use runner::gpu::GpuUser;
use runner::outputs::Outputs;
use runner::process_identity::ProcessIdentity;
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;

use super::*;
use crate::agent::{Parts, Policies};
use crate::queue::of_this_machine;
use crate::run::status::{RunEvent, RunStatus};
use crate::store::tests::new_run;
use crate::store::{Change, Facts};
use crate::targets::tests::only;
use crate::workspace::Workspace;

mod again;
mod rebooted;

/// Panics when a run is started, or when the end of one that is on is awaited for the first time.
struct Faulty {
    is_on: bool,
    waited: AtomicBool,
    cancelled: Arc<AtomicBool>,
}

impl ComputeTarget for Faulty {
    fn name(&self) -> &str {
        "local"
    }

    fn place(&self) -> Result<Place, TargetError> {
        unreachable!("nothing gets so far")
    }

    fn prepare(
        &self,
        _: &RunDirectory,
        _: &Needs,
        _: &LocalStore,
        _: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        unreachable!("nothing gets so far")
    }

    fn lease(&self, _: &PreparedEnvironment) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(None)
    }

    fn gpus(&self, _: u32) -> Result<Vec<String>, TargetError> {
        Ok(Vec::new())
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        Ok(Vec::new())
    }

    fn collect(
        &self,
        _: &RunDirectory,
        _: &Digest,
        _: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        Ok(Outputs::default())
    }

    fn packages(&self, _: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        Ok(Arc::default())
    }

    fn release(&self, _: &RunDirectory) -> Result<(), TargetError> {
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        None
    }

    fn start(&self, _run: &RunDirectory) -> Result<(), TargetError> {
        panic!("no luck with starting");
    }

    fn probe(&self, _run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        let identity = ProcessIdentity { boot_id: String::new(), pid: 1, start_time: 1 };
        Ok(if self.is_on {
            SupervisorState::Running(identity)
        } else {
            SupervisorState::NotStarted
        })
    }

    fn wait(&self, _: &RunDirectory, _: Duration) -> Result<SupervisorState, TargetError> {
        assert!(self.waited.swap(true, Ordering::SeqCst), "no luck with waiting");
        let exit = ExitRecord::new(ExitReason::Cancelled, "asked", Timestamp::now());
        Ok(SupervisorState::Ended(exit))
    }

    fn cancel(&self, _run: &RunDirectory, _request: &CancelRequest) -> Result<(), TargetError> {
        self.cancelled.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        Err(TargetError::NotStarted { run: run.path().to_owned() })
    }
}

/// Makes an agent with its state in `home` and one target.
fn agent(home: &Path, target: Arc<dyn ComputeTarget>) -> Arc<Agent> {
    let workspace = Workspace::at(home.to_owned());
    workspace.create().unwrap();
    let program = "/bin/false".into();
    let parts = Parts {
        workspace,
        program,
        capacity: of_this_machine(Some(1), 2),
        policies: Policies::default(),
    };
    let (mut agent, _inbox) = Agent::open(parts).unwrap();
    let targets = only(target, &Workspace::at(home.to_owned()));
    Arc::get_mut(&mut agent).unwrap().targets = targets;
    agent
}

/// Drives a run to which `past` happened; says where it stands then, why, and whether the script
/// was asked to end.
async fn driven(home: &Path, past: &[RunEvent], begin: Begin, is_on: bool) -> String {
    let cancelled = Arc::new(AtomicBool::new(false));
    let faulty =
        Faulty { is_on, waited: AtomicBool::new(false), cancelled: Arc::clone(&cancelled) };
    let agent = agent(home, Arc::new(faulty));
    let run = new_run("exp", 1);
    let id = run.id.clone();
    agent.store.submit(run).await.unwrap();
    let by = CancelledBy { uid: 7, user: None };
    let asked = CancelRequest::new(by, Timestamp::now(), false);
    let mut request = None;
    for &event in past {
        let cancel = (event == RunEvent::CancelAsked).then(|| asked.clone());
        request = request.or_else(|| cancel.clone());
        let facts = Facts { cancel, ..Facts::default() };
        agent.record(&id, Change::now(event).with(facts)).await.unwrap();
    }
    let (_asks, cancel) = watch::channel(request);

    drive(Arc::clone(&agent), id.clone(), begin, cancel).await.unwrap();

    let exit = agent.document(&id).await.unwrap().summary.exit.unwrap();
    let status: RunStatus = agent.store.row(&id).await.unwrap().status;
    let was_asked = cancelled.load(Ordering::SeqCst);
    format!("{status} {}: {}, asked to end: {was_asked}\n", exit.reason, exit.message)
}

#[tokio::test]
async fn a_fault_of_the_agent_is_an_end() {
    use RunEvent as E;
    let mut table = String::new();
    for (past, begin, is_on) in [
        (&[E::PlaceGiven][..], Begin::Launch, false),
        (&[E::PlaceGiven, E::CancelAsked], Begin::Launch, false),
        (&[E::PlaceGiven, E::LaunchIntended], Begin::Launch, false),
        (&[E::PlaceGiven, E::LaunchIntended, E::ScriptStarted], Begin::Follow, true),
        (&[E::PlaceGiven, E::LaunchIntended, E::CancelAsked], Begin::Follow, true),
    ] {
        let home = tempfile::tempdir().unwrap();
        table += &driven(&home.path().join("home"), past, begin, is_on).await;
    }
    insta::assert_snapshot!(table, @r#"
    Failed agent_fault: a fault in the agent: no luck with starting, asked to end: false
    Canceled cancelled: a fault in the agent: no luck with starting, asked to end: false
    Failed agent_fault: a fault in the agent: no luck with starting, asked to end: false
    Failed agent_fault: a fault in the agent: no luck with waiting, asked to end: true
    Failed agent_fault: a fault in the agent: no luck with waiting, asked to end: true
    "#);
}
