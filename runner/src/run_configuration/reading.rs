//! What the readers of both file formats share: typed access to a document's keys, with messages
//! that say which key and where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::yaml::Node;
use super::{ConfigurationError, Note, Place, Problem};

/// A file that has been parsed.
pub(super) struct Document {
    /// Where it is, as it was named: for messages.
    pub(super) named: PathBuf,
    /// Where it is, absolute.
    pub(super) path: PathBuf,
    /// Its text, without a byte order mark.
    pub(super) text: String,
    pub(super) root: Node,
}

impl Document {
    pub(super) fn problem(&self, at: &Node, text: impl Into<String>) -> ConfigurationError {
        let problem = Problem::at(&self.text, at.line, at.column, text);
        let source = Box::new(without_password(problem, &self.text));
        ConfigurationError::Content { path: self.named.clone(), source }
    }

    pub(super) fn note(&self, key: &str, at: &Node, text: impl Into<String>) -> Note {
        let place = Place { file: self.named.clone(), line: at.line };
        Note { key: key.to_owned(), text: text.into(), place: Some(place) }
    }

    /// Returns the folder the file is in.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.parent().map(PathBuf::from).unwrap_or_default()
    }
}

/// Leaves the line out of a message about `document` if a password may be on it.
pub(super) fn without_password(problem: Problem, document: &str) -> Problem {
    let line = document.lines().nth(problem.line.saturating_sub(1)).unwrap_or_default();
    let is_secret = line.to_ascii_lowercase().contains("password");
    let snippet = if is_secret { String::new() } else { problem.snippet };
    Problem { snippet, ..problem }
}

/// Which spellings of a key are the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `nodeCount`, `node_count` and `NodeCount`, as the SDK reads them.
    Any,
    /// As written.
    Exact,
}

/// Returns a key in the form that all its spellings share.
pub(super) fn plain_name(key: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::Exact => key.to_owned(),
        Spelling::Any => {
            key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
        }
    }
}

/// A key and its value, with the key's full name.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) name: String,
    pub(super) key: &'a Node,
    pub(super) value: &'a Node,
}

/// A mapping of a document.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub(super) document: &'a Document,
    /// The mapping's full name, with a final dot, or nothing for the whole document.
    prefix: String,
    spelling: Spelling,
    fields: Vec<Field<'a>>,
}

impl<'a> Section<'a> {
    /// Opens the whole document, which must be a mapping.
    pub(super) fn root(
        document: &'a Document,
        prefix: &str,
        spelling: Spelling,
    ) -> Result<Self, ConfigurationError> {
        Self::new(document, &document.root, prefix.to_owned(), spelling)
    }

    fn new(
        document: &'a Document,
        node: &'a Node,
        prefix: String,
        spelling: Spelling,
    ) -> Result<Self, ConfigurationError> {
        let entries = match node.entries() {
            Some(entries) => entries,
            None if node.is_null() => &[],
            None => {
                let what = prefix.strip_suffix('.').unwrap_or("the file");
                let text = format!("{what}: expected a mapping, found {}", node.describe());
                return Err(document.problem(node, text));
            }
        };
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let name = key.text().unwrap_or("null");
            let same = |field: &&Field<'_>| {
                plain_name(field.key.text().unwrap_or("null"), spelling)
                    == plain_name(name, spelling)
            };
            if let Some(earlier) = fields.iter().find(same) {
                let text = format!("{prefix}{name} was already given as {}", earlier.name);
                return Err(document.problem(key, text));
            }
            fields.push(Field { name: format!("{prefix}{name}"), key, value });
        }
        Ok(Self { document, prefix, spelling, fields })
    }

    /// Returns a mapping without keys.
    pub(super) fn nothing(document: &'a Document) -> Self {
        Self { document, prefix: String::new(), spelling: Spelling::Any, fields: Vec::new() }
    }

    /// Returns what the full names of its keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns a key that has a value.
    pub(super) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.written(name).filter(|field| !field.value.is_null())
    }

    /// Returns a key, with a value or without.
    pub(super) fn written(&self, name: &str) -> Option<&Field<'a>> {
        let wanted = plain_name(name, self.spelling);
        self.fields.iter().find(|field| {
            field.key.text().is_some_and(|key| plain_name(key, self.spelling) == wanted)
        })
    }

    /// Opens a mapping below this one; an absent one is empty.
    pub(super) fn section(&self, name: &str) -> Result<Self, ConfigurationError> {
        match self.field(name) {
            Some(field) => self.open(field),
            None => Ok(Self { prefix: format!("{}{name}.", self.prefix), fields: vec![], ..*self }),
        }
    }

    /// Opens the mapping that is a field's value.
    pub(super) fn open(&self, field: &Field<'a>) -> Result<Self, ConfigurationError> {
        Self::new(self.document, field.value, format!("{}.", field.name), self.spelling)
    }

    pub(super) fn wrong(&self, field: &Field<'_>, expected: &str) -> ConfigurationError {
        let found = field.value.describe();
        let text = format!("{}: expected {expected}, found {found}", field.name);
        self.document.problem(field.value, text)
    }

    pub(super) fn note(&self, field: &Field<'_>, text: impl Into<String>) -> Note {
        self.document.note(&field.name, field.key, text)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(None) };
        match field.value.text() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(self.wrong(field, "a text")),
        }
    }

    /// Returns a text that no message may show.
    pub(super) fn secret(&self, name: &str) -> Result<Option<String>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(None) };
        if let Some(text) = field.value.text() {
            return Ok(Some(text.to_owned()));
        }
        let (line, column) = (field.value.line, field.value.column);
        let text = format!("{}: expected a text", field.name);
        let source = Box::new(Problem { line, column, text, snippet: String::new() });
        Err(ConfigurationError::Content { path: self.document.named.clone(), source })
    }

    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(None) };
        match field.value.truth() {
            Some(truth) => Ok(Some(truth)),
            None => Err(self.wrong(field, "true or false")),
        }
    }

    pub(super) fn whole(&self, name: &str) -> Result<Option<u64>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(None) };
        match field.value.whole() {
            Some(whole) => Ok(Some(whole)),
            None => Err(self.wrong(field, "a whole number")),
        }
    }

    /// Returns a list of texts, each exactly as written.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(Vec::new()) };
        let items = field.value.items().ok_or_else(|| self.wrong(field, "a list"))?;
        let text = |item: &Node| match item.text() {
            Some(text) => Ok(text.to_owned()),
            None => {
                let found = item.describe();
                let text = format!("{}: expected a text in the list, found {found}", field.name);
                Err(self.document.problem(item, text))
            }
        };
        items.iter().map(text).collect()
    }

    /// Returns a mapping of names to texts, each exactly as written; a name without a value has
    /// the empty text.
    pub(super) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, ConfigurationError> {
        let Some(field) = self.field(name) else { return Ok(BTreeMap::new()) };
        let exact =
            Self::new(self.document, field.value, format!("{}.", field.name), Spelling::Exact)?;
        let mut map = BTreeMap::new();
        for field in exact.fields() {
            let key = field.key.text().unwrap_or("null").to_owned();
            let value = match field.value.text() {
                Some(text) => text.to_owned(),
                None if field.value.is_null() => String::new(),
                None => return Err(exact.wrong(field, "a text")),
            };
            map.insert(key, value);
        }
        Ok(map)
    }
}
