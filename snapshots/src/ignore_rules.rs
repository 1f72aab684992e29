//! Which paths are ignored, to the letter of git's rules.
//!
//! A source with a `.amlignore` in its root is ruled by its `.amlignore` files (root and nested)
//! alone, as Azure ML does it. A build context is ruled by its `.dockerignore` alone, to the letter
//! of Docker's rules. Any other source is ruled by `.gitignore` files: its own, nested
//! ones, those of the directories above up to the repository's root, and `.git/info/exclude`.
//! Ignore files of the user or the machine never count, so that the same source gives the same
//! snapshot everywhere.
//!
//! Within one file the last pattern that matches decides; a file deeper in the tree goes before
//! one above it. Nothing below an ignored directory can come back: the walk does not enter it.
//!
//! The `ignore` crate is not used, because its globs are not git's (seen with 0.4.34): to it
//! `*.{a,b}` is a choice where git takes braces as they are, `[[:alpha:]]` holds those very
//! characters, `foo**/bar` does not match `foobar`, what it cannot parse (`{a`, `[z-a]`) is an
//! error instead of a pattern, and from the first line on that is not UTF-8 a file is not read.

mod azure;
mod dockerignore;
mod pattern;
mod repository;
mod rule_file;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use self::dockerignore::DockerIgnore;
use self::pattern::Pattern;
use self::rule_file::RuleFile;
use crate::digest::{Digest, Hasher};
use crate::path_error::{IoContext, PathError};

/// Which ignore files rule a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreKind {
    /// `.amlignore` files only.
    AmlIgnore,
    /// `.gitignore` files and `.git/info/exclude`.
    GitIgnore,
    /// The `.dockerignore` of a build context.
    DockerIgnore,
}

impl IgnoreKind {
    /// Returns the name of the ignore files.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::AmlIgnore => ".amlignore",
            Self::GitIgnore => ".gitignore",
            Self::DockerIgnore => ".dockerignore",
        }
    }
}

/// The ignore rules that hold in one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IgnoreRules {
    kind: IgnoreKind,
    innermost: Option<Arc<Level>>,
    docker: Option<Arc<DockerIgnore>>,
    notes: Arc<[IgnoreNote]>,
}

/// One ignore file and those that it goes before.
#[derive(Debug)]
struct Level {
    file: RuleFile,
    place: Place,
    outer: Option<Arc<Level>>,
}

/// Where the directory of an ignore file is, seen from the source.
#[derive(Debug)]
enum Place {
    /// The directory with this path from the source, which is empty for the source itself.
    Inside(Box<[u8]>),
    /// A directory from which the source has this path.
    Above(Box<[u8]>),
}

impl Drop for Level {
    /// Takes the chain apart link by link: it is as long as the source is deep.
    fn drop(&mut self) {
        let mut outer = self.outer.take();
        while let Some(mut level) = outer.and_then(Arc::into_inner) {
            outer = level.outer.take();
        }
    }
}

impl IgnoreRules {
    /// Reads the rules that hold in the root of `source`.
    ///
    /// # Errors
    ///
    /// An ignore file cannot be read, or is over the limits on ignore files.
    pub fn for_source(source: &Path) -> Result<Self, IgnoreError> {
        let real = source.canonicalize().context("read", source)?;
        let mut notes = Vec::new();
        if let Some(text) = read_own(&real, IgnoreKind::AmlIgnore, &mut notes)? {
            let rules = Self::without_files(IgnoreKind::AmlIgnore);
            return rules.enter(b"", &text);
        }
        let mut rules = Self::above(&real, &mut notes)?;
        if let Some(text) = read_own(&real, IgnoreKind::GitIgnore, &mut notes)? {
            rules = rules.enter(b"", &text)?;
        }
        rules.notes = notes.into();
        Ok(rules)
    }

    fn without_files(kind: IgnoreKind) -> Self {
        Self { kind, innermost: None, docker: None, notes: Arc::default() }
    }

    /// Reads the rules of `source` as the build context of `dockerfile`, a path in it: those of
    /// `NAME.dockerignore` beside the Dockerfile, else those of `.dockerignore` in the root.
    ///
    /// The Dockerfile itself and the ignore file have no part in them: what reads them has them.
    ///
    /// # Errors
    ///
    /// The ignore file cannot be read, is over the limits on ignore files, or has a pattern that
    /// cannot be one.
    pub fn for_build_context(source: &Path, dockerfile: &Path) -> Result<Self, IgnoreError> {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let mut rules = Self::without_files(IgnoreKind::DockerIgnore);
        for name in [own.as_os_str(), OsStr::new(".dockerignore")] {
            if let Some(text) = read(&source.join(name), OFlags::empty())? {
                rules.docker = Some(Arc::new(DockerIgnore::parse(Path::new(name), &text)?));
                break;
            }
        }
        Ok(rules)
    }

