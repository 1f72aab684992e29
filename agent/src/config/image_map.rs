//! `[images] map`: images that are used in place of others.

use super::{Key, Origin, Settings};

/// Which images are used in place of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageMap {
    /// Pattern, image and who said so; what is to be tried first comes first.
    entries: Vec<(String, String, Origin)>,
}

/// An image that is used in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped<'a> {
    /// The image.
    pub(crate) image: &'a str,
    /// Who said so.
    pub(crate) origin: &'a Origin,
}

impl Settings {
    /// Returns which images are used in place of others.
    pub(crate) fn image_map(&self) -> ImageMap {
        let mut entries: Vec<_> = self
            .entries(Key::ImageMap)
            .filter_map(|(pattern, setting)| {
                let image = setting.value.to_str()?.to_owned();
                Some((pattern.to_owned(), image, setting.origin.clone()))
            })
            .collect();
        // What names an image counts before what fits many; of those, what says more.
        entries.sort_by_key(|(pattern, ..)| (pattern.contains('*'), usize::MAX - pattern.len()));
        ImageMap { entries }
    }
}

impl ImageMap {
    /// Returns what is used in place of `image`, if something is. What was put in place of an
    /// image is not looked up again.
    pub(crate) fn get(&self, image: &str) -> Option<Mapped<'_>> {
        let found = self.entries.iter().find(|(pattern, ..)| fits(pattern, image));
        found.map(|(_, image, origin)| Mapped { image, origin })
    }
}

/// Tells whether `text` is `pattern`, in which each `*` stands for any characters, `/` too.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let cases = [
            ("python:3.11", "python:3.11", true),
            ("python:3.11", "python:3.12", false),
            ("python:*", "python:3.12", true),
            ("mcr.microsoft.com/azureml/*", "mcr.microsoft.com/azureml/a/b:1", true),
            ("*", "", true),
            ("*:latest", "x:latest", true),
            ("*:latest", "x:latest-1", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_most_telling_pattern_counts_whatever_the_layer() {
        let map = ImageMap::default();
        assert_eq!(map.get("x"), None);
        let dir = tempfile::tempdir().unwrap();
        let files = crate::config::Files {
            project: dir.path().join("trainyard.toml"),
            user: Some(dir.path().join("user.toml")),
            system: dir.path().join("system.toml"),
        };
        std::fs::write(&files.system, "[images.map]\n'm/*' = 'system'\n'm/a*' = 'a'\n").unwrap();
        std::fs::write(files.user.as_ref().unwrap(), "images.map = { 'm/*' = 'user' }\n").unwrap();
        std::fs::write(&files.project, "[images.map]\n'm/exact:1' = 'exact'\n").unwrap();
        let settings = Settings::load(&files, |_| None).unwrap();
        let map = settings.image_map();

        let mapped: Vec<_> = ["m/b", "m/ab", "m/exact:1", "exact", "n"]
            .iter()
            .map(|image| match map.get(image) {
                Some(Mapped { image: mapped, origin }) => {
                    let origin = origin.to_string().replace(dir.path().to_str().unwrap(), "");
                    format!("{image} → {mapped} ({origin})")
                }
                None => format!("{image} as it is"),
            })
            .collect();
        insta::assert_snapshot!(mapped.join("\n"), @r"
        m/b → user (/user.toml:1)
        m/ab → a (/system.toml:3)
        m/exact:1 → exact (/trainyard.toml:2)
        exact as it is
        n as it is
        ");
    }
}
