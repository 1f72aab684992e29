//! Sizes as Docker and people write them: `512m`, `2g`, `1GiB`.

/// Units by their letter; all are powers of 1024, as in Docker.
const UNITS: [(&str, u32); 6] = [("", 0), ("k", 10), ("m", 20), ("g", 30), ("t", 40), ("p", 50)];

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a size, such as 512m or 2g")]
pub struct InvalidSize {
    given: String,
}

/// Reads a size and returns its bytes.
///
/// A bare number is bytes. `k`, `m`, `g`, `t` and `p` are powers of 1024 in either case, also
/// written `kb` or `KiB`. A whole number stands before the unit.
///
/// # Errors
///
/// The text is something else, or more bytes than fit.
pub fn parse_bytes(given: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize { given: given.to_owned() };
    let digits = given.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = given[..digits].parse().map_err(|_| invalid())?;
    let unit = given[digits..].to_ascii_lowercase();
    let letter = match unit.as_str() {
        "b" => "",
        // "ib" alone is no unit: it would leave no letter.
        other => match other.strip_suffix("ib").filter(|letter| !letter.is_empty()) {
            Some(letter) => letter,
            None => other.strip_suffix('b').unwrap_or(other),
        },
    };
    let (_, shift) = UNITS.iter().find(|(name, _)| *name == letter).ok_or_else(invalid)?;
    count.checked_mul(1 << shift).ok_or_else(invalid)
}

/// Prints bytes as [`parse_bytes`] reads them, in the largest unit that needs no fraction.
#[must_use]
pub fn print_bytes(bytes: u64) -> String {
    let fits = |(_, shift): &&(&str, u32)| bytes != 0 && bytes.is_multiple_of(1 << shift);
    let (name, shift) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
    format!("{}{name}", bytes >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_docker_writes_them() {
        let good = [("0", 0), ("17", 17), ("17b", 17), ("2g", 2 << 30), ("512M", 512 << 20)];
        for (text, bytes) in good {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["1k", "1kb", "1KB", "1KiB", "1kib"] {
            assert_eq!(parse_bytes(text), Ok(1024), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let bad = [
            "", "g", "-1g", "1.5g", "1 g", "1gg", "1ib", "1bb", "1e", "20000p", "1gibb", "٣k", "1é",
        ];
        for text in bad {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(
            parse_bytes("big").unwrap_err().to_string(),
            "\"big\" is not a size, such as 512m or 2g"
        );
    }

    #[test]
    fn the_largest_whole_unit_is_printed() {
        let printed: Vec<_> = [0, 1023, 1024, 1536, 2 << 30].map(print_bytes).into();
        assert_eq!(printed, ["0", "1023", "1k", "1536", "2g"]);
    }

    proptest! {
        #[test]
        fn a_printed_size_is_read_back(bytes: u64) {
            prop_assert_eq!(parse_bytes(&print_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            drop(parse_bytes(&text));
        }
    }
}
