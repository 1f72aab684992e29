//! Requirements files in the one form that the environment key is made of.

use std::collections::{BTreeMap, BTreeSet};

use snapshots::digest::Digest;

use super::line::{LineKind, expand};
use super::url::without_credentials;
use super::{Parsed, Requirements};

/// A line in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanonicalLine {
    /// As it counts.
    pub(crate) text: String,
    /// As it may be shown and kept: a variable's value is not in it, but what tells it from others.
    pub(crate) shown: String,
    /// The lines of the file whose digest it holds, as they may be shown.
    pub(crate) contains: Vec<String>,
}

impl CanonicalLine {
    /// Returns a line that may be shown as it is.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), text, contains: Vec::new() }
    }

    /// Returns the digest of a text that is too long for a line, and the lines that tell what it is.
    pub(crate) fn digest(text: &str, contains: Vec<String>) -> Self {
        Self { contains, ..Self::plain(Digest::of(text.as_bytes()).to_string()) }
    }
}

/// Returns the lines that say what the first of the files asks for, with the files it names as
/// digests of theirs.
///
/// Names of files, comments, white space, case and punctuation of package names, and the order of
/// requirements are gone; the order of index options stays, as the first index can win. Variables
/// count by value where they stand for something that decides what is installed. In a line with a
/// URL they count by name: there they are credentials, which change by themselves.
pub(crate) fn canonical_lines(
    requirements: &Requirements<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<CanonicalLine> {
    lines(requirements, &requirements.files[0], variable)
}

fn lines(
    requirements: &Requirements<'_>,
    file: &Parsed<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Vec<CanonicalLine> {
    let mut unordered = BTreeMap::new();
    let mut ordered = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let written = without_credentials(&line.text);
        let text =
            if line.text.contains("://") { written.clone() } else { expand(&line.text, variable) };
        match &line.kind {
            LineKind::Requirement => {
                let line = canonical(requirement, &text, &written);
                unordered.insert(line.text.clone(), line);
            }
            LineKind::Options => ordered.push(canonical(one_space, &text, &written)),
            LineKind::Include { constraint, .. } => {
                let inner = lines(requirements, &requirements.files[file.includes[&at]], variable);
                let line = include(*constraint, inner);
                unordered.insert(line.text.clone(), line);
            }
        }
    }
    ordered.extend(unordered.into_values());
    ordered
}

/// Puts a line into its one form. `text` is what was `written` with variables replaced.
fn canonical(form: fn(&str) -> String, text: &str, written: &str) -> CanonicalLine {
    let counts = form(text);
    let shown = if text == written {
        counts.clone()
    } else {
        format!("{} ({})", form(written), Digest::of(counts.as_bytes()).short(8))
    };
    CanonicalLine { text: counts, shown, contains: Vec::new() }
}

/// Returns the line that stands for a file with the lines `inner`.
fn include(constraint: bool, inner: Vec<CanonicalLine>) -> CanonicalLine {
    let texts: Vec<&str> = inner.iter().map(|line| line.text.as_str()).collect();
    let digest = Digest::of(texts.join("\n").as_bytes());
    let option = if constraint { "-c" } else { "-r" };
    let text = format!("{option} {digest}");
    let mut contains = Vec::new();
    for line in inner {
        if line.contains.is_empty() {
            contains.push(format!("{option} {}", line.shown));
        } else {
            contains.extend(line.contains.into_iter().map(|line| format!("{option} {line}")));
        }
    }
    CanonicalLine { shown: text.clone(), text, contains }
}

/// Returns a requirement in its one form: `name[a,b]<2,>=1; marker --hash=…`.
pub(crate) fn requirement(text: &str) -> String {
    let (proper, options) = match text.split_once(" -") {
        Some((proper, options)) => (proper.trim(), format!("-{options}")),
        None => (text.trim(), String::new()),
    };
    let mut options: Vec<&str> = options.split_whitespace().collect();
    // Only hashes are a set; a setting's value may be a word of its own.
    if options.iter().all(|option| option.starts_with("--hash=")) {
        options.sort_unstable();
    }
    let name_end = proper
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .unwrap_or(proper.len());
    let (name, rest) = proper.split_at(name_end);
    let rest = rest.trim();
    let mut canonical = if rest.starts_with("://") || rest.starts_with('+') || rest.starts_with('$')
    {
        one_space(proper)
    } else {
        normalized(name) + &detail(rest)
    };
    for option in options {
        canonical.push(' ');
        canonical += option;
    }
    canonical
}

/// Puts extras and versions in order.
fn detail(rest: &str) -> String {
    let (extras, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((extras, rest)) => (sorted(extras, normalized), rest.trim()),
        None => (String::new(), rest),
    };
    let extras = if extras.is_empty() { extras } else { format!("[{extras}]") };
    if rest.contains("://") {
        return extras + &one_space(rest);
    }
    let (versions, marker) = rest.split_once(';').unwrap_or((rest, ""));
    let versions = versions.trim().trim_start_matches('(').trim_end_matches(')');
    let versions = sorted(versions, |one| one.split_whitespace().collect());
    let marker = one_space(marker.trim());
    if marker.is_empty() { extras + &versions } else { format!("{extras}{versions}; {marker}") }
}

fn sorted(list: &str, form: impl Fn(&str) -> String) -> String {
    let parts: BTreeSet<String> =
        list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(form).collect();
    parts.into_iter().collect::<Vec<_>>().join(",")
}

/// Returns the name by which an index knows a package.
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Makes runs of white space one space, except between quotation marks.
fn one_space(text: &str) -> String {
    let mut result = String::new();
    let mut quote = None;
    let mut space = false;
    for c in text.trim().chars() {
        if quote.is_none() && c.is_whitespace() {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            result.push(' ');
        }
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
        }
        result.push(c);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_have_one_form() {
        let forms: Vec<String> = [
            "Foo.Bar",
            "foo_bar  [ B_c , a ]  >= 1 , <2",
            "foo (>=1)",
            "foo==1;python_version<'3.9'  and  os_name == 'a  b'",
            "foo==1 --hash=sha256:bb   --hash=sha256:aa",
            "foo @  https://h/foo.whl ; os_name == 'a'",
            "git+https://h/foo@v1#egg=Foo",
            "foo==1 --config-settings b=1 --config-settings a=2",
        ]
        .into_iter()
        .map(requirement)
        .collect();

        insta::assert_snapshot!(forms.join("\n"), @r#"
        foo-bar
        foo-bar[a,b-c]<2,>=1
        foo>=1
        foo==1; python_version<'3.9' and os_name == 'a  b'
        foo==1 --hash=sha256:aa --hash=sha256:bb
        foo@ https://h/foo.whl ; os_name == 'a'
        git+https://h/foo@v1#egg=Foo
        foo==1 --config-settings b=1 --config-settings a=2
        "#);
    }
}