    /// Reads the rules of the repository around `real` that come from above it.
    fn above(real: &Path, notes: &mut Vec<IgnoreNote>) -> Result<Self, IgnoreError> {
        let mut rules = Self::without_files(IgnoreKind::GitIgnore);
        let Some(repository) = repository::around(real) else { return Ok(rules) };
        let Ok(inside) = real.strip_prefix(&repository.root) else { return Ok(rules) };
        let steps: Vec<&OsStr> = inside.iter().collect();
        let up = |levels: usize| -> PathBuf { std::iter::repeat_n("..", levels).collect() };

        // Each file with how far below the repository's root it is, the strongest last.
        let mut files = Vec::new();
        if let Some(text) = read(&repository.exclude, OFlags::empty())? {
            let shown = match repository.exclude.strip_prefix(&repository.root) {
                Ok(below) => up(steps.len()).join(below),
                Err(_) => repository.exclude.clone(),
            };
            files.push((0, RuleFile::parse(&shown, &text)?));
        }
        let mut directory = repository.root;
        for (depth, step) in steps.iter().enumerate() {
            let path = directory.join(rules.file_name());
            if let Some(text) = read(&path, OFlags::NOFOLLOW)? {
                let shown = up(steps.len() - depth).join(rules.file_name());
                files.push((depth, RuleFile::parse(&shown, &text)?));
            }
            let decided = files.iter().rev().find_map(|(top, file)| {
                let pattern =
                    file.last_match(&join(&steps[*top..=depth]), step.as_bytes(), true)?;
                Some(RuleRef { file, pattern })
            });
            if let Some(rule) = decided.filter(|rule| !rule.pattern.negated) {
                notes.push(IgnoreNote::SourceIgnored { rule: rule.to_string() });
                return Ok(rules);
            }
            directory.push(step);
        }
        for (top, file) in files {
            let place = match &steps[top..] {
                [] => Place::Inside(Box::default()),
                below => Place::Above(join(below).into()),
            };
            rules.push(file, place);
        }
        Ok(rules)
    }

    /// Returns which ignore files rule this source.
    pub fn kind(&self) -> IgnoreKind {
        self.kind
    }

    /// Returns the name of the files that [`Self::enter`] wants to know of.
    ///
    /// Only regular files count: git does not read an ignore file through a link either.
    pub fn file_name(&self) -> &'static str {
        self.kind.file_name()
    }

    /// Returns what the user should know about where these rules come from.
    pub fn notes(&self) -> &[IgnoreNote] {
        &self.notes
    }

    /// Returns the rules that hold inside `dir`, whose own ignore file reads `text`.
    ///
    /// `dir` is relative to the source, without slashes at its ends. Where a directory has no
    /// ignore file, those of the directory above hold.
    ///
    /// # Errors
    ///
    /// The file is over the limits on ignore files.
    pub fn enter(&self, dir: &[u8], text: &[u8]) -> Result<Self, IgnoreError> {
        let shown = Path::new(OsStr::from_bytes(dir)).join(self.file_name());
        let mut rules = self.clone();
        rules.push(RuleFile::parse(&shown, text)?, Place::Inside(dir.into()));
        Ok(rules)
    }

    /// Returns a digest of all that these rules decide by: two with the same decide the same.
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new();
        let mut text = |text: &[u8]| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        text(self.file_name().as_bytes());
        for pattern in self.docker.iter().flat_map(|docker| docker.patterns()) {
            text(pattern.as_bytes());
        }
        let mut level = self.innermost.as_deref();
        while let Some(here) = level {
            match &here.place {
                Place::Inside(dir) => text(&[b"inside ", &**dir].concat()),
                Place::Above(prefix) => text(&[b"above ", &**prefix].concat()),
            }
            text(&(here.file.patterns().count() as u64).to_le_bytes());
            here.file.patterns().for_each(&mut text);
            level = here.outer.as_deref();
        }
        hasher.finish()
    }

    fn push(&mut self, file: RuleFile, place: Place) {
        if !file.is_empty() {
            self.innermost = Some(Arc::new(Level { file, place, outer: self.innermost.take() }));
        }
    }

    /// Returns whether directories have ignore files of their own.
    pub(crate) fn nest(&self) -> bool {
        self.kind != IgnoreKind::DockerIgnore
    }

    /// Returns whether something in the directory `path`, which is ignored, may not be. Only in
    /// build contexts.
    pub(crate) fn may_keep_below(&self, path: &[u8]) -> bool {
        self.docker.as_ref().is_some_and(|docker| docker.may_keep_below(path))
    }

    /// Decides on `path`, relative to the source and inside the directory of these rules.
    ///
    /// `is_dir` is false for a link to a directory. Does not ask whether a directory above `path`
    /// is ignored: whoever enters one has asked.
    pub fn decide(&self, path: &[u8], is_dir: bool) -> Verdict<'_> {
        if let Some(docker) = &self.docker {
            return Verdict { excluded: docker.excludes(path), rule: None };
        }
        let name = base_name(path);
        let mut level = self.innermost.as_deref();
        while let Some(here) = level {
            let seen: Option<Cow<'_, [u8]>> = match &here.place {
                _ if !here.file.looks_at_paths() => Some(Cow::Borrowed(name)),
                Place::Inside(dir) if dir.is_empty() => Some(Cow::Borrowed(path)),
                Place::Inside(dir) => path
                    .strip_prefix(&**dir)
                    .and_then(|rest| rest.strip_prefix(b"/"))
                    .map(Cow::Borrowed),
                Place::Above(prefix) => Some(Cow::Owned([prefix, &b"/"[..], path].concat())),
            };
            if let Some(pattern) = seen.and_then(|seen| here.file.last_match(&seen, name, is_dir)) {
                let rule = Some(RuleRef { file: &here.file, pattern });
                return Verdict { excluded: !pattern.negated, rule };
            }
            level = here.outer.as_deref();
        }
        Verdict { excluded: false, rule: None }
    }
}

