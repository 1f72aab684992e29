//! Protocol buffers, as far as builds need them.

/// The fields of a message, in the order in which they come. Ends at the first that is broken.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Returns a message with `bytes` as its only field, number 1.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    let mut length = bytes.len();
    loop {
        let last = length < 0x80;
        message.push(length.to_le_bytes()[0] & 0x7f | if last { 0 } else { 0x80 });
        if last {
            break;
        }
        length >>= 7;
    }
    message.extend_from_slice(bytes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_written() {
        let long = vec![b'x'; 300];

        assert_eq!(Fields(&message(&long)).collect::<Vec<_>>(), [(1, Value::Bytes(&long))]);
        let mixed = [0x08, 0x96, 0x01, 0x12, 0x01, b'a', 0x1d, 1, 2, 3, 4];
        assert_eq!(
            Fields(&mixed).collect::<Vec<_>>(),
            [(1, Value::Number(150)), (2, Value::Bytes(b"a")), (3, Value::Bytes(&[1, 2, 3, 4]))]
        );
    }

    #[test]
    fn broken_messages_end_early() {
        for broken in [&[0x0a][..], &[0x0a, 5, 1], &[0x08, 0xff], &[0x0b], &[0xff; 12]] {
            assert_eq!(Fields(broken).count(), 0, "{broken:?}");
        }
    }
}
