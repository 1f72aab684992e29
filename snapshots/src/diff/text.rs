//! The difference between two files, for people to read.

use std::time::Duration;

use similar::{Algorithm, ChangeTag, TextDiff};

use super::{Change, ChangeKind};

/// Files of more bytes are not compared line by line.
const MOST_BYTES: usize = 4 << 20;
/// How far into a file a zero byte is looked for, as git does.
const BINARY_WITHIN: usize = 8000;
/// After that long a longer difference is good enough.
const DEADLINE: Duration = Duration::from_secs(2);

/// Returns the unified difference that a change makes, given its two contents, byte for byte as
/// they are; `None` stands for a file that is not there. Binary and very long files are only said
/// to differ. Whoever shows it on a terminal takes out what could move the cursor.
#[must_use]
pub fn unified(change: &Change, old: Option<&[u8]>, new: Option<&[u8]>) -> Vec<u8> {
    let old_path = match &change.kind {
        ChangeKind::Renamed { from } => from,
        _ => &change.path,
    };
    if old == new {
        return Vec::new();
    }
    let name = |side: &[u8], path: &[u8], content: Option<&[u8]>| match content {
        Some(_) => [side, path].concat(),
        None => b"/dev/null".to_vec(),
    };
    let (old_name, new_name) = (name(b"a/", old_path, old), name(b"b/", &change.path, new));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let only_said = if is_binary(old) || is_binary(new) {
        Some("Binary files ")
    } else if old.len().max(new.len()) > MOST_BYTES {
        Some("Long files ")
    } else {
        None
    };
    if let Some(what) = only_said {
        return [what.as_bytes(), &old_name, b" and ", &new_name, b" differ\n"].concat();
    }
    let mut out = [b"--- ", old_name.as_slice(), b"\n+++ ", &new_name, b"\n"].concat();
    let diff =
        TextDiff::configure().algorithm(Algorithm::Myers).timeout(DEADLINE).diff_lines(old, new);
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        out.extend_from_slice(format!("{}\n", hunk.header()).as_bytes());
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                ChangeTag::Equal => b' ',
                ChangeTag::Delete => b'-',
                ChangeTag::Insert => b'+',
            };
            out.push(sign);
            out.extend_from_slice(change.value());
            if change.missing_newline() {
                out.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

fn is_binary(content: &[u8]) -> bool {
    memchr::memchr(0, &content[..content.len().min(BINARY_WITHIN)]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(old: Option<&[u8]>, new: Option<&[u8]>) -> String {
        let change =
            Change { path: b"a.py".to_vec(), kind: ChangeKind::Changed, old: None, new: None };
        unified(&change, old, new).escape_ascii().to_string().replace("\\n", "\n")
    }

    #[test]
    fn lines_that_differ_are_shown_with_their_surroundings() {
        let old = b"1\n2\n3\n4\n5\n6\n7\n8\n";
        let new = b"1\n2\n3\n4\nfive \xff\n6\n7\n8";
        insta::assert_snapshot!(between(Some(old), Some(new)), @r#"
        --- a/a.py
        +++ b/a.py
        @@ -2,7 +2,7 @@
         2
         3
         4
        -5
        +five \xff
         6
         7
        -8
        +8
        \\ No newline at end of file
        "#);
    }

    #[test]
    fn a_new_file_is_compared_with_nothing() {
        insta::assert_snapshot!(between(None, Some(b"x\n")), @r#"
        --- /dev/null
        +++ b/a.py
        @@ -0,0 +1 @@
        +x
        "#);
    }

    #[test]
    fn binary_and_long_files_are_only_said_to_differ() {
        insta::assert_snapshot!(between(Some(b"a\0b"), Some(b"a\0c")), @"Binary files a/a.py and b/a.py differ");
        let long = vec![b'x'; MOST_BYTES + 1];
        insta::assert_snapshot!(between(Some(&long), Some(b"x")), @"Long files a/a.py and b/a.py differ");
        assert_eq!(between(Some(&long), Some(&long)), "");
    }
}
