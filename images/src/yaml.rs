//! YAML with a strict budget: the one place that knows the parser.
//!
//! A document becomes a tree of [`Node`]s that keep every scalar as it was written and where it
//! was, so that `1e-4`, `0.10` and `yes` reach a script as themselves and a message can name a
//! line. Only what YAML 1.2 calls the core schema is there: no custom tags, no merge keys, no
//! second document. Aliases are followed, since the SDK's writer makes them, against a budget.

mod builder;
mod node;
mod problem;
mod write;

use builder::Builder;
pub use node::{Kind, Node};
pub use problem::Problem;

/// The most bytes of a document. The SDK writes two kilobytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most nodes of a document, those that aliases repeat included.
const MAX_NODES: usize = 20_000;
/// The most bytes of text in all scalars, those that aliases repeat included.
const MAX_TEXT: usize = 2 * MAX_BYTES;
/// The deepest nesting. The SDK writes five levels.
const MAX_DEPTH: usize = 32;

/// Reads the one document of `text`.
///
/// # Errors
///
/// The text is not UTF-8 or not YAML, has more than one document, uses what is named in the
/// module's description as not there, repeats a key, or is over the budget.
pub fn parse(text: &[u8]) -> Result<Node, Problem> {
    let text = utf8(text)?;
    Builder::new(text).document()
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        let text = format!("the document is longer than {MAX_BYTES} bytes");
        return Err(Problem { line: 1, column: 1, text, snippet: String::new() });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let text = "not UTF-8 text".to_owned();
        Problem { line, column, text, snippet: String::new() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let problem = parse(text.as_bytes()).unwrap_err();
        format!("{}:{} {}", problem.line, problem.column, problem.text)
    }

    fn texts(document: &str) -> Vec<Option<String>> {
        let root = parse(document.as_bytes()).unwrap();
        root.items().unwrap().iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        let words = [
            "1e-4",
            "0.10",
            "yes",
            "on",
            "010",
            "0x1F",
            "1_000",
            ".5",
            "-1",
            "1:30",
            "2020-01-01",
            "NaN",
            ".inf",
            "True",
            "null_",
        ];
        let expected: Vec<_> = words.iter().map(|word| Some(word.to_string())).collect();
        assert_eq!(texts(&format!("[{}]", words.join(", "))), expected);
    }

    #[test]
    fn nothing_is_told_from_the_text_that_looks_like_it() {
        let nothing = ["- ", "- ~", "- null", "- Null", "- NULL", "- !!null ''"];
        assert_eq!(texts(&nothing.join("\n")), vec![None; nothing.len()]);
        let text = ["- ''", "- '~'", "- \"null\"", "- !!str null", "- ! null", "- nULL"];
        assert!(texts(&text.join("\n")).iter().all(Option::is_some));
    }

    #[test]
    fn truth_values_and_whole_numbers_are_strict() {
        let node = |text: &str| parse(text.as_bytes()).unwrap();
        for (text, truth) in [("true", true), ("False", false), ("'true'", true)] {
            assert_eq!(node(text).truth(), Some(truth), "{text}");
        }
        for text in ["yes", "on", "1", "tRUE", "~", "[true]"] {
            assert_eq!(node(text).truth(), None, "{text}");
        }
        for (text, whole) in [("0", 0), ("17", 17), ("'17'", 17)] {
            assert_eq!(node(text).whole(), Some(whole), "{text}");
        }
        for text in ["010", "-1", "+1", "1.0", "1e3", "0x10", "1_0", "''", "18446744073709551616"] {
            assert_eq!(node(text).whole(), None, "{text}");
        }
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let root = parse("é: [a,\n  ü, b]".as_bytes()).unwrap();
        let list = &root.entries().unwrap()[0].1;
        let places: Vec<_> = list.items().unwrap().iter().map(|n| (n.line, n.column)).collect();
        assert_eq!(places, [(1, 5), (2, 3), (2, 6)]);
    }

    #[test]
    fn an_alias_repeats_what_its_anchor_holds() {
        let root = parse(b"a: &x {k: [1, 2]}\nb: *x\nc: &y word\nd: *y").unwrap();
        let entries = root.entries().unwrap();
        assert_eq!(entries[0].1.kind, entries[1].1.kind);
        assert_eq!(entries[3].1.text(), Some("word"));
    }

    #[test]
    fn an_alias_bomb_is_stopped_by_the_budget() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{below}]\n");
        }
        assert!(wrong(&bomb).ends_with("more than 20000 values, aliases counted"));

        let long = "y".repeat(MAX_BYTES / 2);
        let text = format!("a: &a {long}\nb: [*a, *a, *a, *a, *a]");
        assert!(wrong(&text).ends_with("bytes, aliases counted"));
    }

    #[test]
    fn too_much_of_anything_is_refused() {
        let flow = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let block: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let dashes = "- ".repeat(10_000);
        let many = "- a\n".repeat(MAX_NODES);
        let long = format!("a: {}", "x".repeat(10 << 20));
        let table: Vec<_> = [flow, block, dashes, many, long].iter().map(|t| wrong(t)).collect();
        insta::assert_snapshot!(table.join("\n"), @r#"
        1:256 recursion limit exceeded
        33:33 nested deeper than 32 levels
        1:67 nested deeper than 32 levels
        20000:3 more than 20000 values, aliases counted
        1:1 the document is longer than 1048576 bytes
        "#);
    }

    #[test]
    fn what_is_not_of_the_core_is_refused() {
        let texts = [
            "",
            "# a comment",
            "a: 1\na: 2",
            "a: 1\n'a': 2",
            "a: 1\n---\nb: 2",
            "<<: {a: 1}",
            "[a]: 1",
            "a: !custom 1",
            "a: !!python/object:os.system x",
            "a: !!binary aGk=",
            "a: !!int [1]",
            "a: *missing",
            "a: &x [*x]",
            "a:\n\tb: 1",
            "a: b: c",
            "a: [1",
            "a: \"open",
            "%YAML 3.0\n---\na: 1",
            "a: \u{1b}[31m",
        ];
        let table: Vec<_> = texts.iter().map(|t| format!("{t:34?} {}", wrong(t))).collect();
        insta::assert_snapshot!(table.join("\n"), @r##"
        "" 1:1 there is nothing in it
        "# a comment" 1:1 there is nothing in it
        "a: 1\na: 2" 2:1 key "a" is there twice
        "a: 1\n'a': 2" 2:1 key "a" is there twice
        "a: 1\n---\nb: 2" 3:1 a second document
        "<<: {a: 1}" 1:1 merge keys (<<) are not read: write the keys out
        "[a]: 1" 1:1 a key that is not a word
        "a: !custom 1" 1:12 tag !custom has no meaning here
        "a: !!python/object:os.system x" 1:30 tag !!python/object:os.system has no meaning here
        "a: !!binary aGk=" 1:13 tag !!binary has no meaning here
        "a: !!int [1]" 1:10 tag !!int has no meaning here
        "a: *missing" 1:4 while parsing node, found unknown anchor
        "a: &x [*x]" 1:8 an alias of what it is itself part of
        "a:\n\tb: 1" 2:2 tabs disallowed within this context (block indentation)
        "a: b: c" 1:5 mapping values are not allowed in this context
        "a: [1" 1:4 unclosed bracket '['
        "a: \"open" 1:4 unclosed quote
        "%YAML 3.0\n---\na: 1" 1:1 unsupported YAML major version
        "a: \u{1b}[31m" 1:4 unexpected character: `\u{1b}'
        "##);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_key() {
        let root = parse("\u{feff}a: 1".as_bytes()).unwrap();
        assert_eq!(root.entries().unwrap()[0].0.text(), Some("a"));
    }

    #[test]
    fn bytes_that_are_not_text_are_named_by_their_place() {
        let problem = parse(b"a: 1\nb: \xff").unwrap_err();
        assert_eq!((problem.line, problem.column), (2, 4));
    }
}
