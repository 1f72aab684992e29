//! How images are called: `python`, `registry:5000/team/name:tag`, `name@sha256:…`.

/// The name of the registry that names without one mean, as logins are kept under it.
pub(crate) const DEFAULT_REGISTRY: &str = "https://index.docker.io/v1/";

/// Whether `reference` can be asked for at all: anything else might be read as another address of
/// the API.
pub(super) fn is_plain(reference: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
    !reference.is_empty()
        && reference.bytes().all(is_plain)
        && reference.split('/').all(|part| !part.trim_matches('.').is_empty())
}

/// Returns the reference with the tag that is meant where none is given. Without one, an engine
/// would pull them all.
pub(super) fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// Returns the registry that `reference` is pulled from, as logins are kept under it.
pub(crate) fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => {
            if first == "docker.io" || first == "index.docker.io" {
                DEFAULT_REGISTRY
            } else {
                first
            }
        }
        _ => DEFAULT_REGISTRY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_told_from_a_folder() {
        for (reference, expected) in [
            ("python", DEFAULT_REGISTRY),
            ("python:3.11", DEFAULT_REGISTRY),
            ("team/python", DEFAULT_REGISTRY),
            ("docker.io/library/python", DEFAULT_REGISTRY),
            ("localhost/python", "localhost"),
            ("127.0.0.1:5000/team/python:3@sha256:aa", "127.0.0.1:5000"),
            ("registry.example.com/python", "registry.example.com"),
        ] {
            assert_eq!(registry(reference), expected, "{reference}");
        }
    }

    #[test]
    fn one_tag_is_meant() {
        for (reference, expected) in [
            ("python", "python:latest"),
            ("python:3.11", "python:3.11"),
            ("r:5000/python", "r:5000/python:latest"),
            ("r:5000/python@sha256:aa", "r:5000/python@sha256:aa"),
        ] {
            assert_eq!(with_tag(reference), expected);
        }
    }

    #[test]
    fn names_cannot_be_other_addresses() {
        for good in ["a", "sha256:0a", "r:5000/a/b__c.d-e:1.0", "a@sha256:00"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a?all=1",
            "../containers",
            "a/../b",
            "a//b",
            "a/.",
            "/a",
            "a#b",
            "é",
            "a\n",
        ] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
