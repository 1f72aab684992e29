//! Durations as people write them: `90s`, `2h`, `1d12h`.

/// The units, longest first, with their seconds.
const UNITS: [(char, u64); 5] =
    [('w', 7 * 86_400), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a duration, such as 90s, 15m, 2h or 1d12h")]
pub struct InvalidDuration {
    given: String,
}

/// Reads a duration and returns its seconds.
///
/// A bare number is seconds. Units are `w`, `d`, `h`, `m`, `s`, each at most once, longest first.
///
/// # Errors
///
/// The text is something else, or more seconds than fit.
pub fn parse_seconds(given: &str) -> Result<u64, InvalidDuration> {
    let invalid = || InvalidDuration { given: given.to_owned() };
    if !given.is_empty() && given.bytes().all(|b| b.is_ascii_digit()) {
        return given.parse().map_err(|_| invalid());
    }
    let mut rest = given;
    let mut units = &UNITS[..];
    let mut total = 0_u64;
    while !rest.is_empty() || given.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit = rest[digits..].chars().next().ok_or_else(invalid)?;
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        total = count
            .checked_mul(units[at].1)
            .and_then(|seconds| total.checked_add(seconds))
            .ok_or_else(invalid)?;
        units = &units[at + 1..];
        rest = &rest[digits + unit.len_utf8()..];
    }
    Ok(total)
}

/// Prints seconds as [`parse_seconds`] reads them, in the fewest units.
#[must_use]
pub fn print_seconds(seconds: u64) -> String {
    let mut rest = seconds;
    let mut text = String::new();
    for (name, length) in UNITS {
        if rest >= length {
            text += &format!("{}{name}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let good = [("90", 90), ("90s", 90), ("0s", 0), ("15m", 900), ("2h", 7200)];
        for (text, seconds) in good {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        assert_eq!(parse_seconds("1d12h"), Ok(129_600));
        assert_eq!(parse_seconds("1w1s"), Ok(604_801));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let bad = [
            "",
            "s",
            "-1s",
            "+1s",
            "1.5h",
            "1 h",
            "1h ",
            "2h2h",
            "1s1h",
            "1x",
            "1h30",
            "1µs",
            "h1",
            "99999999999999999999",
            "99999999999999999w",
            "1é",
            "٣s",
        ];
        for text in bad {
            assert!(parse_seconds(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse_seconds("soon").unwrap_err().to_string(),
            "\"soon\" is not a duration, such as 90s, 15m, 2h or 1d12h"
        );
    }

    #[test]
    fn the_fewest_units_are_printed() {
        let printed: Vec<_> = [0, 59, 60, 3661, 129_600, 604_800].map(print_seconds).into();
        assert_eq!(printed, ["0s", "59s", "1m", "1h1m1s", "1d12h", "1w"]);
    }

    proptest! {
        #[test]
        fn a_printed_duration_is_read_back(seconds: u64) {
            prop_assert_eq!(parse_seconds(&print_seconds(seconds)), Ok(seconds));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            drop(parse_seconds(&text));
        }
    }
}
