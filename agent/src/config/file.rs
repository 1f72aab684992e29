//! Reading one settings file.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Definition, KEYS, Key, Kind};
use super::{ConfigError, Origin, Setting};

/// A setting that a file makes.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) key: Key,
    /// Its name, where the key is a table.
    pub(super) entry: Option<String>,
    pub(super) setting: Setting,
}

/// Reads the settings of one file; a file that does not exist makes none.
pub(super) fn read(path: &Path, is_project: bool) -> Result<Vec<Made>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    Reader { path, text: &text, is_project }.settings()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    is_project: bool,
}

impl Reader<'_> {
    fn settings(&self) -> Result<Vec<Made>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| ConfigError::Syntax {
            path: self.path.to_owned(),
            line: self.line(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut settings = Vec::new();
        self.table(table.get_ref(), "", &mut settings)?;
        Ok(settings)
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        prefix: &str,
        settings: &mut Vec<Made>,
    ) -> Result<(), ConfigError> {
        for (key, value) in table.iter() {
            let name = format!("{prefix}{}", key.get_ref());
            let line = self.line(key.span().start);
            let is_table = KEYS.iter().any(|known| {
                known.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
            });
            if let (true, DeValue::Table(inner)) = (is_table, value.get_ref()) {
                self.table(inner, &format!("{name}."), settings)?;
                continue;
            }
            let Some(definition) = KEYS.iter().find(|known| known.name == name) else {
                return Err(ConfigError::Unknown { path: self.path.to_owned(), line, key: name });
            };
            if self.is_project && !definition.in_project {
                let (path, key) = (self.path.to_owned(), definition.name);
                return Err(ConfigError::NotHere { path, line, key });
            }
            if let (Kind::Table, DeValue::Table(entries)) = (definition.kind, value.get_ref()) {
                self.entries(definition, entries, settings)?;
                continue;
            }
            let setting = self.setting(definition, value, line)?;
            settings.push(Made { key: definition.key, entry: None, setting });
        }
        Ok(())
    }

    fn entries(
        &self,
        definition: &'static Definition,
        entries: &DeTable<'_>,
        settings: &mut Vec<Made>,
    ) -> Result<(), ConfigError> {
        for (name, value) in entries.iter() {
            let line = self.line(name.span().start);
            let origin = Origin::File { path: self.path.to_owned(), line };
            match value.get_ref() {
                DeValue::String(text) if !text.is_empty() && !name.get_ref().is_empty() => {
                    let setting = Setting { value: OsString::from(text.as_ref()), origin };
                    let entry = Some(name.get_ref().to_string());
                    settings.push(Made { key: definition.key, entry, setting });
                }
                _ => {
                    let expected = "a table of texts that are not empty".to_owned();
                    let (path, key) = (self.path.to_owned(), definition.name);
                    return Err(ConfigError::Value { path, line, key, expected });
                }
            }
        }
        Ok(())
    }

    fn setting(
        &self,
        definition: &'static Definition,
        value: &Spanned<DeValue<'_>>,
        line: usize,
    ) -> Result<Setting, ConfigError> {
        let text = match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Float(number) => Ok(number.to_string()),
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            DeValue::Array(items) if definition.kind == Kind::List => {
                let texts: Option<Vec<&str>> = items.iter().map(|i| i.get_ref().as_str()).collect();
                texts
                    .and_then(|texts| serde_json::to_string(&texts).ok())
                    .ok_or_else(|| "a list of texts that are not empty".to_owned())
            }
            _ if definition.kind == Kind::List => Err("a list of texts".to_owned()),
            _ if definition.kind == Kind::Table => Err("a table".to_owned()),
            _ => Err("a text or a number".to_owned()),
        };
        let checked = text.and_then(|text| {
            let text = OsString::from(text);
            definition.check(&text).map(|()| text)
        });
        match checked {
            Ok(value) => {
                let origin = Origin::File { path: self.path.to_owned(), line };
                Ok(Setting { value, origin })
            }
            Err(expected) => Err(ConfigError::Value {
                path: self.path.to_owned(),
                line,
                key: definition.name,
                expected,
            }),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, is_project: bool) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let error = read(&path, is_project).unwrap_err();
        error.to_string().replace(dir.path().to_str().unwrap(), "")
    }

    #[test]
    fn tables_and_dotted_keys_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        for text in ["[snapshot]\nmax-files = 5\n", "snapshot.max-files = 5\n"] {
            std::fs::write(&path, text).unwrap();
            let settings = read(&path, true).unwrap();
            assert_eq!(settings[0].key, Key::MaxFiles);
            assert_eq!(settings[0].setting.value, "5");
        }
    }

    #[test]
    fn what_cannot_be_set_is_named_with_file_and_line() {
        let shown: Vec<_> = [
            ("experiment = \"a\"\nexperimnt = \"b\"\n", false),
            ("\n[snapshot]\nmax-file = 5\n", false),
            ("[run]\nx = 1\n", false),
            ("snapshot = 5\n", false),
            ("home = \"/tmp/x\"\n", true),
            ("timeout = \"soon\"\n", true),
            ("color = [\"red\"]\n", true),
            ("snapshot.max-bytes = \"many\"\n", true),
            ("docker.allow = \"--privileged\"\n", false),
            ("docker.allow = [1]\n", false),
            ("docker.allow = [\"\"]\n", false),
            ("docker.allow = [\"--privileged\"]\n", true),
            ("build.index-settings = \"perhaps\"\n", false),
            ("build.network = \"bridge\"\n", false),
            ("[build]\nca-bundle = \"/x\"\n", true),
            ("[images]\nmap = \"x\"\n", true),
            ("[images.map]\nx = 1\n", true),
            ("[images.map]\n\"\" = \"x\"\n", true),
            ("experiment = \n", true),
            ("experiment = \"a\"\nexperiment = \"b\"\n", true),
        ]
        .into_iter()
        .map(|(text, is_project)| refused(text, is_project))
        .collect();

        insta::assert_snapshot!(shown.join("\n"), @r#"
        /config.toml:2: unknown key "experimnt"
        /config.toml:3: unknown key "snapshot.max-file"
        /config.toml:1: unknown key "run"
        /config.toml:1: unknown key "snapshot"
        /config.toml:1: "home" cannot be set by a project
        /config.toml:1: "timeout" must be a duration, as in 90, "15m" or "1h30m"
        /config.toml:1: "color" must be a text or a number
        /config.toml:1: "snapshot.max-bytes" must be a number, as in 1000 or "20 GiB"
        /config.toml:1: "docker.allow" must be a list of texts that are not empty
        /config.toml:1: "docker.allow" must be a list of texts that are not empty
        /config.toml:1: "docker.allow" must be a list of texts that are not empty
        /config.toml:1: "docker.allow" cannot be set by a project
        /config.toml:1: "build.index-settings" must be one of true, false
        /config.toml:1: "build.network" must be one of default, host, none
        /config.toml:2: "build.ca-bundle" cannot be set by a project
        /config.toml:2: "images.map" must be a table
        /config.toml:2: "images.map" must be a table of texts that are not empty
        /config.toml:2: "images.map" must be a table of texts that are not empty
        /config.toml:1: string values must be quoted, expected literal string
        /config.toml:2: duplicate key
        "#);
    }

    #[test]
    fn a_file_that_does_not_exist_sets_nothing() {
        assert!(read(Path::new("/nonexistent/config.toml"), true).unwrap().is_empty());
        assert!(read(Path::new("/dev/null/config.toml"), true).unwrap().is_empty());
    }
}
