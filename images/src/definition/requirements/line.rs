//! The lines of a requirements file, read as pip reads them.

use super::super::{DefinitionError, Place};
use super::url;

/// One line, with the lines that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Of its first line in the file, counted from 1.
    pub(crate) number: usize,
    /// How many lines of the file it takes up.
    pub(crate) span: usize,
    /// The text, joined, without comments.
    pub(crate) text: String,
    pub(crate) kind: LineKind,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A package, with a version, a marker, hashes.
    Requirement,
    /// `-r` or `-c`.
    Include { target: String, constraint: bool },
    /// How packages are found and chosen: `--index-url` and its like.
    Options,
}

/// Options with a value that say where and how packages are found.
const OPTIONS_WITH_VALUE: &[&str] = &[
    "-i",
    "--index-url",
    "--pypi-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
    "--use-feature",
];
/// Those of them whose value is a place.
const LOCATIONS: &[&str] =
    &["-i", "--index-url", "--pypi-url", "--extra-index-url", "-f", "--find-links"];
const OPTIONS_WITHOUT_VALUE: &[&str] =
    &["--no-index", "--pre", "--prefer-binary", "--require-hashes"];
/// Options that follow a requirement on its line.
const REQUIREMENT_OPTIONS: &[&str] =
    &["--hash", "--config-settings", "--config-setting", "--global-option"];
/// What pip takes for an archive on disk.
const ARCHIVES: &[&str] = &[
    ".whl",
    ".zip",
    ".tar.gz",
    ".tgz",
    ".tar",
    ".tar.bz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tlz",
    ".tar.lz",
    ".tar.lzma",
];

/// Returns the lines of `text` that say something.
///
/// # Errors
///
/// [`DefinitionError`] for lines that are not understood, not served or hold a secret.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Line>, DefinitionError> {
    let mut lines = Vec::new();
    for (number, span, joined) in join(text) {
        let text = without_comment(&joined).trim();
        if text.is_empty() {
            continue;
        }
        let place = Place { file: file.to_owned(), line: number };
        let kind = classify(text, &place)?;
        lines.push(Line { number, span, text: text.to_owned(), kind });
    }
    Ok(lines)
}

/// Returns the names in `text` that pip would replace: `${NAME}` in capitals.
pub(crate) fn variables(text: &str) -> Vec<String> {
    pieces(text)
        .into_iter()
        .filter(|(_, is_name)| *is_name)
        .map(|(piece, _)| piece.to_owned())
        .collect()
}

/// Returns `text` with the variables replaced that `value` knows.
pub(crate) fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    for (piece, is_name) in pieces(text) {
        match is_name.then(|| value(piece)) {
            None => expanded += piece,
            Some(Some(value)) => expanded += &value,
            Some(None) => expanded += &format!("${{{piece}}}"),
        }
    }
    expanded
}

/// Splits `text` into plain pieces and names of variables, which are marked as such.
fn pieces(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut plain = 0;
    while let Some(start) = rest[plain..].find("${").map(|at| at + plain) {
        let name_end = rest[start + 2..].find('}').map(|at| at + start + 2);
        let name = name_end.map_or("", |end| &rest[start + 2..end]);
        let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(capital) {
            plain = start + 2;
            continue;
        }
        found.push((&rest[..start], false));
        found.push((name, true));
        rest = &rest[start + 2 + name.len() + 1..];
        plain = 0;
    }
    found.push((rest, false));
    found
}

/// Joins lines that end in a backslash: (number of the first, how many, text).
fn join(text: &str) -> Vec<(usize, usize, String)> {
    let mut joined = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let comment = without_comment(line).len() < line.len();
        let (start, mut so_far) = open.take().unwrap_or((number, String::new()));
        if line.ends_with('\\') && !comment {
            so_far += line.trim_end_matches('\\');
            open = Some((start, so_far));
            continue;
        }
        if comment {
            // So that a comment after a continued line is one.
            so_far.push(' ');
        }
        so_far += line;
        joined.push((start, number + 1 - start, so_far));
    }
    if let Some((start, so_far)) = open {
        joined.push((start, text.lines().count() + 1 - start, so_far));
    }
    joined
}

/// Cuts a comment off: a `#` at the start or after white space.
fn without_comment(line: &str) -> &str {
    let start = line.char_indices().find(|(at, c)| {
        *c == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace)
    });
    start.map_or(line, |(at, _)| &line[..at])
}

fn classify(text: &str, place: &Place) -> Result<LineKind, DefinitionError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(DefinitionError::Malformed { place: place.clone() });
    }
    if url::has_credentials(text) {
        return Err(DefinitionError::Credentials { place: place.clone() });
    }
    if text.starts_with('-') { option_line(text, place) } else { requirement(text, place) }
}

