//! Objects that come, files that go.

use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use snapshots::archive::Limits;
use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::transfer::{Destination as _, Receiver, TransferError};

use super::{Answer, Server, json};
use crate::compute_target::ComputeTarget as _;
use crate::outputs::Outputs;
use crate::plain_file::open_beneath;
use crate::remote::bytes::FramedBytes;
use crate::remote::message::{Base64Path, Done, Finished, Left, Refusal, RefusalKind};
use crate::run_id::RunId;

/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 << 10;

impl Server<'_> {
    fn receiver(&self) -> Result<Receiver, Refusal> {
        Ok(Receiver::new(self.workshop()?.objects.clone(), Limits::default()))
    }

    pub(super) fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, Refusal> {
        Ok(self.receiver()?.missing(digests)?)
    }

    /// Stores a pack. What came whole of one that breaks off is kept.
    pub(super) fn receive(&self, bytes: &mut FramedBytes<'_>) -> Result<Vec<u8>, Refusal> {
        let mut receiver = self.receiver()?;
        receiver.put_pack(bytes)?;
        json(&Done {})
    }

    pub(super) fn finish(&self, record: &SnapshotRecord) -> Result<Finished, Refusal> {
        match self.receiver()?.finish(record) {
            Ok(()) => Ok(Finished::Kept),
            Err(TransferError::Incomplete { missing }) => Ok(Finished::Incomplete { missing }),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn collect(&self, run: &RunId, snapshot: &Digest) -> Result<Left, Refusal> {
        let run = self.known(run)?;
        let workshop = self.workshop()?;
        let Outputs { files, notes, whole } =
            workshop.target.collect(&run.directory, snapshot, &workshop.objects)?;
        Ok(Left { files, notes, whole })
    }

    pub(super) fn fetch(
        &self,
        run: &RunId,
        path: &Base64Path,
        offset: u64,
    ) -> Result<Answer<'_>, Refusal> {
        let run = self.known(run)?;
        let Ok(path) = BASE64_STANDARD.decode(&path.0) else {
            return Err(Refusal::new(RefusalKind::Invalid, "the path is not base64"));
        };
        let shown = String::from_utf8_lossy(&path).into_owned();
        let kept = [b"outputs/".as_slice(), b"logs/"];
        let open = if kept.iter().any(|directory| path.starts_with(directory)) {
            open_beneath(&run.directory.work(), &path)?
        } else {
            None
        };
        let Some(mut file) = open else {
            let what = format!("the run has no file {shown:?}, or it is not a plain one");
            return Err(Refusal::new(RefusalKind::NotFound, what));
        };
        let length = file.metadata()?.len();
        let changed = move || {
            let what = format!("{shown:?} is shorter than it was");
            Refusal::new(RefusalKind::Changed, what)
        };
        if offset > length {
            return Err(changed());
        }
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset))?;
        let send = move |to: &mut dyn FnMut(&[u8]) -> std::io::Result<()>| {
            let mut left = length - offset;
            let mut file = file.take(left);
            let mut buffer = vec![0; PIECE];
            while left > 0 {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    return Err(changed());
                }
                to(&buffer[..read])?;
                left -= read as u64;
            }
            Ok(())
        };
        Ok(Answer::WithBytes(json(&Done {})?, Box::new(send)))
    }
}
