//! Telling systemd how the service is, as `sd_notify(3)` has it.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// The way to systemd, where it started us and wants to know.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Without a sign of life for so long, systemd kills us.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds the way in the environment.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let Some(path) = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self::default();
        };
        let socket = address(path.as_bytes())
            .and_then(|address| Ok((UnixDatagram::unbound()?, address)))
            .inspect_err(|error| warn!(%error, "Cannot tell systemd anything."))
            .ok();
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        // It may be set for the process that started us.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|length| is_ours && *length > 0);
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// Tells systemd `state`, lines of `NAME=value`. That it cannot be told is no reason to stop.
    pub(crate) fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            warn!(%error, "Could not tell systemd.");
        }
    }

    /// Returns how often it wants to hear from us: `None` where nobody listens.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        Some(self.watchdog.map_or(SELDOM, |watchdog| watchdog / 2))
    }
}

/// How often it is told what we do where there is no watchdog.
const SELDOM: Duration = Duration::from_secs(30);

/// A path, or a name that is on no file system where it begins with `@`.
fn address(path: &[u8]) -> io::Result<SocketAddr> {
    match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_hears_on_either_kind_of_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("trainyard-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, listener) in [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&by_name).unwrap()),
        ] {
            let notifier = Notifier::new(|name| (name == "NOTIFY_SOCKET").then(|| socket.clone()));

            notifier.tell("READY=1\nSTATUS=well");

            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=well");
            assert_eq!(notifier.interval(), Some(SELDOM));
        }
    }

    #[test]
    fn signs_of_life_come_twice_as_often_as_they_must() {
        let of = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            };
            Notifier::new(variable).interval()
        };
        let socket = ("NOTIFY_SOCKET", "/nonexistent");
        let own = std::process::id().to_string();

        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "1000000")]), None);
        let half = Some(Duration::from_millis(500));
        assert_eq!(of(&[socket, ("WATCHDOG_USEC", "1000000")]), half);
        assert_eq!(of(&[socket, ("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", &own)]), half);
        assert_eq!(
            of(&[socket, ("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")]),
            Some(SELDOM)
        );
        assert_eq!(of(&[socket, ("WATCHDOG_USEC", "0")]), Some(SELDOM));
        // Nobody is there, which ends nothing.
        Notifier::new(|name| (name == "NOTIFY_SOCKET").then(|| "/nonexistent".into()))
            .tell("READY=1");
    }
}
