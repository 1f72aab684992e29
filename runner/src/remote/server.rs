//! The answering side: `trainyard remote serve`.

mod looking;
mod outgoing;
mod runs;
mod transfer;

use std::cell::OnceCell;
use std::io::{self, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use serde::Serialize;

use self::outgoing::Outgoing;
use super::ahead::FramesAhead;
use super::bytes::FramedBytes;
use super::files::RemoteHome;
use super::frame::{self, FrameSource, GREETING, Kind, Message, PROTOCOL};
use super::message::{Hello, Refusal, RefusalKind, Request};
use super::workshop::Workshop;
use super::{cleaning, report};
use crate::compute_target::ComputeTarget as _;

/// Answers requests on `from` and `to` until `from` ends. Runs and preparations that were begun go
/// on. `program` is this program: what supervises and prepares.
///
/// # Errors
///
/// The connection breaks, or says what is no request.
pub fn serve(
    home: &RemoteHome,
    program: PathBuf,
    from: impl Read + Send + 'static,
    to: &mut (dyn Write + Send),
) -> io::Result<()> {
    // A frame's payload is read into place; only its header is small.
    let mut from = FramesAhead::new(BufReader::with_capacity(8 << 10, from))?;
    let out = Outgoing::new(to);
    out.plain(GREETING)?;
    let server = Server { home: home.clone(), program, workshop: OnceCell::new(), out: &out };
    thread::scope(|scope| {
        scope.spawn(|| out.say_alive());
        let served = server.answer_all(&mut from);
        out.close();
        served
    })
}

/// Answers one request after the other.
struct Server<'a> {
    home: RemoteHome,
    program: PathBuf,
    workshop: OnceCell<Workshop>,
    out: &'a Outgoing<'a>,
}

/// What a request is answered with.
enum Answer<'a> {
    /// A message.
    Message(Vec<u8>),
    /// A message, and bytes, which the function hands to what it is given.
    WithBytes(Vec<u8>, Box<SendBytes<'a>>),
}

/// Hands bytes to its argument. What it refuses takes the place of the rest.
type SendBytes<'a> =
    dyn FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), Refusal> + 'a;

impl Answer<'_> {
    fn of(message: &impl Serialize) -> Result<Self, Refusal> {
        json(message).map(Self::Message)
    }
}

fn json(message: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let json = serde_json::to_vec(message).map_err(|error| Refusal::because(&error))?;
    if json.len() > frame::MOST_MESSAGE {
        let what = format!("the answer takes {} bytes, which is too much", json.len());
        return Err(Refusal::new(RefusalKind::Failed, what));
    }
    Ok(json)
}

