//! How the agent is reached over TCP, and for how long still.

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::listen::Listening;
use crate::terminal::measure;

/// A certificate that is good for less than this is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Looks at where the agent listens.
pub(super) fn look(listening: &Listening, now: Timestamp) -> Finding {
    const NAME: &str = "listening";
    let url = &listening.url;
    let Some(end) = listening.certificate_expires_time_utc else {
        return Finding::good(NAME, url);
    };
    let file = listening.certificate.as_deref().unwrap_or_else(|| "".as_ref()).display();
    let until = measure::rfc3339(end);
    let renew = format!("renew {file}, then stop and start the agent; its runs go on");
    if end <= now {
        Finding::missing(NAME, format!("{url}, with a certificate that expired at {until}"), renew)
    } else if end.duration_since(now) < SOON {
        Finding::missing(NAME, format!("{url}, with a certificate until {until} only"), renew)
    } else {
        Finding::good(NAME, format!("{url}, with the certificate {file} until {until}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    #[test]
    fn a_certificate_that_ends_soon_is_told_of() {
        let listening = |end: Option<&str>| Listening {
            url: "https://[::]:8443".to_owned(),
            certificate: end.map(|_| "/c.pem".into()),
            certificate_expires_time_utc: end.map(|end| end.parse().unwrap()),
        };
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let looked = |end| {
            let finding = look(&listening(end), now);
            (finding.state, finding.found)
        };

        assert_eq!(looked(None).0, State::Good);
        assert_eq!(looked(Some("2026-12-21T12:00:00Z")).0, State::Good);
        let (state, found) = looked(Some("2026-12-01T12:00:00Z"));
        assert!(state == State::Missing && found.contains("until 2026-12-01"), "{found}");
        let (state, found) = looked(Some("2026-11-21T11:59:59Z"));
        assert!(state == State::Missing && found.contains("expired"), "{found}");
    }
}
