//! A machine that was restarted after a run on it was prepared.

use std::sync::Mutex;

use images::environment::PreparedEnvironment;
use runner::gpu::GpuUser;
use runner::script_user::ScriptUser;

use super::*;

/// Was restarted before the first start; the second one ends at once.
#[derive(Default)]
pub(super) struct Rebooted {
    pub(super) prepared: AtomicUsize,
    pub(super) is_started: AtomicBool,
    /// Of each time it was to forget a run: whether its first attempt was set aside by then.
    pub(super) set_aside_when_released: Mutex<Vec<bool>>,
}

impl ComputeTarget for Rebooted {
    fn name(&self) -> &str {
        "local"
    }

    fn place(&self) -> Result<Place, TargetError> {
        Ok(Place {
            home: "/home/me/.trainyard".into(),
            user: ScriptUser::current(),
            knows_submitters: false,
            boot_id: String::new(),
        })
    }

    fn prepare(
        &self,
        _: &RunDirectory,
        _: &Needs,
        _: &LocalStore,
        _: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        let times = self.prepared.fetch_add(1, Ordering::SeqCst) + 1;
        let environment = PreparedEnvironment {
            key: None,
            name: format!("prepared {times} times"),
            interpreter: "/usr/bin/python3".into(),
            python_version: None,
            prefix: "/usr".into(),
            variables: Default::default(),
            path_entries: Vec::new(),
            reused: true,
            image: None,
            lock: Vec::new(),
        };
        Ok(Ready { environment, warnings: vec!["said each time".to_owned()], lease: None })
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

    fn start(&self, run: &RunDirectory) -> Result<(), TargetError> {
        if self.prepared.load(Ordering::SeqCst) < 2 {
            return Err(TargetError::NotPrepared { run: run.path().to_owned() });
        }
        assert!(!self.is_started.swap(true, Ordering::SeqCst), "a run starts once");
        Ok(())
    }

    fn probe(&self, _: &RunDirectory) -> Result<SupervisorState, TargetError> {
        unreachable!("nobody asks")
    }

    fn wait(&self, _: &RunDirectory, _: Duration) -> Result<SupervisorState, TargetError> {
        let exit = ExitRecord::new(ExitReason::Completed, "", Timestamp::now());
        Ok(SupervisorState::Ended(exit))
    }

    fn cancel(&self, _: &RunDirectory, _: &CancelRequest) -> Result<(), TargetError> {
        unreachable!("nobody asks")
    }

    fn settle(&self, _: &RunDirectory) -> Result<ExitRecord, TargetError> {
        unreachable!("nobody asks")
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

    fn release(&self, run: &RunDirectory) -> Result<(), TargetError> {
        self.set_aside_when_released.lock().unwrap().push(run.is_set_aside(1));
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        None
    }
}

/// Drives a run to which `past` happened, after it was prepared so often.
async fn driven(past: &[RunEvent], begin: Begin, prepared: usize) -> String {
    let home = tempfile::tempdir().unwrap();
    let target = Rebooted { prepared: prepared.into(), ..Rebooted::default() };
    let agent = agent(&home.path().join("home"), Arc::new(target));
    let run = new_run("exp", 1);
    let id = run.id.clone();
    agent.store.submit(run).await.unwrap();
    for &event in past {
        agent.record(&id, Change::now(event)).await.unwrap();
    }
    let (_asks, cancel) = watch::channel(None);

    drive(Arc::clone(&agent), id.clone(), begin, cancel).await.unwrap();

    let document = agent.document(&id).await.unwrap();
    let attempts: Vec<_> = document.attempts.iter().map(|it| it.reason.as_str()).collect();
    let environment = agent.store.row(&id).await.unwrap().environment.unwrap().name;
    let said = document.warnings.iter().filter(|it| *it == "said each time").count();
    format!("{:?} {attempts:?} {environment}, {said} warning", document.summary.status)
}

#[tokio::test]
async fn what_was_prepared_before_its_machine_was_restarted_is_prepared_again() {
    assert_eq!(
        driven(&[], Begin::FromTheStart, 0).await,
        r#"Completed ["submitted", "host_rebooted"] prepared 2 times, 1 warning"#
    );
    // An agent that takes it up does the same.
    let past = [RunEvent::PlaceGiven, RunEvent::LaunchIntended];
    assert_eq!(
        driven(&past, Begin::Launch, 1).await,
        r#"Completed ["host_rebooted"] prepared 2 times, 1 warning"#
    );
}
