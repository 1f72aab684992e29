//! Sizes, durations and times, for people.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

/// Returns a size in decimal units, as disks are sold and `ls -h --si` says: `4.1 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut unit, mut divisor) = (0, 1000u64);
    // Tenths are rounded half up, so 999,950 is 1.0 MB and not 1000.0 kB.
    while unit + 1 < UNITS.len() && u128::from(bytes) * 20 >= u128::from(divisor) * 19_999 {
        divisor *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 20 / u128::from(divisor)).div_ceil(2);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Returns a duration with its two largest units: `1m 12s`, `3.4s`, `2h 05m`, `250ms`.
pub(crate) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{}.{}s", seconds, length.subsec_millis() / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Returns the time between two moments, none if they are the wrong way round.
pub(crate) fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

/// Returns how long ago something was: `just now`, `5m ago`, `3d ago`.
pub(crate) fn ago(moment: Timestamp, now: Timestamp) -> String {
    let seconds = between(moment, now).as_secs();
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        86_400..2_592_000 => format!("{}d ago", seconds / 86_400),
        2_592_000..31_536_000 => format!("{}mo ago", seconds / 2_592_000),
        _ => format!("{}y ago", seconds / 31_536_000),
    }
}

/// Returns a moment as programs want it: RFC 3339, UTC, to the second.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a number of things: `1 file`, `2,000 files`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + thing.len() + 4);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = match thing {
        _ if number == 1 => thing.to_owned(),
        thing if thing.ends_with("ory") => format!("{}ies", &thing[..thing.len() - 1]),
        thing => format!("{thing}s"),
    };
    write!(text, " {plural}").expect("a string takes every text");
    text
}

/// Returns a metric's value without noise: `0.31`, `12`, `1.5e-7`.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == value.trunc() && magnitude < 1e9 {
        format!("{value:.0}")
    } else if (1e-3..1e9).contains(&magnitude) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else if value.is_finite() {
        format!("{value:.2e}")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits_before_the_point() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1949, "1.9 kB"),
            (1950, "2.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (4_100_000, "4.1 MB"),
            (20 << 30, "21.5 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_show_their_two_largest_units() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (3_400, "3.4s"),
            (59_999, "59.9s"),
            (72_000, "1m 12s"),
            (3_599_000, "59m 59s"),
            (7_500_000, "2h 05m"),
            (90_000_000, "1d 01h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        for (seconds, text) in [
            (-10, "just now"),
            (4, "just now"),
            (59, "59s ago"),
            (60, "1m ago"),
            (7_200, "2h ago"),
            (172_800, "2d ago"),
            (5_184_000, "2mo ago"),
            (63_072_000, "2y ago"),
        ] {
            let moment = Timestamp::from_second(2_000_000_000 - seconds).unwrap();
            assert_eq!(ago(moment, now), text);
        }
        assert_eq!(rfc3339(now), "2033-05-18T03:33:20Z");
    }

    #[test]
    fn counts_read_as_english() {
        for (number, thing, text) in [
            (1, "file", "1 file"),
            (0, "file", "0 files"),
            (2_000, "file", "2,000 files"),
            (1_234_567, "directory", "1,234,567 directories"),
        ] {
            assert_eq!(count(number, thing), text);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.31, "0.31"),
            (12.0, "12"),
            (-1.0, "-1"),
            (3424.3167, "3424.3167"),
            (1.5e-7, "1.50e-7"),
            (f64::NAN, "NaN"),
            (1e12, "1.00e12"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
