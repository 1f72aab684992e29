//! What went into a key, for people and for comparing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use snapshots::digest::Hasher;

use super::EnvironmentKey;

/// All that determines an environment, in the order it was hashed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyParts {
    /// The hash of all of them.
    pub key: EnvironmentKey,
    /// The parts.
    pub parts: Vec<KeyPart>,
}

/// One thing that determines an environment. Several may have the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPart {
    /// What it is, as `python` or `line`.
    pub name: String,
    /// The value in its one form. Where a variable of the host stands in it, the variable's name
    /// and a digest of what it stood for: never the value.
    pub value: String,
    /// What a digest in the value stands for, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
}

/// Parts of one name that are not the same in two environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyDifference {
    /// The name.
    pub name: String,
    /// Values that only the first has.
    pub only_first: Vec<String>,
    /// Values that only the second has.
    pub only_second: Vec<String>,
}

impl KeyParts {
    /// Returns what differs, in the order of the parts. What digests stand for takes their place.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Vec<KeyDifference> {
        let mut names: Vec<&str> = Vec::new();
        for part in self.parts.iter().chain(&other.parts) {
            if !names.contains(&part.name.as_str()) {
                names.push(&part.name);
            }
        }
        names.into_iter().filter_map(|name| difference(name, self, other)).collect()
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &KeyPart> {
        self.parts.iter().filter(move |part| part.name == name)
    }
}

/// Returns how the parts `name` of the two differ, if they do.
fn difference(name: &str, first: &KeyParts, second: &KeyParts) -> Option<KeyDifference> {
    let ordered = |parts: &KeyParts| parts.named(name).cloned().collect::<Vec<_>>();
    let (ours, theirs) = (ordered(first), ordered(second));
    if ours == theirs {
        return None;
    }
    let [only_first, only_second] = [missing(&ours, &theirs), missing(&theirs, &ours)];
    if only_first.is_empty() && only_second.is_empty() {
        // The same values in another order, which counts.
        let values = |parts: &[KeyPart]| parts.iter().map(|part| part.value.clone()).collect();
        let (only_first, only_second) = (values(&ours), values(&theirs));
        return Some(KeyDifference { name: name.to_owned(), only_first, only_second });
    }
    Some(KeyDifference { name: name.to_owned(), only_first, only_second })
}

/// Returns the values of `these` that are not among `those`.
fn missing(these: &[KeyPart], those: &[KeyPart]) -> Vec<String> {
    let known: BTreeSet<&str> = those.iter().flat_map(values).collect();
    let whole: BTreeSet<&KeyPart> = those.iter().collect();
    let differing = these.iter().filter(|part| !whole.contains(part));
    let found = differing.flat_map(values).filter(|value| !known.contains(value));
    found.map(str::to_owned).collect()
}

/// Returns what stands for the part: what it contains, else its value.
fn values(part: &KeyPart) -> Vec<&str> {
    if part.contains.is_empty() {
        vec![&part.value]
    } else {
        part.contains.iter().map(String::as_str).collect()
    }
}

/// Hashes parts and lists them at once, so that the key and what is told of it are the same.
pub(super) struct Collector {
    hasher: Hasher,
    parts: Vec<KeyPart>,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self { hasher: Hasher::new(), parts: Vec::new() }
    }

    /// Adds a part that may be shown as it is.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.put_as(name, value, value.to_owned(), Vec::new());
    }

    /// Adds a part that is hashed as `value` and shown as `shown`.
    ///
    /// Each is hashed with its name and both with their lengths, so that different parts never give
    /// the same bytes.
    pub(super) fn put_as(&mut self, name: &str, value: &str, shown: String, contains: Vec<String>) {
        for text in [name, value] {
            self.hasher.update(&(text.len() as u64).to_le_bytes());
            self.hasher.update(text.as_bytes());
        }
        self.parts.push(KeyPart { name: name.to_owned(), value: shown, contains });
    }

    pub(super) fn finish(self) -> KeyParts {
        KeyParts { key: EnvironmentKey(self.hasher.finish()), parts: self.parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(given: &[(&str, &str, &[&str])]) -> KeyParts {
        let mut collector = Collector::new();
        for (name, value, contains) in given {
            let contains = contains.iter().map(|line| (*line).to_owned()).collect();
            collector.put_as(name, value, (*value).to_owned(), contains);
        }
        collector.finish()
    }

    fn told(first: &KeyParts, second: &KeyParts) -> String {
        let line = |d: KeyDifference| {
            format!("{}: {} | {}", d.name, d.only_first.join(" "), d.only_second.join(" "))
        };
        first.compare(second).into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_differs_is_told_by_name_with_what_digests_stand_for() {
        let first = parts(&[
            ("python", "3.11.2", &[]),
            ("abi", "x", &[]),
            ("line", "six", &[]),
            ("line", "-r 00", &["attrs==1", "idna"]),
        ]);
        let second = parts(&[
            ("python", "3.12.0", &[]),
            ("abi", "x", &[]),
            ("line", "-r 11", &["attrs==2", "idna"]),
            ("line", "six", &[]),
            ("platform", "linux/amd64", &[]),
        ]);

        insta::assert_snapshot!(told(&first, &second), @r"
        python: 3.11.2 | 3.12.0
        line: attrs==1 | attrs==2
        platform:  | linux/amd64
        ");
        assert!(first.compare(&first).is_empty());
    }

    #[test]
    fn an_order_that_counts_is_told() {
        let first = parts(&[("line", "-i a", &[]), ("line", "-i b", &[])]);
        let second = parts(&[("line", "-i b", &[]), ("line", "-i a", &[])]);

        assert_eq!(told(&first, &second), "line: -i a -i b | -i b -i a");
    }

    #[test]
    fn parts_are_read_back_and_never_run_into_each_other() {
        let one = parts(&[("ab", "c", &[])]);
        let other = parts(&[("a", "bc", &[])]);

        assert_ne!(one.key, other.key);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<KeyParts>(&text).unwrap(), one);
    }
}
