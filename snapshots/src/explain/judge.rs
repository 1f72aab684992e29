//! Decides on single paths, as the walk would on its way to them.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::reach::reach;
use super::{PathExplanation, Reason};
use crate::ignore_rules::{self, IgnoreRules};
use crate::path_error::IoContext;
use crate::snapshot::{SnapshotError, SnapshotOptions, SpecialKind};
use crate::walk::place::join;

/// Knows the rules of every directory it has come through.
pub(super) struct Judge {
    source: PathBuf,
    /// Device and inode of the directories that are always left out.
    state: Vec<(u64, u64)>,
    follow_links: bool,
    root: IgnoreRules,
    directories: BTreeMap<Vec<u8>, IgnoreRules>,
}

impl Judge {
    pub(super) fn new(source: &Path, options: &SnapshotOptions) -> Result<Self, SnapshotError> {
        let root = IgnoreRules::for_source(source)?;
        let state = options.state_directories.iter();
        Ok(Self {
            source: source.to_owned(),
            state: state
                .filter_map(|path| fs::metadata(path).ok())
                .map(|found| (found.dev(), found.ino()))
                .collect(),
            follow_links: options.follow_links,
            directories: BTreeMap::from([(Vec::new(), root.clone())]),
            root,
        })
    }

    /// Returns the rules of the source's root.
    pub(super) fn rules(&self) -> &IgnoreRules {
        &self.root
    }

    /// Explains why `path`, relative to the source or absolute, is in a snapshot or not.
    pub(super) fn explain(&mut self, path: &Path) -> Result<PathExplanation, SnapshotError> {
        let Some(inside) = self.inside(path) else {
            return Ok(PathExplanation {
                path: path.to_owned(),
                included: false,
                reason: Reason::Outside,
                azure: None,
            });
        };
        let (included, reason) = self.judge(&inside)?;
        Ok(self.explanation(&inside, included, reason))
    }

    /// Returns the path from the source, cleared of `.` and slashes at its end.
    fn inside(&self, path: &Path) -> Option<Vec<u8>> {
        let given = if path.is_absolute() {
            let real = || path.strip_prefix(self.source.canonicalize().ok()?).ok();
            path.strip_prefix(&self.source).ok().or_else(real)?
        } else {
            path
        };
        let mut inside: Vec<&[u8]> = Vec::new();
        for component in given.components() {
            match component {
                Component::Normal(name) => inside.push(name.as_bytes()),
                Component::ParentDir => drop(inside.pop()?),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Some(inside.join(&b'/'))
    }

    /// Decides on `path` after the directories above it.
    pub(super) fn judge(&mut self, path: &[u8]) -> Result<(bool, Reason), SnapshotError> {
        for slash in memchr::memchr_iter(b'/', path) {
            let directory = &path[..slash];
            let shown = || PathBuf::from(OsStr::from_bytes(directory));
            if !self.follow_links && reach(&self.source, directory)?.path().is_symlink() {
                let rules = self.rules_for(directory);
                let reason = match self.judge_entry(directory, rules)? {
                    (true, _) => Reason::ThroughLink { link: shown() },
                    (false, reason) => {
                        Reason::Inside { directory: shown(), reason: Box::new(reason) }
                    }
                };
                return Ok((false, reason));
            }
            let rules = self.rules_for(directory);
            match self.judge_entry(directory, rules)? {
                (false, reason @ Reason::Missing) => return Ok((false, reason)),
                (false, reason) => {
                    let reason = Reason::Inside { directory: shown(), reason: Box::new(reason) };
                    return Ok((false, reason));
                }
                (true, _) if self.directories.contains_key(directory) => {}
                (true, _) => {
                    let inner = self.enter(directory, rules)?;
                    self.directories.insert(directory.to_vec(), inner);
                }
            }
        }
        self.judge_entry(path, self.rules_for(path))
    }

    /// Decides on `path` by the `rules` that hold in its directory.
    fn judge_entry(
        &self,
        path: &[u8],
        rules: &IgnoreRules,
    ) -> Result<(bool, Reason), SnapshotError> {
        if path.is_empty() {
            return Ok((true, Reason::NoRule));
        }
        let at = reach(&self.source, path)?;
        let found = match fs::symlink_metadata(at.path()) {
            Ok(found) => found,
            Err(error)
                if matches!(
                    error.kind(),
                    // No name is longer than the file system takes.
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::InvalidFilename
                ) =>
            {
                return Ok((false, Reason::Missing));
            }
            Err(error) => {
                return Err(error).context("read", self.source.join(OsStr::from_bytes(path)))?;
            }
        };
        if path.rsplit(|byte| *byte == b'/').next() == Some(b".git") {
            return Ok((false, Reason::Git));
        }
        if found.is_dir() && self.state.contains(&(found.dev(), found.ino())) {
            return Ok((false, Reason::StateDirectory));
        }
        let verdict = rules.decide(path, found.is_dir());
        let reason = verdict.rule.map_or(Reason::NoRule, |rule| Reason::Rule(rule.into()));
        if verdict.excluded {
            return Ok((false, reason));
        }
        match special(found.file_type()) {
            Some(kind) => Ok((false, Reason::Special(kind))),
            None => Ok((true, reason)),
        }
    }

    /// Returns the rules that hold in the directory of `path`.
    fn rules_for(&self, path: &[u8]) -> &IgnoreRules {
        let parent = memchr::memrchr(b'/', path).map_or(&[][..], |slash| &path[..slash]);
        self.directories.get(parent).unwrap_or(&self.root)
    }

    /// Reads the rules inside `directory`; `rules` are those of the directory it is in.
    fn enter(&self, directory: &[u8], rules: &IgnoreRules) -> Result<IgnoreRules, SnapshotError> {
        let at = reach(&self.source, &join(directory, rules.file_name().as_bytes()))?;
        Ok(match ignore_rules::read_nested(at.path())? {
            Some(text) => rules.enter(directory, &text)?,
            None => rules.clone(),
        })
    }

    /// Lists what rules leave out, breadth first and at most `limit` paths.
    pub(super) fn ignored(&self, limit: usize) -> Result<Vec<PathExplanation>, SnapshotError> {
        let mut ignored = Vec::new();
        let mut pending = VecDeque::from([(Vec::new(), self.root.clone())]);
        while let Some((directory, rules)) = pending.pop_front() {
            let at = reach(&self.source, &directory)?;
            let mut entries: Vec<_> = fs::read_dir(at.path())
                .and_then(Iterator::collect::<Result<Vec<fs::DirEntry>, _>>)
                .context("read", self.source.join(OsStr::from_bytes(&directory)))?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let path = join(&directory, entry.file_name().as_bytes());
                let (included, reason) = self.judge_entry(&path, &rules)?;
                if included {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        let inner = self.enter(&path, &rules)?;
                        pending.push_back((path, inner));
                    }
                } else if reason != Reason::Missing {
                    if ignored.len() == limit {
                        return Ok(ignored);
                    }
                    ignored.push(self.explanation(&path, included, reason));
                }
            }
        }
        Ok(ignored)
    }

