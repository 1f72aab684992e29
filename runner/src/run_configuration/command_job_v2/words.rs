//! Words of a line, as a shell splits it, without anything else that a shell does.

/// Splits `line` at blanks that are in no quotes. `None`: a quote is not closed, or a backslash
/// is the last character.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(characters.next()?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let split = |line| split(line).map(|words| words.join("|"));
        let cases = [
            ("", Some("")),
            ("--cpus=2 --env A=1", Some("--cpus=2|--env|A=1")),
            ("  --label 'a b'  ", Some("--label|a b")),
            ("--label=\"a b\"c ''", Some("--label=a bc|")),
            (r#"a\ b "c\"d" 'e\f'"#, Some(r#"a b|c"d|e\f"#)),
            ("'open", None),
            ("a\\", None),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line), expected.map(str::to_owned), "{line:?}");
        }
    }
}