impl Server<'_> {
    fn answer_all(&self, from: &mut dyn FrameSource) -> io::Result<()> {
        while let Some(json) = next_request(from)? {
            let request: Request = match serde_json::from_slice(&json) {
                Ok(request) => request,
                Err(error) => {
                    // It may be one that bytes go with: nobody knows where the next begins.
                    self.out.refuse(&Refusal::new(
                        RefusalKind::Protocol,
                        format!("the request is not understood: {error}"),
                    ))?;
                    return Err(error.into());
                }
            };
            drop(json);
            self.out.begin();
            let answered = match request {
                Request::Pack => self.take_pack(from),
                request => self.carry_out(request),
            };
            self.out.end();
            answered?;
        }
        Ok(())
    }

    fn take_pack(&self, from: &mut dyn FrameSource) -> io::Result<()> {
        let mut bytes = FramedBytes::new(from);
        let taken = caught(|| self.receive(&mut bytes));
        if bytes.is_broken() {
            // Nobody listens any more, as a rule.
            if let Err(refusal) = taken {
                self.out.refuse(&refusal)?;
            }
            return bytes.drain().map(drop);
        }
        match taken {
            Ok(answer) => {
                bytes.drain()?;
                self.out.message(&answer)
            }
            Err(refusal) => {
                // At once, so that the rest is not sent for nothing.
                self.out.refuse(&refusal)?;
                bytes.drain().map(drop)
            }
        }
    }

    fn carry_out(&self, request: Request) -> io::Result<()> {
        match caught(|| self.answer(request)) {
            Ok(Answer::Message(json)) => self.out.message(&json),
            Ok(Answer::WithBytes(json, send)) => {
                self.out.message(&json)?;
                let mut broken = None;
                let sent = caught(|| self.out.bytes(send, &mut broken));
                match (broken, sent) {
                    (Some(error), _) => Err(error),
                    (None, Ok(())) => Ok(()),
                    (None, Err(refusal)) => self.out.refuse(&refusal),
                }
            }
            Err(refusal) => self.out.refuse(&refusal),
        }
    }

    fn answer(&self, request: Request) -> Result<Answer<'_>, Refusal> {
        match request {
            Request::Hello { protocol } => Answer::of(&self.hello(protocol)?),
            Request::Report => Answer::of(&report::report(&self.home)),
            Request::Missing { digests } => Answer::of(&self.missing(&digests)?),
            Request::Pack => Err(Refusal::new(RefusalKind::Invalid, "a pack without bytes")),
            Request::Finish { record } => Answer::of(&self.finish(&record)?),
            Request::Prepare { run, owner, needs, registry_password } => {
                Answer::of(&self.prepare(&run, owner, needs, registry_password)?)
            }
            Request::Start { run, launch, secrets } => {
                Answer::of(&self.start(&run, &launch, secrets)?)
            }
            Request::Look { runs, wait_ms } => self.look(&runs, wait_ms),
            Request::Cancel { run, cancel } => Answer::of(&self.cancel(&run, &cancel)?),
            Request::Settle { run } => Answer::of(&self.settle(&run)?),
            Request::Gpus { count } => Answer::of(&self.workshop()?.target.gpus(count)?),
            Request::GpuUsers => Answer::of(&self.workshop()?.target.gpu_users()?),
            Request::Collect { run, snapshot } => Answer::of(&self.collect(&run, &snapshot)?),
            Request::Fetch { run, path, offset } => self.fetch(&run, &path, offset),
            Request::Packages { environment } => {
                let packages = self.workshop()?.target.packages(&environment)?;
                Answer::of(&packages.as_ref())
            }
            Request::Release { run } => Answer::of(&self.release(&run)?),
            Request::Clean(wanted) => {
                Answer::of(&cleaning::clean(&self.home, self.workshop()?, &wanted)?)
            }
            Request::Purge { owner } => {
                Answer::of(&cleaning::purge(&self.home, self.workshop()?, &owner)?)
            }
        }
    }

    fn hello(&self, protocol: u32) -> Result<Hello, Refusal> {
        if protocol != PROTOCOL {
            let what = format!("the agent speaks protocol {protocol}, this program {PROTOCOL}");
            return Err(Refusal::new(RefusalKind::Protocol, what));
        }
        Ok(Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            place: self.workshop()?.target.place()?,
            time_utc: jiff::Timestamp::now(),
            machine: report::machine(&self.home)?,
        })
    }

    /// Opens the store and the rest when something is wanted of them for the first time, so that
    /// what is wrong with them is an answer.
    fn workshop(&self) -> Result<&Workshop, Refusal> {
        if let Some(workshop) = self.workshop.get() {
            return Ok(workshop);
        }
        let workshop = Workshop::open(&self.home, self.program.clone())?;
        Ok(self.workshop.get_or_init(|| workshop))
    }
}

/// Reads the next request; `None` at the end of the stream.
fn next_request(from: &mut dyn FrameSource) -> io::Result<Option<Vec<u8>>> {
    let mut message = Message::default();
    let mut begun = false;
    while let Some((kind, payload)) = from.next_frame()? {
        if kind == Kind::Refusal {
            let what = "a refusal where a request was to come";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        begun = true;
        if let Some(json) = message.take(kind, payload)? {
            return Ok(Some(json));
        }
    }
    if begun { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) }
}

/// Carries `work` out; a panic in it is a refusal, and the server goes on.
fn caught<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    // What is left half done is in files, which every request expects.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a word");
        Err(Refusal::new(RefusalKind::Failed, format!("a fault of this program: {said}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_refusal() {
        for (fault, said) in [
            (caught(|| -> Result<(), _> { panic!("at {}", 7) }), "a fault of this program: at 7"),
            (caught(|| -> Result<(), _> { panic!("plain") }), "a fault of this program: plain"),
        ] {
            let refusal = fault.unwrap_err();
            assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::Failed, said));
        }
    }
}
