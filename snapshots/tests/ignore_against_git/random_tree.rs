//! Random source trees with random ignore files, made of what is awkward.

use std::collections::{BTreeMap, BTreeSet};

/// What a path of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    /// A symbolic link to the tree's root: not a directory to an ignore rule.
    Link,
}

/// A tree as lists: what is in it, and the text of the ignore file of each directory that has one.
#[derive(Debug, Default)]
pub(crate) struct RandomTree {
    pub(crate) entries: BTreeMap<Vec<u8>, Kind>,
    pub(crate) ignore_files: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Numbers that follow from a seed (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"ab",
    b"abc",
    b"data",
    b"x.py",
    b"x.pyc",
    b"a.py",
    b".env",
    b"A",
    b"7",
    b"a-b",
    b"*",
    b"**",
    b"?",
    b"[a]",
    b"[",
    b"]",
    b"{a,b}",
    b"#a",
    b"!a",
    b"a ",
    b" a",
    b"a\t",
    b"a\r",
    b"\\",
    b"a\\",
    b"\\a",
    b"-a",
    b"a\nb",
    b"\xc3\xa4",
    b"\xe9",
    b"a\x0b",
    b"~",
    b"x.tar.gz",
    b"a.",
];

const PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"ab",
    b"data",
    b"x",
    b".py",
    b".pyc",
    b".",
    b"*",
    b"*",
    b"**",
    b"***",
    b"?",
    b"/",
    b"/",
    b"/",
    b"/**",
    b"**/",
    b"/**/",
    b"/**\\/",
    b"[ab]",
    b"[!a]",
    b"[^b]",
    b"[a-c]",
    b"[]a]",
    b"[!]a]",
    b"[a-]",
    b"[-a]",
    b"[--0]",
    b"[z-a]",
    b"[a",
    b"[",
    b"]",
    b"[[:alpha:]]",
    b"[[:digit:]_]",
    b"[[:upper:][:space:]]",
    b"[[:punct:]]",
    b"[[:alpha:]-z]",
    b"[[:nope:]]",
    b"[[:alpha:]",
    b"[[:a]",
    b"[[a]]",
    b"[\\]]",
    b"[a-\\c]",
    b"[\\",
    b"[/]",
    b"[!/]",
    b"[a/b]",
    b"\\*",
    b"\\a",
    b"\\/",
    b"\\",
    b"\\\\",
    b"\\ ",
    b" ",
    b"  ",
    b"\t",
    b"\r",
    b"#",
    b"\\#",
    b"!",
    b"\\!",
    b"{a,b}",
    b"{",
    b"\xe9",
    b"\xc3",
    b"[\x80-\xff]",
    b"\xc3\xa4",
    b"\0",
    b"~",
    b"A",
];

impl RandomTree {
    /// Makes the tree that belongs to the state of `numbers`.
    pub(crate) fn new(numbers: &mut Numbers) -> Self {
        let mut tree = Self::default();
        let mut directories: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..4 + numbers.below(14) {
            let parent = &directories[numbers.below(directories.len())];
            let mut path = parent.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(numbers.pick(NAMES));
            if tree.entries.contains_key(&path) {
                continue;
            }
            let kind = match numbers.below(9) {
                0..4 => Kind::Directory,
                4 => Kind::Link,
                _ => Kind::File,
            };
            if kind == Kind::Directory {
                directories.push(path.clone());
            }
            tree.entries.insert(path, kind);
        }
        let mut ruled: BTreeSet<Vec<u8>> = BTreeSet::from([Vec::new()]);
        for directory in directories.into_iter().skip(1) {
            if numbers.one_in(3) {
                ruled.insert(directory);
            }
        }
        for directory in ruled {
            let text = tree.ignore_file(&directory, numbers);
            tree.ignore_files.insert(directory, text);
        }
        tree
    }

    /// Makes the text of an ignore file for `directory`.
    pub(crate) fn ignore_file(&self, directory: &[u8], numbers: &mut Numbers) -> Vec<u8> {
        let mut text = Vec::new();
        if numbers.one_in(12) {
            text.extend(b"\xef\xbb\xbf");
        }
        let lines = numbers.below(7);
        for line in 0..lines {
            if numbers.one_in(4) {
                text.push(b'!');
            }
            match numbers.below(3) {
                0 => {
                    for _ in 0..1 + numbers.below(5) {
                        text.extend(numbers.pick(PIECES));
                    }
                }
                _ => text.extend(self.pattern_like_a_path(directory, numbers)),
            }
            match numbers.below(8) {
                0 => text.extend(b"\r\n"),
                1 => text.extend(b"  \n"),
                2 if line + 1 == lines => {}
                _ => text.push(b'\n'),
            }
        }
        text
    }

    /// Takes a path of the tree, seen from `directory` if it is in there, and blurs it.
    fn pattern_like_a_path(&self, directory: &[u8], numbers: &mut Numbers) -> Vec<u8> {
        let paths: Vec<&[u8]> = self.entries.keys().map(Vec::as_slice).collect();
        let path = numbers.pick(&paths);
        let path = path.strip_prefix(directory).unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut components: Vec<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        if numbers.one_in(3) {
            components = vec![components.pop().unwrap_or_default()];
        }
        for component in &mut components {
            match numbers.below(9) {
                0 => *component = b"*".to_vec(),
                1 => *component = b"**".to_vec(),
                2 => component.splice(.., numbers.pick(PIECES).iter().copied()).for_each(drop),
                3 => component.extend(numbers.pick(PIECES)),
                4 => {
                    let at = numbers.below(component.len() + 1);
                    component.splice(at..at, numbers.pick(PIECES).iter().copied()).for_each(drop);
                }
                _ => {}
            }
        }
        let mut pattern = components.join(&b'/');
        if numbers.one_in(5) {
            pattern.insert(0, b'/');
        }
        if numbers.one_in(4) {
            pattern.push(b'/');
        }
        if numbers.one_in(8) {
            pattern.splice(0..0, *b"**/").for_each(drop);
        }
        if numbers.one_in(8) {
            pattern.extend(b"/*");
        }
        pattern
    }

    /// Returns what is below `directory`, with paths from there.
    pub(crate) fn below(&self, directory: &[u8]) -> Self {
        Self {
            entries: below(directory, &self.entries)
                .into_iter()
                .filter(|(path, _)| !path.is_empty())
                .collect(),
            ignore_files: below(directory, &self.ignore_files),
        }
    }
}

/// Keeps what lies below `directory`, with paths from there.
pub(crate) fn below<T: Clone>(
    directory: &[u8],
    paths: &BTreeMap<Vec<u8>, T>,
) -> BTreeMap<Vec<u8>, T> {
    let inside = |path: &Vec<u8>| match directory {
        [] => Some(path.clone()),
        _ if path == directory => Some(Vec::new()),
        _ => Some(path.strip_prefix(directory)?.strip_prefix(b"/")?.to_vec()),
    };
    paths.iter().filter_map(|(path, value)| Some((inside(path)?, value.clone()))).collect()
}
