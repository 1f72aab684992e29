//! The header of an entry in a tar archive: POSIX's, with GNU's records for what does not fit.

const BLOCK: usize = 512;

/// What an entry is.
pub(super) enum Kind {
    Directory,
    File { executable: bool },
    Link { target: Vec<u8> },
}

/// Returns the blocks before the content of an entry.
pub(super) fn header(path: &[u8], kind: &Kind, size: u64) -> Vec<u8> {
    let (mode, flag, target) = match kind {
        Kind::Directory => (0o755, b'5', &[][..]),
        Kind::File { executable: true } => (0o755, b'0', &[][..]),
        Kind::File { executable: false } => (0o644, b'0', &[][..]),
        Kind::Link { target } => (0o777, b'2', target.as_slice()),
    };
    let mut blocks = Vec::with_capacity(BLOCK);
    for (name, flag) in [(path, b'L'), (target, b'K')] {
        if name.len() > 100 {
            // The name in a record of its own, with a NUL.
            let length = name.len() + 1;
            blocks.extend(block(b"././@LongLink", b"", 0o644, length as u64, flag));
            blocks.extend(name);
            blocks.resize(blocks.len() + 1 + (BLOCK - length % BLOCK) % BLOCK, 0);
        }
    }
    blocks.extend(block(path, target, mode, size, flag));
    blocks
}

fn block(path: &[u8], target: &[u8], mode: u64, size: u64, flag: u8) -> [u8; BLOCK] {
    // 1980-01-01: the earliest that zip files know, which Python's packaging tools write.
    const TIME: u64 = 315_532_800;

    let mut block = [0; BLOCK];
    put_text(&mut block[..100], path);
    put_number(&mut block[100..108], mode);
    put_number(&mut block[108..116], 0);
    put_number(&mut block[116..124], 0);
    put_number(&mut block[124..136], size);
    put_number(&mut block[136..148], TIME);
    block[148..156].fill(b' ');
    block[156] = flag;
    put_text(&mut block[157..257], target);
    block[257..265].copy_from_slice(b"ustar  \0");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put_number(&mut block[148..155], sum);
    block
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// Octal digits and a NUL; a size over 8 GiB as GNU writes it.
fn put_number(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    if text.len() <= digits {
        field[..digits].copy_from_slice(text.as_bytes());
        return;
    }
    let bytes = number.to_be_bytes();
    let start = field.len() - bytes.len();
    field[start..].copy_from_slice(&bytes);
    field[0] |= 0x80;
}
