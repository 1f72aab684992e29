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

/// What a call does inside the transaction, or without one when there is none; it returns how to
/// tell the caller once that is on the disk.
type Call = Box<dyn FnOnce(Option<&Transaction>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Committed) + Send>;

/// Whether the transaction is on the disk.
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
            let result = transaction.map(|transaction| in_savepoint(transaction, call));
            Box::new(move |Committed(committed)| {
                let answer = match (committed, result) {
                    // Its own error says more than that of the transaction it spoilt.
                    (_, Some(Err(error))) | (Err(error), _) => Err(error),
                    (Ok(()), Some(Ok(done))) => Ok(done),
                    (Ok(()), None) => Err(StoreError::Closed),
                };
                // A caller that is gone does not want the answer.
                drop(reply.send(answer));
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
    if transaction.is_autocommit() {
        // On a full disk and some other errors SQLite undoes the whole transaction by itself.
        return result.and_then(|_| Err(undone()).doing("end a change"));
    }
    let end = if result.is_ok() { "release call" } else { "rollback to call; release call" };
    let ended = transaction.execute_batch(end).doing("end a change");
    let done = result?;
    ended.map(|()| done)
}

/// What those are told whose changes were undone because of someone else's.
fn undone() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT), None)
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
            error!(%error, calls = calls.len(), "Could not begin a transaction.");
            let answers = calls.into_iter().map(|call| call(None)).collect();
            return fail(answers, &error);
        }
    };
    let mut answers: Vec<Answer> = Vec::with_capacity(calls.len());
    for call in calls {
        // Outside of the transaction a call would be kept at once, and by itself.
        let inside = (!transaction.is_autocommit()).then_some(&transaction);
        answers.push(call(inside));
    }
    if transaction.is_autocommit() {
        error!("SQLite undid a transaction.");
        return fail(answers, &undone());
    }
    match transaction.commit() {
        Ok(()) => {
            for answer in answers {
                answer(Committed(Ok(())));
            }
        }
        Err(error) => {
            error!(%error, "Could not commit a transaction.");
            fail(answers, &error);
        }
    }
}

/// Tells every caller why nothing was kept. SQLite's errors cannot be cloned; their codes can.
fn fail(answers: Vec<Answer>, error: &rusqlite::Error) {
    let code = error.sqlite_error().copied();
    for answer in answers {
        let source = code.map_or_else(undone, |code| rusqlite::Error::SqliteFailure(code, None));
        answer(Committed(Err(source).doing("write")));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

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

    #[tokio::test]
    async fn a_transaction_that_cannot_begin_is_an_error_that_can_be_tried_again() {
        let (directory, writer) = writer();
        writer
            .write(|transaction| transaction.busy_timeout(Duration::ZERO).doing("wait for nobody"))
            .await
            .unwrap();
        let other = Connection::open(directory.path().join("db")).unwrap();
        other.execute_batch("begin immediate").unwrap();

        let refused = insert(&writer, 1).await.unwrap_err();
        other.execute_batch("rollback").unwrap();

        assert!(matches!(refused, StoreError::Statement { .. }), "{refused:?}");
        insert(&writer, 1).await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }

    #[tokio::test]
    async fn when_sqlite_undoes_a_transaction_none_of_its_calls_is_kept() {
        let (_directory, writer) = writer();
        let gate = Arc::new(Barrier::new(2));
        let (entered, begun) = oneshot::channel();
        let held = Arc::clone(&gate);
        let mut holding = Box::pin(writer.write(move |_| {
            entered.send(()).unwrap();
            held.wait();
            Ok(())
        }));
        assert!(futures_util::poll!(&mut holding).is_pending());
        begun.await.unwrap();
        // As SQLite does when it cannot go on.
        let spoiling = writer.write(|transaction| {
            transaction.execute_batch("rollback").doing("spoil")?;
            Err::<(), _>(StoreError::Closed)
        });
        let opening = async {
            crate::task::blocking(move || gate.wait()).await;
            holding.await.unwrap();
        };

        // All are handed in before the gate opens: they share the next transaction.
        let (before, spoilt, after, ()) =
            tokio::join!(insert(&writer, 1), spoiling, insert(&writer, 2), opening);

        assert!(matches!(spoilt, Err(StoreError::Closed)), "its own error");
        for lost in [before, after] {
            assert!(matches!(lost, Err(StoreError::Statement { .. })), "{lost:?}");
        }
        assert_eq!(count(&writer).await, 0);
        insert(&writer, 3).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_database_is_said_to_be_full() {
        let (_directory, writer) = writer();
        let limit = |pages: i64| {
            writer.write(move |transaction| {
                transaction
                    .query_row(&format!("pragma max_page_count = {pages}"), [], |row| {
                        row.get::<_, i64>(0)
                    })
                    .doing("limit")
            })
        };
        limit(1).await.unwrap();
        let big = || {
            writer.write(|transaction| {
                transaction
                    .execute("create table big as select zeroblob(100000) as x", [])
                    .doing("fill")
            })
        };

        let full = big().await.unwrap_err();

        assert!(full.is_full(), "{full:?}");
        limit(10_000).await.unwrap();
        big().await.unwrap();
    }
}
