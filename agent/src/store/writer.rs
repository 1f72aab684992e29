//! The one thread that writes, and the transactions it groups calls into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;
use tracing::error;

use super::{SqlContext, StoreError};

/// More than this is not put into one transaction, so that the first caller is not kept waiting.
const MOST_IN_ONE: usize = 256;

/// What a call does inside the transaction; it returns how to tell the caller once that is on
/// the disk.
type Call = Box<dyn FnOnce(&Transaction) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Committed) + Send>;

/// Whether the transaction is on the disk. The cause goes to the first caller and the log;
/// SQLite's errors cannot be cloned.
struct Committed(Result<(), StoreError>);

/// The thread's front. Dropping it lets the thread finish what it was given, and waits.
#[derive(Debug)]
pub(super) struct Writer {
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    calls: AtomicU64,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Self {
        let (calls, queue) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let thread = std::thread::spawn(move || work(connection, &queue, &counted));
        Self { calls: Some(calls), thread: Some(thread), counts }
    }

    /// Carries out `call` in a transaction and returns its result once that is on the disk. An
    /// error of the call undoes what it did, and nothing else.
    ///
    /// The call is carried out even if the returned future is dropped.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Transaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |transaction| {
            let result = in_savepoint(transaction, call);
            Box::new(move |Committed(committed)| {
                // A caller that is gone does not want the answer.
                drop(reply.send(committed.and(result)));
            })
        });
        let calls = self.calls.as_ref().ok_or(StoreError::Closed)?;
        calls.send(call).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (self.counts.commits.load(Ordering::Relaxed), self.counts.calls.load(Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.calls.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("The thread that writes the records panicked.");
        }
    }
}

fn in_savepoint<T>(
    transaction: &Transaction,
    call: impl FnOnce(&Transaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    transaction.execute_batch("savepoint call").doing("begin a change")?;
    let result = call(transaction);
    let end = if result.is_ok() { "release call" } else { "rollback to call; release call" };
    transaction.execute_batch(end).doing("end a change")?;
    result
}

fn work(mut connection: Connection, queue: &mpsc::Receiver<Call>, counts: &Counts) {
    while let Ok(first) = queue.recv() {
        let mut calls = vec![first];
        // What came while the last transaction was being written goes into this one.
        calls.extend(queue.try_iter().take(MOST_IN_ONE - 1));
        counts.calls.fetch_add(calls.len() as u64, Ordering::Relaxed);
        counts.commits.fetch_add(1, Ordering::Relaxed);
        commit(&mut connection, calls);
    }
}

fn commit(connection: &mut Connection, calls: Vec<Call>) {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            // Dropped unanswered, the calls fail as `Closed`; the log has the cause.
            error!(%error, calls = calls.len(), "Could not begin a transaction.");
            return;
        }
    };
    let answers: Vec<Answer> = calls.into_iter().map(|call| call(&transaction)).collect();
    match transaction.commit() {
        Ok(()) => {
            for answer in answers {
                answer(Committed(Ok(())));
            }
        }
        Err(error) => {
            error!(%error, "Could not commit a transaction.");
            let code = error.sqlite_error().copied();
            for answer in answers {
                let source = code.map_or_else(
                    || rusqlite::Error::InvalidQuery,
                    |code| rusqlite::Error::SqliteFailure(code, None),
                );
                answer(Committed(Err(source).doing("write")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn writer() -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join("db")).unwrap();
        connection.execute_batch("create table t (x integer unique) strict").unwrap();
        (directory, Writer::start(connection))
    }

    async fn insert(writer: &Writer, x: i64) -> Result<usize, StoreError> {
        writer
            .write(move |transaction| {
                transaction.execute("insert into t values (?1)", [x]).doing("insert")
            })
            .await
    }

    async fn count(writer: &Writer) -> i64 {
        writer
            .write(|transaction| {
                transaction.query_row("select count(*) from t", [], |r| r.get(0)).doing("count")
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn calls_that_wait_share_a_transaction() {
        let (_directory, writer) = writer();
        let gate = Arc::new(Barrier::new(2));
        let held = Arc::clone(&gate);
        let holding = writer.write(move |_| {
            held.wait();
            Ok(())
        });
        let inserts = futures_util::future::join_all((0..100).map(|x| insert(&writer, x)));
        let opening = crate::task::blocking(move || gate.wait());

        let (held, inserted, _) = tokio::join!(holding, inserts, opening);

        held.unwrap();
        assert!(inserted.into_iter().all(|result| result.is_ok()));
        // One, if the thread was slower than all callers together.
        let (commits, calls) = writer.counts();
        assert!(commits <= 2, "{commits}");
        assert_eq!(calls, 101);
    }

    #[tokio::test]
    async fn a_call_that_fails_undoes_its_own_work_only() {
        let (_directory, writer) = writer();
        let broken = writer.write(|transaction| {
            transaction.execute("insert into t values (7)", []).doing("insert")?;
            transaction.execute("insert into t values (7)", []).doing("insert again")
        });

        let (first, broken, last) = tokio::join!(insert(&writer, 1), broken, insert(&writer, 2));

        first.unwrap();
        last.unwrap();
        assert_eq!(broken.unwrap_err().to_string(), "cannot insert again in the records");
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn a_write_is_done_even_if_nobody_waits_for_it() {
        let (_directory, writer) = writer();
        let poll = futures_util::poll!(Box::pin(insert(&writer, 1)));
        drop(poll);

        assert_eq!(count(&writer).await, 1);
    }
}