fn option_line(text: &str, place: &Place) -> Result<LineKind, DefinitionError> {
    let words = words(text).ok_or_else(|| DefinitionError::Malformed { place: place.clone() })?;
    let mut words = words.iter().map(String::as_str).peekable();
    let mut include = None;
    let mut others = false;
    let mut last = "";
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            let option = last.to_owned();
            return Err(DefinitionError::OptionValue { option, place: place.clone() });
        }
        let (option, attached) = split_option(word);
        last = option;
        let known = known_option(option);
        let value = |words: &mut dyn Iterator<Item = &str>| {
            attached
                .or_else(|| words.next().map(str::to_owned))
                .filter(|value| !value.is_empty())
                .ok_or_else(|| DefinitionError::OptionValue {
                    option: option.to_owned(),
                    place: place.clone(),
                })
        };
        match known {
            Known::Include { constraint } => {
                let target = value(&mut words)?;
                check_target(&target, place)?;
                if include.replace(LineKind::Include { target, constraint }).is_some() {
                    return Err(DefinitionError::OptionValue {
                        option: option.to_owned(),
                        place: place.clone(),
                    });
                }
            }
            Known::Value => {
                let value = value(&mut words)?;
                others = true;
                if LOCATIONS.contains(&option) && !value.starts_with("file:") && !is_remote(&value)
                {
                    return Err(not_yet(
                        "an index or a directory of packages on the local disk",
                        place,
                    ));
                }
                if value.starts_with("file:") {
                    return Err(not_yet("a file: URL", place));
                }
            }
            Known::Plain => others = true,
            Known::Editable => return Err(not_yet("an editable requirement", place)),
            Known::No => {
                return Err(DefinitionError::UnknownOption {
                    option: option.to_owned(),
                    place: place.clone(),
                });
            }
        }
    }
    match include {
        Some(_) if others => {
            Err(DefinitionError::OptionValue { option: "-r".to_owned(), place: place.clone() })
        }
        Some(include) => Ok(include),
        None => Ok(LineKind::Options),
    }
}

enum Known {
    Include { constraint: bool },
    Value,
    Plain,
    Editable,
    No,
}

fn known_option(option: &str) -> Known {
    match option {
        "-r" | "--requirement" | "--requirements" => Known::Include { constraint: false },
        "-c" | "--constraint" | "--constraints" => Known::Include { constraint: true },
        "-e" | "--editable" => Known::Editable,
        _ if OPTIONS_WITH_VALUE.contains(&option) => Known::Value,
        _ if OPTIONS_WITHOUT_VALUE.contains(&option) => Known::Plain,
        _ => Known::No,
    }
}

/// Splits `--option=value` and `-ovalue`.
fn split_option(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word, None),
        };
    }
    let end = word.char_indices().nth(2).map_or(word.len(), |(at, _)| at);
    let (option, value) = word.split_at(end);
    let value = value.strip_prefix('=').unwrap_or(value);
    (option, (!value.is_empty()).then(|| value.to_owned()))
}

fn check_target(target: &str, place: &Place) -> Result<(), DefinitionError> {
    if target.contains("${") {
        return Err(not_yet("a variable in the name of a file", place));
    }
    if target.starts_with("file:") {
        return Err(not_yet("a file: URL", place));
    }
    if target.contains("://") {
        return Err(not_yet("a requirements file from a URL", place));
    }
    Ok(())
}

fn requirement(text: &str, place: &Place) -> Result<LineKind, DefinitionError> {
    for word in text.split_whitespace().skip(1).filter(|word| word.starts_with('-')) {
        let option = word.split('=').next().unwrap_or(word);
        if !REQUIREMENT_OPTIONS.contains(&option) {
            return Err(DefinitionError::UnknownOption {
                option: option.to_owned(),
                place: place.clone(),
            });
        }
    }
    // The end of the requirement proper: a marker or an option.
    let proper = text.split(" -").next().unwrap_or(text);
    let proper = match proper.find("://") {
        // In a URL a semicolon needs white space before it to start a marker.
        Some(_) => proper.split(" ;").next().unwrap_or(proper),
        None => proper.split(';').next().unwrap_or(proper),
    };
    let source = match proper.split_once('@') {
        Some((name, source)) if is_name(name) => source.trim(),
        _ => proper.trim(),
    };
    if source.contains("file:") && url_scheme(source).is_some_and(|scheme| scheme.ends_with("file"))
        || source.starts_with("file:")
    {
        return Err(not_yet("a file: URL", place));
    }
    if is_remote(source) {
        return Ok(LineKind::Requirement);
    }
    let direct = proper.trim() != source;
    let lower = source.to_ascii_lowercase();
    if direct
        || source.starts_with(['.', '/', '~'])
        || source.contains('/')
        || ARCHIVES.iter().any(|ending| lower.ends_with(ending))
    {
        return Err(not_yet("a requirement on the local disk", place));
    }
    Ok(LineKind::Requirement)
}

fn not_yet(what: &'static str, place: &Place) -> DefinitionError {
    DefinitionError::NotYet { what, place: place.clone() }
}

fn url_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (!scheme.is_empty() && scheme.chars().all(plain)).then_some(scheme)
}

/// Whether `text` is a URL of another machine, or a variable that may hold one.
fn is_remote(text: &str) -> bool {
    text.starts_with("${")
        || text.contains("://") && url_scheme(text).is_some_and(|scheme| !scheme.ends_with("file"))
}

/// Whether `text` can stand before the `@` of a direct reference: a name, perhaps with extras.
fn is_name(text: &str) -> bool {
    let text = text.trim();
    let (name, extras) = text.split_once('[').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.trim().is_empty()
        && name.trim().chars().all(plain)
        && extras.chars().all(|c| plain(c) || ",] ".contains(c))
}

/// Splits as a shell does, with its quotation marks; `None` if one is left open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().push(rest.next()?),
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
