//! Variables in the words of a Dockerfile.

use std::collections::BTreeMap;

/// Puts values in the place of `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}`, and takes
/// quotes away. `None`: it cannot be understood.
pub(super) fn substitute(word: &str, values: &BTreeMap<String, String>) -> Option<String> {
    let mut done = String::new();
    let mut rest = word.chars().peekable();
    let mut quote = None;
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            '\\' if quote != Some('\'') => done.push(rest.next()?),
            '$' if quote != Some('\'') => {
                if rest.next_if_eq(&'{').is_some() {
                    done.push_str(&braced(&mut rest, values)?);
                } else {
                    let name = name(&mut rest);
                    match name.as_str() {
                        "" => done.push('$'),
                        name => done.push_str(values.get(name).map_or("", String::as_str)),
                    }
                }
            }
            c => done.push(c),
        }
    }
    quote.is_none().then_some(done)
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn name(rest: &mut Characters<'_>) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    std::iter::from_fn(|| rest.next_if(plain)).collect()
}

/// Reads what is between braces.
fn braced(rest: &mut Characters<'_>, values: &BTreeMap<String, String>) -> Option<String> {
    let name = name(rest);
    let value = values.get(&name).cloned().unwrap_or_default();
    let mut operator = rest.next()?;
    if operator == ':' {
        operator = rest.next()?;
    }
    let mut word = String::new();
    if operator != '}' {
        let mut depth = 1;
        loop {
            let c = rest.next()?;
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 {
                break;
            }
            word.push(c);
        }
    }
    match operator {
        '}' => Some(value),
        '-' if value.is_empty() => substitute(&word, values),
        '-' => Some(value),
        '+' if value.is_empty() => Some(String::new()),
        '+' => substitute(&word, values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_place_of_variables() {
        let values =
            BTreeMap::from([("A".to_owned(), "a:1".to_owned()), ("E".to_owned(), String::new())]);
        let cases = [
            ("x", Some("x")),
            ("$A", Some("a:1")),
            ("r/${A}-$A/x", Some("r/a:1-a:1/x")),
            ("$NO", Some("")),
            ("${E:-b:$A}", Some("b:a:1")),
            ("${NO:-${E:-c}}", Some("c")),
            ("${A:-b}", Some("a:1")),
            ("${A:+b}${NO:+c}", Some("b")),
            ("\"$A\"", Some("a:1")),
            ("'$A'", Some("$A")),
            ("\\$A", Some("$A")),
            ("$", Some("$")),
            ("${A", None),
            ("${A:?x}", None),
            ("\"x", None),
            ("x\\", None),
        ];
        for (word, wanted) in cases {
            assert_eq!(substitute(word, &values).as_deref(), wanted, "{word}");
        }
    }
}
