//! The forms in which a secret may turn up in a log: itself, its lines, and as programs encode it.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A line of a secret, or an encoded one, counts from this length on. Shorter ones, such as a
/// closing bracket, turn up where no secret is.
const MIN_LENGTH: usize = 8;

/// Returns all forms of `secret` that must be masked; none of an empty one.
///
/// Besides the secret itself: each of its lines, Base64 in both alphabets wherever in the encoded
/// text it may stand (as in `Basic` authorization), percent-encoded as in a URL, and escaped as
/// in JSON.
pub(crate) fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> =
        secret.split(|&byte| byte == b'\n').map(|line| line.trim_ascii().to_vec()).collect();
    for shift in 0..3 {
        forms.push(base64_at(shift, secret, &STANDARD_NO_PAD));
        forms.push(base64_at(shift, secret, &URL_SAFE_NO_PAD));
    }
    forms.extend([percent_encoded(secret, b"0123456789ABCDEF")]);
    forms.extend([percent_encoded(secret, b"0123456789abcdef")]);
    forms.extend(json_escaped(secret));
    forms.retain(|form| form.len() >= MIN_LENGTH);
    forms.push(secret.to_vec());
    forms.retain(|form| !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// Returns the characters that stand for `secret`, and for nothing beside it, in the Base64 of a
/// text in which it begins `shift` bytes (modulo 3) after the start.
fn base64_at(shift: usize, secret: &[u8], alphabet: &impl base64::Engine) -> Vec<u8> {
    let mut text = vec![0; shift];
    text.extend_from_slice(secret);
    let mut encoded = alphabet.encode(&text).into_bytes();
    // A character holds 6 bits: those that also hold bits of a neighbour can be anything.
    if !text.len().is_multiple_of(3) {
        encoded.pop();
    }
    let foreign = (shift * 8).div_ceil(6);
    encoded.drain(..foreign.min(encoded.len()));
    encoded
}

fn percent_encoded(secret: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(secret.len());
    for &byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.push(b'%');
            encoded.push(digits[usize::from(byte >> 4)]);
            encoded.push(digits[usize::from(byte & 15)]);
        }
    }
    encoded
}

fn json_escaped(secret: &[u8]) -> Option<Vec<u8>> {
    let quoted = serde_json::to_string(std::str::from_utf8(secret).ok()?).ok()?;
    Some(quoted.as_bytes()[1..quoted.len() - 1].to_vec())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;

    use super::*;
    use crate::supervisor::masker::Masker;

    fn masked(secret: &str, text: &str) -> String {
        let mut masker = Masker::new([secret.as_bytes()]);
        let mut out = Vec::new();
        masker.push(text.as_bytes(), &mut out);
        masker.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_masked_as_programs_show_it() {
        let secret = "p\"ss w/rd+12";
        for (shown, expected) in [
            ("p\"ss w/rd+12", "***"),
            (r#"{"key": "p\"ss w/rd+12"}"#, r#"{"key": "***"}"#),
            ("http://ana:p%22ss%20w%2Frd%2B12@host/", "http://ana:***@host/"),
            ("http://ana:p%22ss%20w%2frd%2b12@host/", "http://ana:***@host/"),
            ("cCJzcyB3L3JkKzEy", "***"),
        ] {
            assert_eq!(masked(secret, shown), expected);
        }
    }

    #[test]
    fn short_secrets_are_masked_as_they_are_only() {
        assert_eq!(forms(b"abc"), [b"abc"]);
        assert!(forms(b"").is_empty());
    }

    proptest! {
        /// Wherever a secret stands in a text, nothing of the middle of it is left in its Base64.
        #[test]
        fn base64_hides_no_secret(before in "[a-z:]{0,9}", after in "[a-z]{0,9}") {
            let secret = "s3cr3t-t0ken-0f-m1ne";
            for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let shown = alphabet.encode(format!("{before}{secret}{after}"));
                let out = masked(secret, &shown);
                prop_assert!(out.contains("***"), "{}", out);
                // At most one character on each side is left, which says four bits.
                let kept = out.replace("***", "").len();
                let beside = (before.len() + after.len()) * 8 / 6 + 4;
                prop_assert!(kept <= beside, "{} {}", out, beside);
            }
        }
    }
}
