//! The tracked and staged changes as one patch.
//!
//! Files go in as they lie in the work tree. git would first run them through filters; those are
//! programs, and what the run used is what lies there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use gix::bstr::{BStr, ByteSlice};
use gix::object::tree::EntryKind;
use similar::{DiffOp, TextDiff};

use super::AnyError;
use super::beneath::{self, Content};
use super::changes::Found;
use super::repository::Repository;

/// The largest patch, and the largest file that is compared.
pub(super) const LIMIT: usize = 10 << 20;
/// git looks this far for a zero byte to tell whether a file is binary.
const BINARY_WITHIN: usize = 8000;

/// A patch and what is not in it.
#[derive(Default)]
pub(super) struct Patch {
    pub(super) text: Vec<u8>,
    pub(super) notes: Vec<String>,
}

/// One side of a change.
#[derive(Debug, PartialEq, Eq)]
struct Side {
    /// As in a tree: `100644`.
    mode: &'static str,
    bytes: Vec<u8>,
}

/// What could be had of one side.
enum Got {
    Side(Option<Side>),
    TooLong,
}

/// Writes down how the work tree's tracked files differ from `HEAD`, as `git diff HEAD` would.
pub(super) fn write(
    repository: &Repository,
    found: &Found,
    deadline: Instant,
) -> Result<Patch, AnyError> {
    let mut patch = Patch::default();
    let tree = repository.git.find_tree(repository.git.head_tree_id_or_empty()?)?;
    let index = repository.git.index_or_empty()?;
    for (path, change) in &found.changes {
        if !change.staged && !change.tracked {
            continue;
        }
        let path = path.as_bstr();
        let old = committed(repository, &tree, path)?;
        let new = if index.entry_range(path).is_none() {
            Got::Side(None)
        } else if let Some(submodule) = found.submodules.get(path) {
            let dirty = if submodule.dirty { "-dirty" } else { "" };
            Got::Side(Some(subproject(&format!("{}{dirty}", submodule.commit))))
        } else {
            in_work_tree(repository, &index, path)?
        };
        match (old, new) {
            (Got::Side(old), Got::Side(new)) => {
                write_file(&mut patch.text, path, old.as_ref(), new.as_ref(), deadline)?;
            }
            (Got::TooLong, _) | (_, Got::TooLong) => {
                patch.notes.push(format!("the diff leaves out {path:?}: over {LIMIT} bytes"));
            }
        }
        if patch.text.len() > LIMIT {
            patch.text = Vec::new();
            patch.notes.push(format!("the diff is not recorded: over {LIMIT} bytes"));
            break;
        }
    }
    Ok(patch)
}

fn subproject(commit: &str) -> Side {
    Side { mode: "160000", bytes: format!("Subproject commit {commit}\n").into_bytes() }
}

fn committed(repository: &Repository, tree: &gix::Tree<'_>, path: &BStr) -> Result<Got, AnyError> {
    let Some(entry) = tree.lookup_entry(path.split(|byte| *byte == b'/'))? else {
        return Ok(Got::Side(None));
    };
    let mode = match entry.mode().kind() {
        EntryKind::Tree => return Ok(Got::Side(None)),
        EntryKind::Commit => return Ok(Got::Side(Some(subproject(&entry.id().to_string())))),
        EntryKind::Blob => "100644",
        EntryKind::BlobExecutable => "100755",
        EntryKind::Link => "120000",
    };
    let id = entry.object_id();
    if repository.git.find_header(id)?.size() > LIMIT as u64 {
        return Ok(Got::TooLong);
    }
    let bytes = repository.git.find_object(id)?.detach().data;
    Ok(Got::Side(Some(Side { mode, bytes })))
}

fn in_work_tree(
    repository: &Repository,
    index: &gix::index::State,
    path: &BStr,
) -> Result<Got, AnyError> {
    Ok(Got::Side(match beneath::read(&repository.root, path, LIMIT)? {
        Content::TooLong => return Ok(Got::TooLong),
        Content::Link(target) => Some(Side { mode: "120000", bytes: target }),
        Content::File { executable, bytes } => {
            Some(Side { mode: if executable { "100755" } else { "100644" }, bytes })
        }
        // A submodule that is not checked out is as it is recorded.
        Content::Nothing => index
            .entry_by_path(path)
            .filter(|entry| entry.mode == gix::index::entry::Mode::COMMIT)
            .map(|entry| subproject(&entry.id.to_string())),
    }))
}

