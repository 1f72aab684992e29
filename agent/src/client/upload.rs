//! Bringing objects to an agent that has another store than ours.

use std::io::Read;

use bytes::Bytes;
use reqwest::Method;
use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;

use super::{Client, ClientError};
use crate::api::wire::transfer::{FinishRequest, Missing, MissingRequest, PackReceived};

/// Bytes of a pack on their way at once.
const CHUNK_BYTES: usize = 256 << 10;

impl Client {
    /// Returns which of `digests` the agent's store lacks.
    pub(crate) async fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, ClientError> {
        let asked = self
            .request(Method::POST, &["transfers", "missing"])
            .json(&MissingRequest { digests: digests.to_vec() });
        let answer: Missing = self.json(asked, "compare stores").await?;
        Ok(answer.missing)
    }

    /// Sends one pack, reading it as the agent takes it.
    ///
    /// Blocks; `runtime` is driven from a thread of its own meanwhile.
    pub(crate) fn send_pack(
        &self,
        runtime: &tokio::runtime::Runtime,
        pack: &mut dyn Read,
    ) -> Result<PackReceived, ClientError> {
        let (chunks, received) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
        let body = futures_util::stream::unfold(received, |mut received| async {
            received.recv().await.map(|chunk| (chunk, received))
        });
        let request = self
            .request(Method::POST, &["transfers", "pack"])
            .header("content-type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(body));
        std::thread::scope(|scope| {
            let sent = scope.spawn(|| runtime.block_on(self.json(request, "take the objects")));
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match pack.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(read) => {
                        chunk.truncate(read);
                        Ok(Bytes::from(chunk))
                    }
                    Err(error) => Err(error),
                };
                let is_last = read.is_err();
                // An agent that stopped listening has answered why.
                if chunks.blocking_send(read).is_err() || is_last {
                    break;
                }
            }
            drop(chunks);
            sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Tells the agent that a snapshot is complete.
    pub(crate) async fn finish(&self, record: &SnapshotRecord) -> Result<(), ClientError> {
        let asked = self
            .request(Method::POST, &["transfers", "finish"])
            .json(&FinishRequest { record: record.clone() });
        self.send(asked, "keep the snapshot").await.map(drop)
    }
}
