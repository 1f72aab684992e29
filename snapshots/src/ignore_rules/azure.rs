//! What Azure ML would decide by the same ignore files.
//!
//! Azure ML reads one file, that in the source's root, and matches patterns by the same syntax but
//! not with the same result: a pattern that matches a directory matches everything in it too, and
//! one that ends with a slash matches only what is in the directory. So `data/` does not keep its
//! walk out of `data`, and a later `!data/b.txt` brings that file back.

use super::pattern::Pattern;
use super::{IgnoreRules, Level, Place, RuleRef, Verdict, base_name};

impl IgnoreRules {
    /// Decides on `path` as Azure ML would.
    pub(crate) fn decide_as_azure(&self, path: &[u8]) -> Verdict<'_> {
        let levels = std::iter::successors(self.innermost.as_deref(), |l| l.outer.as_deref());
        let own = levels
            .filter(
                |level| matches!(&level.place, Place::Inside(directory) if directory.is_empty()),
            )
            .last();
        let Some(own) = own else { return Verdict { excluded: false, rule: None } };
        let above = memchr::memchr_iter(b'/', path).map(|slash| &path[..slash]);
        above
            .map(|directory| last_match(own, directory))
            .find(|verdict| verdict.excluded)
            .unwrap_or_else(|| last_match(own, path))
    }
}

fn last_match<'a>(level: &'a Level, path: &[u8]) -> Verdict<'a> {
    let pattern = level.file.last_that(|pattern| matches(pattern, path));
    let rule = pattern.map(|pattern| RuleRef { file: &level.file, pattern });
    Verdict { excluded: pattern.is_some_and(|pattern| !pattern.negated), rule }
}

fn matches(pattern: &Pattern, path: &[u8]) -> bool {
    let matches = |path: &[u8]| pattern.matches_name(base_name(path)) || pattern.matches_path(path);
    let mut above = memchr::memchr_iter(b'/', path).map(|slash| &path[..slash]);
    above.any(matches) || (!pattern.directories_only && matches(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_does_not_keep_azure_out() {
        let source = tempfile::tempdir().unwrap();
        let rules = |text: &str| {
            std::fs::write(source.path().join(".amlignore"), text).unwrap();
            IgnoreRules::for_source(source.path()).unwrap()
        };
        let decided =
            |text: &str, path: &str| rules(text).decide_as_azure(path.as_bytes()).excluded;

        assert!(!decided("data/\n!data/b.txt", "data/b.txt"));
        assert!(decided("data/\n!data/b.txt", "data/a.csv"));
        assert!(decided("data\n!data/b.txt", "data/b.txt"));
        assert!(decided("*\n!train.py\n!data/\n!data/b.txt", "data/b.txt"), "as observed");
        assert!(!decided("*\n!train.py", "train.py"));
        assert!(decided("/a/*.csv", "a/x.csv") && !decided("/a/*.csv", "b/a/x.csv"));
        assert!(!decided("", "x"));
    }
}