/// Returns the top directory of the repository around `directory`, which must be a real path.
pub(crate) fn repository_root(directory: &Path) -> Option<PathBuf> {
    repository::around(directory).map(|repository| repository.root)
}

fn base_name(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..])
}

fn join(steps: &[&OsStr]) -> Vec<u8> {
    steps.iter().map(|step| step.as_bytes()).collect::<Vec<_>>().join(&b'/')
}

/// Reads an ignore file of the source's root, noting it when it is not read.
fn read_own(
    source: &Path,
    kind: IgnoreKind,
    notes: &mut Vec<IgnoreNote>,
) -> Result<Option<Vec<u8>>, IgnoreError> {
    let file = source.join(kind.file_name());
    if file.is_symlink() {
        notes.push(IgnoreNote::Linked { file: kind.file_name().into() });
        return Ok(None);
    }
    read(&file, OFlags::NOFOLLOW)
}

/// Reads a short text file at `path`, if a regular file is there and no link.
pub(crate) fn read_nested(path: &Path) -> Result<Option<Vec<u8>>, IgnoreError> {
    read(path, OFlags::NOFOLLOW)
}

/// Reads the ignore file at `path`, if a regular file is there.
fn read(path: &Path, flags: OFlags) -> Result<Option<Vec<u8>>, IgnoreError> {
    use rustix::io::Errno;

    // Without NONBLOCK a pipe with the name of an ignore file would make this wait for ever.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(io::Error::from(errno)).context("read", path)?,
    };
    if !file.metadata().context("read", path)?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    let limit = rule_file::MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut text).context("read", path)?;
    Ok(Some(text))
}

/// Whether a path is ignored, and why.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The path is ignored.
    pub excluded: bool,
    /// The rule that decided; without one a path is not ignored.
    pub rule: Option<RuleRef<'a>>,
}

/// Points at one line of one ignore file.
#[derive(Clone, Copy)]
pub struct RuleRef<'a> {
    file: &'a RuleFile,
    pattern: &'a Pattern,
}

impl<'a> RuleRef<'a> {
    /// Returns the path of the ignore file, relative to the source.
    pub fn file(&self) -> &'a Path {
        self.file.shown()
    }

    /// Returns the number of the line, counted from 1.
    pub fn line(&self) -> u32 {
        self.pattern.line
    }

    /// Returns the line without trailing spaces.
    pub fn pattern(&self) -> &'a [u8] {
        &self.pattern.text
    }
}

impl fmt::Display for RuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = String::from_utf8_lossy(self.pattern());
        write!(f, "{}:{}: {pattern}", self.file().display(), self.line())
    }
}

impl fmt::Debug for RuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Something about the ignore files that may surprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IgnoreNote {
    /// A rule from above the source ignores the source itself. It was asked for by name, so no
    /// rule from above it is applied.
    SourceIgnored {
        /// The rule, as `file:line: pattern`.
        rule: String,
    },
    /// The ignore file in the source's root is a symbolic link, and is not read.
    Linked {
        /// The file, relative to the source.
        file: PathBuf,
    },
}

impl fmt::Display for IgnoreNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceIgnored { rule } => write!(
                f,
                "the source directory itself is ignored ({rule}); ignore files above it are not applied"
            ),
            Self::Linked { file } => write!(
                f,
                "{} is a symbolic link and is not read, as in git; put a file in its place",
                file.display()
            ),
        }
    }
}

/// Why ignore rules could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// The file system refused.
    #[error(transparent)]
    Read(#[from] PathError),
    /// The file is too long to be an ignore file.
    #[error("ignore file {path:?} is over {limit_bytes} bytes")]
    TooLong {
        /// The ignore file.
        path: PathBuf,
        /// How long it may be.
        limit_bytes: usize,
    },
    /// A line of a `.dockerignore` is no pattern.
    #[error("{path:?} line {line}: {pattern:?} is not a pattern")]
    Pattern {
        /// The ignore file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line.
        pattern: String,
    },
    /// The file holds too many patterns.
    #[error("ignore file {path:?} holds over {limit} patterns")]
    TooManyPatterns {
        /// The ignore file.
        path: PathBuf,
        /// How many it may hold.
        limit: usize,
    },
}

impl IgnoreError {
    /// Returns one sentence on what to do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => None,
            Self::Pattern { .. } => Some(
                "a class needs its closing bracket, and an exclamation mark a pattern after it",
            ),
            Self::TooLong { .. } | Self::TooManyPatterns { .. } => {
                Some("ignore whole directories instead of listing what is in them")
            }
        }
    }
}

#[cfg(test)]
mod tests;