    fn explanation(&self, path: &[u8], included: bool, reason: Reason) -> PathExplanation {
        let azure = self.azure_difference(path, included, &reason);
        let path = if path.is_empty() { b"." } else { path };
        PathExplanation { path: OsStr::from_bytes(path).into(), included, reason, azure }
    }

    /// Says how Azure ML would decide otherwise than we did.
    fn azure_difference(&self, path: &[u8], included: bool, reason: &Reason) -> Option<String> {
        match reason {
            Reason::Git => {
                return Some("Azure ML would include it, .git being no exception".into());
            }
            Reason::Inside { reason, .. } if **reason == Reason::Git => {
                return Some("Azure ML would include it, .git being no exception".into());
            }
            Reason::ThroughLink { .. } => {
                return Some("Azure ML would follow the link and include it as a file".into());
            }
            Reason::NoRule | Reason::Rule(_) | Reason::Inside { .. } => {}
            Reason::Missing | Reason::Outside | Reason::StateDirectory | Reason::Special(_) => {
                return None;
            }
        }
        let verdict = self.root.decide_as_azure(path);
        if path.is_empty() || verdict.excluded != included {
            return None;
        }
        let what = if included { "leave it out" } else { "include it" };
        let own = Path::new(self.root.file_name());
        let ours = match reason {
            Reason::Inside { reason, .. } => reason,
            other => other,
        };
        Some(match (ours, verdict.rule) {
            (Reason::Rule(rule), _) if rule.file != own => format!(
                "Azure ML would {what}: it reads only the {} in the source's root",
                own.display()
            ),
            (_, Some(rule)) => format!("Azure ML would {what} by {rule}"),
            (Reason::Rule(rule), None) if rule.pattern.ends_with(b"/") => {
                "Azure ML would keep it, empty: to it a pattern that ends with a slash matches only \
                 what is inside"
                    .to_owned()
            }
            (_, None) => format!("Azure ML would {what}: to it no rule matches"),
        })
    }
}

fn special(kind: fs::FileType) -> Option<SpecialKind> {
    if kind.is_file() || kind.is_dir() || kind.is_symlink() {
        None
    } else if kind.is_fifo() {
        Some(SpecialKind::Fifo)
    } else if kind.is_socket() {
        Some(SpecialKind::Socket)
    } else if kind.is_block_device() || kind.is_char_device() {
        Some(SpecialKind::Device)
    } else {
        Some(SpecialKind::Other)
    }
}
