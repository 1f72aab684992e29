//! The connections to a machine that are not in use.

use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::contact::Contact;
use super::trouble::{Trouble, Unanswered};
use crate::remote::client::{RemoteClient, RemoteError, Stream};
use crate::remote::message::Hello;

/// What lay longer than this may be dead without anybody having been told: routers forget.
const FRESH: Duration = Duration::from_secs(60);

/// The stdin and stdout of this program on a machine.
pub(super) struct Line(Box<dyn Stream>);

impl Line {
    /// Goes over `stream`.
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Says whether nothing came that nobody asked for, such as the end.
    fn is_quiet(&mut self) -> bool {
        matches!(self.0.has_input(), Ok(false))
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Line {
    fn has_input(&mut self) -> io::Result<bool> {
        self.0.has_input()
    }
}

/// Asks the machine.
pub(super) type Client = RemoteClient<Line>;

/// The way to a machine.
pub(super) trait Connector: Send + Sync {
    /// Connects, and hears who answers.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn connect(&self) -> Result<(Client, Hello), Trouble>;
}

/// Connections to one machine.
pub(super) struct Pool {
    connector: Box<dyn Connector>,
    /// How it stands with the machine.
    pub(super) contact: Contact,
    idle: Mutex<Idle>,
    connecting: Mutex<()>,
}

#[derive(Default)]
struct Idle {
    clients: Vec<(Client, Instant)>,
    hello: Option<Hello>,
}

impl Pool {
    /// Connects through `connector` to the machine of the target `target`.
    pub(super) fn new(target: &str, connector: Box<dyn Connector>) -> Self {
        let contact = Contact::new(target);
        Self { connector, contact, idle: Mutex::default(), connecting: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who answered last.
    pub(super) fn hello(&self) -> Option<Hello> {
        self.idle().hello.clone()
    }

    /// Has `work` ask the machine. What is asked must be such that asking twice does no harm: an
    /// idle connection may turn out to be dead.
    ///
    /// # Errors
    ///
    /// [`Unanswered`].
    pub(super) fn with_client<T>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<T, RemoteError>,
    ) -> Result<T, Unanswered> {
        if let Some(mut client) = self.take() {
            match work(&mut client) {
                Err(RemoteError::Broken { source }) => {
                    tracing::debug!(error = %source, "An idle connection was dead.");
                }
                answer => return self.answered(client, answer),
            }
        }
        let mut client = self.connect()?;
        let answer = work(&mut client);
        self.answered(client, answer)
    }

    fn answered<T>(&self, client: Client, answer: Result<T, RemoteError>) -> Result<T, Unanswered> {
        match answer {
            Err(RemoteError::Local { source }) => {
                self.give_back(client);
                Err(Unanswered::Local(source))
            }
            Err(RemoteError::Refused { refusal }) => {
                self.give_back(client);
                Err(Unanswered::Refused(refusal))
            }
            Err(error) => Err(self.failed(&Trouble::Remote(error))),
            Ok(answer) => {
                self.give_back(client);
                Ok(answer)
            }
        }
    }

    /// Takes a connection that answered for later, if it is still good.
    pub(super) fn give_back(&self, client: Client) {
        self.contact.heard();
        if client.is_good() {
            self.idle().clients.push((client, Instant::now()));
        }
    }

    /// Takes note of a connection that broke.
    pub(super) fn failed(&self, trouble: &Trouble) -> Unanswered {
        self.contact.failed(trouble);
        let unfit = match trouble {
            Trouble::Unfit(told) => Some(told.clone()),
            _ => None,
        };
        Unanswered::OutOfContact(self.contact.no_answer_yet(), unfit)
    }

    fn take(&self) -> Option<Client> {
        let mut idle = self.idle();
        while let Some((mut client, since)) = idle.clients.pop() {
            if since.elapsed() < FRESH && client.stream().is_quiet() {
                return Some(client);
            }
        }
        None
    }

    /// Connects, one caller at a time and not before the next try is due.
    ///
    /// # Errors
    ///
    /// [`Unanswered::OutOfContact`].
    pub(super) fn connect(&self) -> Result<Client, Unanswered> {
        let _one = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        self.contact
            .may_try()
            .map_err(|(contact, unfit)| Unanswered::OutOfContact(contact, unfit))?;
        self.connect_now().map_err(|trouble| self.failed(&trouble))
    }

    /// Connects, whatever was met with before.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(super) fn connect_now(&self) -> Result<Client, Trouble> {
        let (client, hello) = self.connector.connect()?;
        self.idle().hello = Some(hello);
        self.contact.heard();
        Ok(client)
    }

    /// Closes what is not in use.
    pub(super) fn close_idle(&self) {
        let closing = std::mem::take(&mut self.idle().clients);
        drop(closing);
    }
}
