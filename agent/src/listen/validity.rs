//! Until when a certificate is good. What encrypts checks that of others' certificates and does
//! not tell it of one's own.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns the end of the validity of a certificate in DER; `None` if it is not one.
///
/// ```text
/// Certificate = { tbs = { [version], serial, algorithm, issuer, { notBefore, notAfter }, … }, … }
/// ```
pub(super) fn end(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, not_after) = time(validity)?;
    time(not_after).map(|(time, _)| time)
}

/// Reads a time and returns what follows it.
fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, century) = match element(bytes, UTC_TIME) {
        // Years from 50 on are of the last century.
        Some((text, rest)) => (text, rest, if *text.first()? < b'5' { "20" } else { "19" }),
        None => element(bytes, GENERALIZED_TIME).map(|(text, rest)| (text, rest, ""))?,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some((TimeZone::UTC.to_timestamp(time).ok()?, rest))
}

/// Reads an element of that kind: what it holds, and what follows it.
fn element(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = bytes else { return None };
    if *found != kind {
        return None;
    }
    // Up to 127 the byte is the length, else it says how many bytes are.
    let (length, rest) = match usize::from(*length) {
        short @ ..=127 => (short, rest),
        long => {
            let (digits, rest) = rest.split_at_checked(long - 128)?;
            let digits = digits.iter().try_fold(0_usize, |length, digit| {
                length.checked_mul(256)?.checked_add(usize::from(*digit))
            })?;
            (digits, rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A certificate as far as it is read here.
    fn certificate(version: bool, not_after: (u8, &str)) -> Vec<u8> {
        let of = |kind: u8, parts: &[&[u8]]| {
            let held = parts.concat();
            let length = u16::try_from(held.len()).unwrap().to_be_bytes();
            [&[kind, 0x82][..], &length, &held].concat()
        };
        let version = if version { of(VERSION, &[&of(INTEGER, &[&[2]])]) } else { Vec::new() };
        let (serial, name) = (of(INTEGER, &[&[7]]), of(SEQUENCE, &[]));
        let not_before = of(UTC_TIME, &[b"500101000000Z"]);
        let not_after = of(not_after.0, &[not_after.1.as_bytes()]);
        let validity = of(SEQUENCE, &[&not_before, &not_after]);
        of(SEQUENCE, &[&of(SEQUENCE, &[&version, &serial, &name, &name, &validity, &name])])
    }

    #[test]
    fn the_end_is_read_in_both_forms() {
        for (time, said) in [
            ((UTC_TIME, "270102030405Z"), "2027-01-02T03:04:05Z"),
            ((UTC_TIME, "991231235959Z"), "1999-12-31T23:59:59Z"),
            ((GENERALIZED_TIME, "20500101000000Z"), "2050-01-01T00:00:00Z"),
        ] {
            for version in [true, false] {
                let read = end(&certificate(version, time));
                assert_eq!(read.map(|end| end.to_string()).as_deref(), Some(said));
            }
        }
        for bad in ["", "2701", "271302030405Z", "270102030405"] {
            assert_eq!(end(&certificate(true, (UTC_TIME, bad))), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn anything_else_is_no_certificate(cut in 0..60_usize, bytes: Vec<u8>) {
            let whole = certificate(true, (UTC_TIME, "270102030405Z"));
            prop_assert_eq!(end(&whole[..cut]), None);
            let spoilt = [&whole[..cut], &bytes].concat();
            // It does not panic, whatever it makes of that.
            let _ = end(&spoilt);
        }
    }
}
