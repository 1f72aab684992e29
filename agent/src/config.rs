//! Settings: flag, environment, files, default, each with its origin.
//!
//! Asked for in this order, the first that is set counts: the flag, `TRAINYARD_*`,
//! `./trainyard.toml`, `$XDG_CONFIG_HOME/trainyard/config.toml`, `/etc/trainyard/config.toml`,
//! the default. [`table`] is the table of what can be set.

mod error;
mod file;
mod image_map;
mod keys;
mod policies;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub(crate) use error::ConfigError;
pub(crate) use image_map::ImageMap;
pub(crate) use keys::{KEYS, Key, Kind};

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option of this command.
    Flag,
    /// An environment variable.
    Variable(&'static str),
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// Nobody said anything else.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("option"),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting's value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The value as text, checked against the key's kind.
    pub value: OsString,
    /// Who said so.
    pub origin: Origin,
}

/// All settings that were made, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The machine's file.
    system: PathBuf,
    made: BTreeMap<Key, Setting>,
    /// The entries of tables, each with who made it.
    entries: BTreeMap<Key, BTreeMap<String, Setting>>,
}

/// The files that settings are read from, most important first.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// `./trainyard.toml`, which whoever wrote the project wrote: it cannot set everything.
    pub project: PathBuf,
    /// The user's own.
    pub user: Option<PathBuf>,
    /// The machine's.
    pub system: PathBuf,
}

impl Files {
    /// Returns where the files are for this process.
    pub(crate) fn of_this_process(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|p| p.is_absolute());
        let base = variable("XDG_CONFIG_HOME")
            .and_then(absolute)
            .or_else(|| variable("HOME").and_then(absolute).map(|home| home.join(".config")));
        Self {
            project: PathBuf::from("trainyard.toml"),
            user: base.map(|base| base.join("trainyard/config.toml")),
            system: PathBuf::from("/etc/trainyard/config.toml"),
        }
    }
}

impl Settings {
    /// Reads the environment and the files.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: somebody set something that does not exist or that cannot be read. Tell
    /// the user; nothing was done.
    pub(crate) fn load(
        files: &Files,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self { system: files.system.clone(), ..Self::default() };
        for (path, is_project) in [
            (Some(&files.system), false),
            (files.user.as_ref(), false),
            (Some(&files.project), true),
        ] {
            let Some(path) = path else { continue };
            for file::Made { key, entry, setting } in file::read(path, is_project)? {
                match entry {
                    Some(name) => {
                        settings.entries.entry(key).or_default().insert(name, setting);
                    }
                    None => {
                        settings.made.insert(key, setting);
                    }
                }
            }
        }
        for definition in KEYS {
            let Some(name) = definition.variable else { continue };
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
            definition.check(&value).map_err(|expected| ConfigError::Variable {
                name,
                value: value.clone(),
                expected,
            })?;
            let origin = Origin::Variable(name);
            settings.made.insert(definition.key, Setting { value, origin });
        }
        Ok(settings)
    }

    /// Notes what an option said; it beats everything.
    pub(crate) fn set_flag(&mut self, key: Key, value: impl Into<OsString>) {
        self.made.insert(key, Setting { value: value.into(), origin: Origin::Flag });
    }

    /// Returns what was set for `key`, or its default, or nothing if it has none.
    pub(crate) fn get(&self, key: Key) -> Option<Setting> {
        self.made.get(&key).cloned().or_else(|| {
            let value = key.definition().default?;
            Some(Setting { value: value.into(), origin: Origin::Default })
        })
    }

    /// Returns the value of `key` as text; undecodable bytes are not text and count as not set.
    pub(crate) fn text(&self, key: Key) -> Option<String> {
        self.get(key)?.value.into_string().ok()
    }

    /// Returns the value of `key` as a path. One set in a file is relative to that file's
    /// directory.
    pub(crate) fn path(&self, key: Key) -> Option<PathBuf> {
        let setting = self.get(key)?;
        let path = PathBuf::from(&setting.value);
        match &setting.origin {
            Origin::File { path: file, .. } => {
                Some(file.parent().unwrap_or_else(|| Path::new("")).join(path))
            }
            _ => Some(path),
        }
    }