/// Writes the change of one path in git's format. A change of type is a deletion and an addition.
fn write_file(
    out: &mut Vec<u8>,
    path: &BStr,
    old: Option<&Side>,
    new: Option<&Side>,
    deadline: Instant,
) -> Result<(), AnyError> {
    if old == new {
        return Ok(());
    }
    if let (Some(before), Some(after)) = (old, new)
        && before.mode[..3] != after.mode[..3]
    {
        write_file(out, path, old, None, deadline)?;
        return write_file(out, path, None, new, deadline);
    }
    let (a, b) = (quoted("a/", path), quoted("b/", path));
    let mut head = format!("diff --git {a} {b}\n");
    match (old, new) {
        (None, Some(new)) => writeln!(head, "new file mode {}", new.mode)?,
        (Some(old), None) => writeln!(head, "deleted file mode {}", old.mode)?,
        (Some(old), Some(new)) if old.mode != new.mode => {
            writeln!(head, "old mode {}\nnew mode {}", old.mode, new.mode)?;
        }
        _ => {}
    }
    out.write_all(head.as_bytes())?;
    let bytes = |side: Option<&Side>| side.map_or(Vec::new(), |side| side.bytes.clone());
    let (before, after) = (bytes(old), bytes(new));
    if before == after {
        return Ok(());
    }
    let name = |side: Option<&Side>, name: String| match side {
        // Without a tab the name would seem to end at its first space.
        Some(_) if path.contains(&b' ') => name + "\t",
        Some(_) => name,
        None => "/dev/null".to_owned(),
    };
    if binary(&before) || binary(&after) {
        let (a, b) = (name(old, a), name(new, b));
        writeln!(out, "Binary files {} and {} differ", a.trim_end(), b.trim_end())?;
        return Ok(());
    }
    writeln!(out, "--- {}\n+++ {}", name(old, a), name(new, b))?;
    write_hunks(out, &before, &after, deadline);
    Ok(())
}

fn binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(BINARY_WITHIN)].contains(&0)
}

fn write_hunks(out: &mut Vec<u8>, before: &[u8], after: &[u8], deadline: Instant) {
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = (lines(before), lines(after));
    // Past the deadline what is left is replaced as a whole, which is just as true.
    let diff = TextDiff::configure().deadline(deadline).diff_slices(&old, &new);
    for group in diff.grouped_ops(3) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let old_range = first.old_range().start..last.old_range().end;
        let new_range = first.new_range().start..last.new_range().end;
        let header = format!("@@ -{} +{} @@\n", span(&old_range), span(&new_range));
        out.extend(header.into_bytes());
        for op in group {
            if let DiffOp::Equal { .. } = op {
                write_lines(out, b' ', &old[op.old_range()]);
            } else {
                write_lines(out, b'-', &old[op.old_range()]);
                write_lines(out, b'+', &new[op.new_range()]);
            }
        }
    }
}

/// Splits behind each line feed, and nowhere else: a carriage return is part of its line.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

fn span(range: &std::ops::Range<usize>) -> String {
    match range.len() {
        // An empty range is named by the line before it.
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        count => format!("{},{count}", range.start + 1),
    }
}

fn write_lines(out: &mut Vec<u8>, sign: u8, lines: &[&[u8]]) {
    for line in lines {
        out.push(sign);
        out.extend(*line);
        if !line.ends_with(b"\n") {
            out.extend(b"\n\\ No newline at end of file\n");
        }
    }
}

/// Writes a name as git does, in quotes when it holds anything but plain characters.
fn quoted(prefix: &str, path: &BStr) -> String {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if path.iter().all(plain) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for byte in path.iter() {
        if plain(byte) {
            text.push(char::from(*byte));
        } else {
            text += &format!("\\{byte:03o}");
        }
    }
    text + "\""
}
