//! What reads strangers' bytes in this crate, for the fuzz targets of this workspace.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracing::info_span;

use crate::agent::{Agent, Parts, Policies};
use crate::api::server;
use crate::cli;
use crate::queue;
use crate::scheduler;
use crate::task;
use crate::terminal::log_filter::LogFilter;
use crate::workspace::Workspace;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a request that is whole takes to be answered, as a rule.
const MOMENT: Duration = Duration::from_millis(10);

/// An agent that answers and starts nothing.
struct Answering {
    agent: Arc<Agent>,
    serving: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Answering {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let workspace = Workspace::at(directory.path().join("home"));
        workspace.create().expect("a state directory");
        let parts = Parts {
            workspace,
            program: "/bin/false".into(),
            capacity: queue::of_this_machine(Some(1), 1),
            policies: Policies::default(),
        };
        let (agent, inbox) = Agent::open(parts).expect("an agent");
        agent.drain.begin(0).expect("it drains");
        let serving = Arc::clone(&agent);
        let (ready, listens) = mpsc::channel();
        let serving = thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let doors = server::open(&serving, None, None).expect("a socket");
                let scheduling = scheduler::work(Arc::clone(&serving), inbox);
                let _scheduling = task::spawn(info_span!("scheduler"), scheduling);
                ready.send(()).expect("it is waited for");
                server::serve(serving, doors).await;
            });
        });
        listens.recv().expect("it listens");
        Self { agent, serving: Some(serving), _directory: directory }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.agent.stop.ask();
        // One that panicked has said so.
        let _panicked = self.serving.take().map(JoinHandle::join);
    }
}

/// Whatever is sent to the agent is answered or cut off, and is never its fault.
///
/// # Panics
///
/// It was.
pub fn api(bytes: &[u8]) {
    thread_local! {
        // Goes with the thread, and its directory with it.
        static AGENT: Answering = Answering::new();
    }
    let has = |word: &str| memchr::memmem::find(bytes, word.as_bytes()).is_some();
    // One ends the agent; the other connects to machines, and those are none of ours.
    if has("/agent/stop") || (has("POST") && has("/targets")) {
        return;
    }
    let stream = AGENT.with(|agent| UnixStream::connect(agent.agent.workspace.socket()));
    let mut stream = stream.expect("the agent listens");
    // It may hang up before it has heard all.
    let _cut_off = stream.write_all(bytes);
    let mut answer = Vec::new();
    // Who leaves is not answered, and who may have more to say is waited for.
    if !is_read(&mut stream, &mut answer, MOMENT) {
        let _it_left_first = stream.shutdown(Shutdown::Write);
        assert!(is_read(&mut stream, &mut answer, PATIENCE), "no answer within {PATIENCE:?}");
    }
    let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    assert!(status != "HTTP/1.1 500", "{}", String::from_utf8_lossy(&answer));
}

/// Reads to the end; says whether that came in time.
fn is_read(stream: &mut UnixStream, answer: &mut Vec<u8>, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).expect("a time");
    let read = stream.read_to_end(answer);
    read.map_or_else(|error| error.kind() != std::io::ErrorKind::WouldBlock, |_| true)
}

/// A job file is read or refused.
///
/// # Panics
///
/// It was neither.
pub fn job_file(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("jobs.toml");
    fs::write(&file, bytes).expect("a file");
    let _refused = cli::read_job_file(&file);
}

/// Nothing that a terminal acts on is shown, wherever a log is cut.
///
/// # Panics
///
/// Something is.
pub fn shown_log(bytes: &[u8]) {
    let mut whole = Vec::new();
    LogFilter::default().feed(bytes, &mut whole);
    let shown = String::from_utf8(whole).expect("text is shown");
    let acts = |character: &char| character.is_control() && !"\n\t\r".contains(*character);
    assert_eq!(shown.chars().find(acts), None);

    let mut filter = LogFilter::default();
    let mut pieces = Vec::new();
    for byte in bytes {
        filter.feed(std::slice::from_ref(byte), &mut pieces);
    }
    assert_eq!(String::from_utf8_lossy(&pieces), shown);
}