    /// Returns the entries of a table. Those of all layers are in it; where two have one of the
    /// same name, the most important layer's.
    pub(crate) fn entries(&self, key: Key) -> impl Iterator<Item = (&str, &Setting)> {
        self.entries.get(&key).into_iter().flatten().map(|(name, setting)| (name.as_str(), setting))
    }

    /// Returns the value of `key` as a list; it was checked when it was read.
    pub(crate) fn list(&self, key: Key) -> Vec<String> {
        self.text(key).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Returns the value of `key` as a number; it was checked when it was read.
    pub(crate) fn number(&self, key: Key) -> Option<u64> {
        keys::parse_number(self.text(key)?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every layer sets a value for a different set of keys; the table says who wins.
    #[test]
    fn the_most_important_layer_that_says_something_wins() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            project: dir.path().join("trainyard.toml"),
            user: Some(dir.path().join("user.toml")),
            system: dir.path().join("system.toml"),
        };
        let keys = ["experiment", "target", "env", "python", "timeout"];
        // system sets all, user all but the last, project all but the last two, and so on.
        for (path, depth) in
            [(&files.system, 5), (files.user.as_ref().unwrap(), 4), (&files.project, 3)]
        {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let text: String = keys[..depth]
                .iter()
                .map(|key| match *key {
                    "timeout" => format!("{key} = \"{depth}s\"\n"),
                    key => format!("{key} = \"{name}\"\n"),
                })
                .collect();
            std::fs::write(path, text).unwrap();
        }
        let variable = |name: &str| {
            ["TRAINYARD_EXPERIMENT", "TRAINYARD_TARGET"]
                .contains(&name)
                .then(|| OsString::from("variable"))
        };
        let mut settings = Settings::load(&files, variable).unwrap();
        settings.set_flag(Key::Experiment, "flag");

        let shown: Vec<_> = KEYS
            .iter()
            .filter(|definition| keys.contains(&definition.name))
            .filter_map(|definition| {
                let Setting { value, origin } = settings.get(definition.key)?;
                let origin = origin.to_string().replace(dir.path().to_str().unwrap(), "");
                Some(format!("{} = {} ({origin})", definition.name, value.display()))
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        experiment = flag (option)
        target = variable (TRAINYARD_TARGET)
        env = trainyard (/trainyard.toml:3)
        python = user (/user.toml:4)
        timeout = 5s (/system.toml:5)
        "#);
    }

    #[test]
    fn without_any_layer_the_defaults_hold() {
        let files = Files {
            project: PathBuf::from("/nonexistent/a"),
            user: None,
            system: PathBuf::from("/nonexistent/b"),
        };
        let settings = Settings::load(&files, |_| None).unwrap();

        assert_eq!(settings.get(Key::Experiment), None);
        let target = Setting { value: "local".into(), origin: Origin::Default };
        assert_eq!(settings.get(Key::Target), Some(target));
        assert_eq!(settings.number(Key::MaxFiles), Some(1_000_000));
        assert_eq!(settings.number(Key::MaxBytes), Some(20 << 30));
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_named() {
        let files = Files {
            project: PathBuf::from("/nonexistent/a"),
            user: None,
            system: PathBuf::from("/nonexistent/b"),
        };
        let variable = |name: &str| (name == "TRAINYARD_TIMEOUT").then(|| "soon".into());

        let error = Settings::load(&files, variable).unwrap_err();

        insta::assert_snapshot!(error, @r#"TRAINYARD_TIMEOUT=soon must be a duration, as in 90, "15m" or "1h30m""#);
    }

    #[test]
    fn the_users_file_is_found_as_xdg_says() {
        let of = |set: &[(&str, &str)]| {
            let set: BTreeMap<_, _> = set.iter().copied().collect();
            Files::of_this_process(|name| set.get(name).map(OsString::from)).user
        };
        let file = |dir: &str| Some(Path::new(dir).join("trainyard/config.toml"));

        assert_eq!(of(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]), file("/c"));
        assert_eq!(of(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")]), file("/h/.config"));
        assert_eq!(of(&[]), None);
    }
}
