//! Variables, secrets and tags as they are typed: `K=V`, `K`, `K=FILE`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use super::Failure;

/// A registry's tokens are a few KiB.
const LONGEST_SECRET: u64 = 1 << 20;

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Looks a variable up in this process.
pub(super) fn of_this_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Reads `-e K=V` and `-e K`, which takes the caller's value.
///
/// # Errors
///
/// A name that no variable can have, or one that the caller does not have either.
pub(super) fn variables(
    typed: &[String],
    own: Lookup<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    typed
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) => Ok((checked(name)?, value.to_owned())),
            None => Ok((checked(text)?, own_value(text, own)?)),
        })
        .collect()
}

/// Reads `--secret K`, which takes the caller's value, and `--secret K=FILE`, which takes the
/// file's text without its last newline.
///
/// # Errors
///
/// As [`variables`], or the file cannot be read. No message ever holds a value.
pub(super) fn secrets(
    typed: &[String],
    own: Lookup<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    typed
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, file)) => Ok((checked(name)?, file_text(name, Path::new(file))?)),
            None => Ok((checked(text)?, own_value(text, own)?)),
        })
        .collect()
}

/// Reads a secret from standard input: all of it without its last newline, as `docker login
/// --password-stdin` does. `None` if there is nothing.
///
/// # Errors
///
/// It cannot be read.
pub(super) fn secret_line(from: &mut dyn Read) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    let read = from.take(LONGEST_SECRET).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    Ok((!secret.is_empty()).then(|| secret.to_owned()))
}

/// Reads `--tag K=V`.
///
/// # Errors
///
/// A tag without a name or a value.
pub(super) fn tags(typed: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    typed
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => {
                Err(Failure::usage(format!("{text:?} is not a tag")).hint("write --tag name=value"))
            }
        })
        .collect()
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the file for the secret {name}")]
struct SecretFile {
    name: String,
    source: std::io::Error,
}

fn checked(name: &str) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(plain) {
        return Ok(name.to_owned());
    }
    Err(Failure::usage(format!("{name:?} is not a name of a variable"))
        .hint("a name has letters, digits and underscores and begins with no digit"))
}

fn own_value(name: &str, own: Lookup<'_>) -> Result<String, Failure> {
    let value = own(name).ok_or_else(|| {
        Failure::usage(format!("{name} is not set here, so its value cannot be passed on"))
            .hint(format!("export {name}, or give the value"))
    })?;
    value.into_string().map_err(|_| Failure::usage(format!("the value of {name} is not UTF-8")))
}

fn file_text(name: &str, file: &Path) -> Result<String, Failure> {
    // What was typed may be the secret itself: it is not repeated.
    let bytes = std::fs::read(file).map_err(|source| {
        Failure::usage(SecretFile { name: name.to_owned(), source }).hint(format!(
            "--secret {name}=FILE takes a file; --secret {name} takes your own value"
        ))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("the file for the secret {name} is not UTF-8")))?;
    if text.contains('\0') {
        return Err(Failure::usage(format!("the file for the secret {name} has a NUL in it")));
    }
    let text = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<OsString> {
        (name == "OWN").then(|| "mine".into())
    }

    fn read(typed: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
        let typed: Vec<_> = typed.iter().map(|text| (*text).to_owned()).collect();
        variables(&typed, &own)
    }

    #[test]
    fn a_variable_has_a_value_or_takes_the_callers() {
        let read = read(&["A=1", "B=", "C=x=y", "OWN", "A=2"]).unwrap();
        let shown: Vec<_> = read.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["A=2", "B=", "C=x=y", "OWN=mine"]);
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        for bad in ["=1", "1A=x", "A B=x", "A-B", "MISSING", ""] {
            let failure = read(&[bad]).unwrap_err();
            assert_eq!(failure.exit(false), crate::cli::Exit::USAGE, "{bad}");
            assert!(failure.next_step().is_some(), "{bad}");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_or_the_caller() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "hunter2\n").unwrap();
        let typed = [format!("TOKEN={}", file.display()), "OWN".to_owned()];

        let read = secrets(&typed, &own).unwrap();

        assert_eq!(read["TOKEN"], "hunter2");
        assert_eq!(read["OWN"], "mine");
    }

    #[test]
    fn a_secret_that_is_no_file_is_not_repeated_as_a_value() {
        let failure = secrets(&["TOKEN=hunter2".to_owned()], &own).unwrap_err();
        insta::assert_snapshot!(failure.message().unwrap(), @"cannot read the file for the secret TOKEN: No such file or directory");
    }

    #[test]
    fn tags_have_a_name_and_a_value() {
        assert_eq!(tags(&["a=b=c".to_owned()]).unwrap()["a"], "b=c");
        assert!(tags(&["a".to_owned()]).is_err());
        assert!(tags(&["=a".to_owned()]).is_err());
    }
}
