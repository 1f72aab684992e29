//! A value in a YAML document, as written.

/// A value in a document, with where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, a number, a truth value or nothing.
    Scalar {
        /// The text as written, quotes and escapes resolved.
        text: String,
        /// Whether it stood without quotes, so that it may stand for more than its text.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys, each of them a scalar and there once, with their values.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// Tells whether the value is there and says "nothing": `key:`, `~`, `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.plain().is_some_and(|text| matches!(text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns a scalar's text, unless the value is a list, a mapping or nothing.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Returns a truth value: `true` or `false`, not `yes`, `on` or `1`.
    #[must_use]
    pub fn truth(&self) -> Option<bool> {
        match self.text()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// Returns a whole number in decimal digits, without a leading zero: `010` is 10 to some
    /// readers and 8 to others.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        let text = self.text()?;
        let plain =
            text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if plain { text.parse().ok() } else { None }
    }

    /// Returns a list's values.
    #[must_use]
    pub fn items(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns a mapping's keys and values.
    #[must_use]
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns what the value is, for a message.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, .. } => {
                let cut: String = text.chars().take(40).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                format!("{cut:?}{more}")
            }
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
        }
    }

    fn plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }
}
