//! Writing a value as YAML again.

use std::fmt::Write;

use super::{Kind, Node};

impl Node {
    /// Returns the value as a document of its own: blocks, comments gone, and every scalar what it
    /// was, be it a text in quotes or a word without.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        match &self.kind {
            Kind::Scalar { .. } => writeln!(text, "{}", scalar(self)).unwrap_or_default(),
            _ => block(self, 0, &mut text),
        }
        text
    }
}

fn block(node: &Node, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match &node.kind {
        Kind::Scalar { .. } => {}
        Kind::Sequence(items) => {
            for item in items {
                entry(&format!("{pad}-"), item, indent, text);
            }
        }
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                entry(&format!("{pad}{}:", scalar(key)), value, indent, text);
            }
        }
    }
}

fn entry(head: &str, value: &Node, indent: usize, text: &mut String) {
    let line = match &value.kind {
        Kind::Scalar { .. } => format!("{head} {}", scalar(value)),
        Kind::Sequence(items) if items.is_empty() => format!("{head} []"),
        Kind::Mapping(entries) if entries.is_empty() => format!("{head} {{}}"),
        _ => head.to_owned(),
    };
    text.push_str(line.trim_end());
    text.push('\n');
    block(value, indent + 2, text);
}

/// A word stays a word if it cannot be read as anything else.
fn scalar(node: &Node) -> String {
    let Kind::Scalar { text, plain } = &node.kind else { return String::new() };
    let simple = |c: char| c.is_ascii_alphanumeric() || "._-=<>!~+/".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    let is_word = *plain && text.chars().all(simple) && (starts || text.is_empty() || text == "~");
    if is_word { text.clone() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                write!(quoted, "\\U{:08X}", u32::from(c)).unwrap_or_default();
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    /// Compares without the places.
    fn same(a: &Node, b: &Node) -> bool {
        match (&a.kind, &b.kind) {
            (Kind::Scalar { .. }, Kind::Scalar { .. }) => a.text() == b.text(),
            (Kind::Sequence(a), Kind::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Kind::Mapping(a), Kind::Mapping(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| same(&a.0, &b.0) && same(&a.1, &b.1))
            }
            _ => false,
        }
    }

    #[test]
    fn conda_packages_in_json_become_a_conda_file() {
        let json = r#"{"name": "x", "dependencies": ["python=3.8.13", {"pip": ["a==1 ; x > '2'"]}],
            "channels": ["conda-forge", "/mnt/channel"], "variables": {"A": "1", "B": null}, "empty": []}"#;
        insta::assert_snapshot!(parse(json.as_bytes()).unwrap().to_yaml(), @r#"
        "name": "x"
        "dependencies":
          - "python=3.8.13"
          -
            "pip":
              - "a==1 ; x > '2'"
        "channels":
          - "conda-forge"
          - "/mnt/channel"
        "variables":
          "A": "1"
          "B": null
        "empty": []
        "#);
        let yaml = "name: x\ndependencies: [python=3.10, 'numpy>=1', {pip: [a]}]\n";
        insta::assert_snapshot!(parse(yaml.as_bytes()).unwrap().to_yaml(), @r#"
        name: x
        dependencies:
          - python=3.10
          - "numpy>=1"
          -
            pip:
              - a
        "#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in proptest::collection::vec("\\PC{0,8}|[ -~\\n\\t]{0,8}", 0..6)) {
            let json = serde_json::json!({ "a": texts, "b": [{ "c": texts }], "d": { "e": texts.concat() } });
            let node = parse(json.to_string().as_bytes()).unwrap();
            let written = node.to_yaml();
            prop_assert!(same(&parse(written.as_bytes()).unwrap(), &node), "{written}");
        }
    }
}
