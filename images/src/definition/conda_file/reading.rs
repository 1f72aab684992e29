//! From YAML to a [`CondaFile`].

use std::collections::BTreeMap;

use super::super::DefinitionError;
use super::{CondaFile, CondaSpec, place};
use crate::definition::requirements::without_credentials;
use crate::yaml::{self, Node, Problem};

/// A document that is being read.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Reader<'_> {
    pub(super) fn read(&self) -> Result<CondaFile, DefinitionError> {
        let root = yaml::parse(self.text.as_bytes()).map_err(|problem| self.content(problem))?;
        let entries = root.entries().ok_or_else(|| {
            self.wrong(&root, "a conda file is a mapping with `dependencies` and `channels`")
        })?;
        let mut read = CondaFile {
            name: None,
            channels: Vec::new(),
            specs: Vec::new(),
            pip: None,
            variables: BTreeMap::new(),
            warnings: Vec::new(),
        };
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            match name {
                "name" => read.name = value.text().map(str::to_owned),
                "channels" => read.channels = self.channels(value)?,
                "dependencies" => self.dependencies(value, &mut read)?,
                "variables" => read.variables = self.variables(value)?,
                "prefix" => read.warnings.push(format!(
                    "{}: prefix is not used: environments are kept by their key",
                    place(self.file, key.line)
                )),
                _ => read.warnings.push(format!(
                    "{}: {name:?} has no meaning in a conda file and is not used",
                    place(self.file, key.line)
                )),
            }
        }
        Ok(read)
    }

    fn channels(&self, value: &Node) -> Result<Vec<String>, DefinitionError> {
        let mut channels = Vec::new();
        for item in self.items(value, "`channels` is a list of names, URLs and directories")? {
            let channel = item.text().map(str::trim).filter(|text| !text.is_empty());
            let channel = channel.ok_or_else(|| self.wrong(item, "a channel is a word"))?;
            self.check_secrets(item, channel)?;
            channels.push(channel.to_owned());
        }
        Ok(channels)
    }

    fn dependencies(&self, value: &Node, read: &mut CondaFile) -> Result<(), DefinitionError> {
        for item in self.items(value, "`dependencies` is a list")? {
            if let Some(entries) = item.entries() {
                for (key, value) in entries {
                    if key.text() != Some("pip") {
                        let text = format!("only pip can have a section, not {}", key.describe());
                        return Err(self.wrong(key, text));
                    }
                    self.pip(value, read.pip.get_or_insert_default())?;
                }
                continue;
            }
            let text = item.text().ok_or_else(|| {
                self.wrong(item, "a dependency is a package, or a section of packages for pip")
            })?;
            let spec = CondaSpec::parse(text).map_err(|text| self.wrong(item, text))?;
            if let Some(channel) = &spec.channel {
                self.check_secrets(item, channel)?;
            }
            read.specs.push(spec);
        }
        Ok(())
    }

    fn pip(&self, value: &Node, lines: &mut Vec<(usize, String)>) -> Result<(), DefinitionError> {
        for item in self.items(value, "the pip section is a list of requirements")? {
            let text = item.text().map(str::trim);
            let text = text.ok_or_else(|| self.wrong(item, "a requirement is a text"))?;
            // Each has to stay a line of its own.
            if text.contains(['\n', '\r']) || text.ends_with('\\') {
                return Err(self.wrong(item, "a requirement is one line"));
            }
            // Several may stand on one line of this file.
            let after_last = lines.last().map_or(0, |(last, _)| last + 1);
            lines.push((item.line.max(after_last), text.to_owned()));
        }
        Ok(())
    }

    fn variables(&self, value: &Node) -> Result<BTreeMap<String, String>, DefinitionError> {
        let mut variables = BTreeMap::new();
        if value.is_null() {
            return Ok(variables);
        }
        let entries = value
            .entries()
            .ok_or_else(|| self.wrong(value, "`variables` is a mapping of names to values"))?;
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(self.wrong(key, "this cannot be the name of a variable"));
            }
            let text = value.text().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| self.wrong(value, "a variable's value is a text"))?;
            variables.insert(name.to_owned(), text.to_owned());
        }
        Ok(variables)
    }

    fn items<'n>(&self, value: &'n Node, expected: &str) -> Result<&'n [Node], DefinitionError> {
        if value.is_null() {
            return Ok(&[]);
        }
        value.items().ok_or_else(|| self.wrong(value, expected))
    }

    /// Refuses a user, a password or a token in a URL. The line itself must not be shown.
    fn check_secrets(&self, node: &Node, channel: &str) -> Result<(), DefinitionError> {
        let token = channel.contains("://") && channel.contains("/t/");
        if token || without_credentials(channel) != channel {
            return Err(DefinitionError::Credentials { place: place(self.file, node.line) });
        }
        Ok(())
    }

    fn wrong(&self, node: &Node, text: impl Into<String>) -> DefinitionError {
        self.content(Problem::at(self.text, node.line, node.column, text))
    }

    fn content(&self, problem: Problem) -> DefinitionError {
        DefinitionError::Conda { file: self.file.to_owned(), source: Box::new(problem) }
    }
}
