//! Tokens: what whoever asks over TCP shows in place of the kernel's word on who they are.
//!
//! A token is 256 random bits. It is shown once, when it is made; the records keep its SHA-256,
//! which tells a token again and cannot be turned back into one. It is looked up by that digest,
//! so that how long a wrong one takes says nothing of the right ones.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use utoipa::ToSchema;

use crate::store::TokenRow;

/// What every token begins with, so that people and scanners of secrets know one.
const PREFIX: &str = "ty_";

/// The bytes of a token that are random.
const RANDOM: usize = 32;

/// How long a token is good for where nobody says otherwise, in seconds: 90 days.
pub(crate) const DEFAULT_LIFETIME: u64 = 90 * 86_400;

/// The longest time that can be asked for, in seconds: ten years.
const LONGEST_LIFETIME: u64 = 3_650 * 86_400;

/// What a token lets its bearer do, of what the user may who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenScope {
    /// Looks, and changes nothing
    Read,
    /// Does what a user may
    Write,
    /// Does what who looks after the agent may
    Admin,
}

impl TokenScope {
    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// Returns the scope of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin].into_iter().find(|scope| scope.name() == name)
    }

    /// Says whether a request that only looks, or one that may change something, is within it.
    pub(crate) fn covers(self, only_looks: bool) -> bool {
        only_looks || self != Self::Read
    }
}

/// A token, which does not print by accident.
pub(crate) struct Token(String);

impl Token {
    /// Makes one that nobody has.
    pub(crate) fn generate() -> Self {
        let random: [u8; RANDOM] = rand::random();
        Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
    }

    /// Takes what has the form of a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let random = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (random.len() == RANDOM).then(|| Self(text.to_owned()))
    }

    /// Returns what the records know it by.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Returns the token itself, for the one who is to have it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a token does not let its bearer in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefused {
    /// There is none.
    #[error("whoever asks over TCP has to show a token")]
    Missing,
    /// The header holds something else.
    #[error("what the Authorization header holds is no token of an agent")]
    Malformed,
    /// None of the records' has this digest.
    #[error("this agent knows no such token: it was revoked, or is another agent's")]
    Unknown,
    /// It was good once.
    #[error("the token {name:?} expired at {at}")]
    Expired {
        /// What its user called it.
        name: String,
        /// Until when it was good.
        at: Timestamp,
    },
    /// Its user may not use the agent any more.
    #[error("the token {name:?} is of uid {uid}, who may not connect to this agent's socket")]
    ShutOut {
        /// What its user called it.
        name: String,
        /// The user.
        uid: u32,
    },
}

impl TokenRow {
    /// Says whether it still counts at `now`.
    ///
    /// # Errors
    ///
    /// [`TokenRefused::Expired`].
    pub(crate) fn is_good(&self, now: Timestamp) -> Result<(), TokenRefused> {
        match self.expires {
            Some(at) if at <= now => Err(TokenRefused::Expired { name: self.name.clone(), at }),
            _ => Ok(()),
        }
    }
}

/// Reads how long a token is to be good for; `None` is for ever.
///
/// # Errors
///
/// No time, or more than ten years: what is wrong with it.
pub(crate) fn expiry(lifetime: Option<u64>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let Some(seconds) = lifetime else { return Ok(None) };
    if !(1..=LONGEST_LIFETIME).contains(&seconds) {
        return Err("a token expires after 1 s to 3650 days, or never".to_owned());
    }
    let length = std::time::Duration::from_secs(seconds);
    now.checked_add(length).map(Some).map_err(|error| error.to_string())
}

/// Checks what a token is to be called.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() <= 64 && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name for a token: 1 to 64 letters, digits and -_.@, a letter or digit first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_again_and_never_twice_the_same() {
        let [one, other] = [Token::generate(), Token::generate()];

        assert_ne!(one.reveal(), other.reveal());
        let again = Token::parse(one.reveal()).unwrap();
        assert_eq!(again.digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert_eq!(format!("{one:?}"), "***");
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        let token = Token::generate();
        let short = &token.reveal()[..token.reveal().len() - 1];
        let long = format!("{}A", token.reveal());
        let bare = token.reveal().strip_prefix(PREFIX).unwrap();
        for bad in ["", "ty_", short, &long, bare, "ty_ä", &"x".repeat(1 << 20)] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_expires_when_it_was_asked_to() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let at = |lifetime| expiry(lifetime, now).map(|at| at.map(Timestamp::as_second));

        assert_eq!(at(Some(60)), Ok(Some(1_700_000_060)));
        assert_eq!(at(None), Ok(None));
        for bad in [0, LONGEST_LIFETIME + 1, u64::MAX] {
            assert!(at(Some(bad)).unwrap_err().contains("3650 days"), "{bad}");
        }
    }

    #[test]
    fn names_are_words() {
        for good in ["ci", "laptop.ana", "a@b_c-9", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "-x", "a b", "a/b", "\u{1b}[2J", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_that_reads_changes_nothing() {
        for scope in [TokenScope::Read, TokenScope::Write, TokenScope::Admin] {
            assert_eq!(TokenScope::named(scope.name()), Some(scope));
            assert!(scope.covers(true));
            assert_eq!(scope.covers(false), scope != TokenScope::Read);
        }
        assert_eq!(TokenScope::named("root"), None);
    }
}
