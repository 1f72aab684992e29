//! What of a user's Dockerfile decides a build: the images it takes things from. All else is left
//! to the engine.

mod lines;
mod substitution;

use std::collections::BTreeMap;

use self::lines::{Instruction, Lines};
use self::substitution::substitute;
use super::{DefinitionError, Place};

/// A Dockerfile, as far as it is of interest before it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The image of the frontend that its `# syntax=` line asks for.
    pub syntax: Option<String>,
    /// The images it takes things from, in its order, each once.
    pub images: Vec<ImageUse>,
    /// The image its result is based on: `None` for `scratch`.
    pub base: Option<ImageUse>,
}

/// An image that a Dockerfile takes things from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// Its name, with values in the place of variables.
    pub reference: String,
    /// As `linux/amd64`, where the line asks for one.
    pub platform: Option<String>,
    /// Where it is named.
    pub place: Place,
}

/// What decides how a Dockerfile is read, besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What to call it in messages.
    pub name: &'a str,
    /// Values for its `ARG` lines.
    pub arguments: &'a BTreeMap<String, String>,
    /// The stage to build. Default: the last.
    pub target: Option<&'a str>,
    /// What is built for, as `linux/amd64`.
    pub platform: &'a str,
}

impl Dockerfile {
    /// Reads the `text` of a Dockerfile.
    ///
    /// # Errors
    ///
    /// It has no stage to build, or a line that names an image cannot be understood.
    pub fn parse(text: &str, reading: &Reading<'_>) -> Result<Self, DefinitionError> {
        let lines = Lines::read(text);
        let mut reader = Reader {
            reading,
            values: platform_arguments(reading.platform),
            stages: Vec::new(),
            found: Self::default(),
        };
        reader.found.syntax = lines.directives.get("syntax").cloned();
        for instruction in &lines.instructions {
            if reader.instruction(instruction)? {
                break;
            }
        }
        reader.finish()
    }
}

/// Returns the variables about platforms that BuildKit sets.
fn platform_arguments(platform: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut parts = platform.splitn(3, '/');
    let (os, arch) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let variant = parts.next().unwrap_or_default();
    for side in ["TARGET", "BUILD"] {
        for (name, value) in
            [("PLATFORM", platform), ("OS", os), ("ARCH", arch), ("VARIANT", variant)]
        {
            values.insert(format!("{side}{name}"), value.to_owned());
        }
    }
    values
}

struct Reader<'a> {
    reading: &'a Reading<'a>,
    /// Of the `ARG` lines above the first stage.
    values: BTreeMap<String, String>,
    stages: Vec<Stage>,
    found: Dockerfile,
}

struct Stage {
    name: Option<String>,
    base: Option<ImageUse>,
}

impl Reader<'_> {
    /// Reads one instruction; whether the stage to build ended before it.
    fn instruction(&mut self, instruction: &Instruction) -> Result<bool, DefinitionError> {
        let Instruction { line, name, rest } = instruction;
        match name.as_str() {
            "ARG" if self.stages.is_empty() => self.argument(*line, rest)?,
            "FROM" if self.has_target() => return Ok(true),
            "FROM" => self.stage(*line, rest)?,
            _ if self.stages.is_empty() => {
                return Err(self.error(*line, format!("{name} comes before the first FROM")));
            }
            "COPY" | "ADD" | "RUN" => self.flags(name, *line, rest)?,
            _ => {}
        }
        Ok(false)
    }

    /// `ARG NAME=default …` above the first stage.
    fn argument(&mut self, line: usize, rest: &str) -> Result<(), DefinitionError> {
        for word in rest.split_whitespace() {
            let (name, default) = word.split_once('=').unwrap_or((word, ""));
            let value = match self.reading.arguments.get(name) {
                Some(value) => value.clone(),
                // Those about platforms have their values without a default.
                None if default.is_empty() && self.values.contains_key(name) => continue,
                None => self.substituted(line, default)?,
            };
            self.values.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// `FROM [--platform=…] image [AS name]`.
    fn stage(&mut self, line: usize, rest: &str) -> Result<(), DefinitionError> {
        let (flags, words): (Vec<&str>, Vec<&str>) =
            rest.split_whitespace().partition(|word| word.starts_with("--"));
        let (image, name) = match words[..] {
            [image] => (image, None),
            [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => (image, Some(name)),
            _ => {
                let wanted = "FROM takes an image and, behind AS, the name of a stage";
                return Err(self.error(line, wanted.to_owned()));
            }
        };
        let reference = self.substituted(line, image)?;
        if reference.is_empty() {
            let message = format!("FROM {image} names no image: the variable has no value");
            return Err(self.error(line, message));
        }
        let mut platform = None;
        for flag in flags {
            let Some(value) = flag.strip_prefix("--platform=") else {
                return Err(self.error(line, format!("FROM has no {flag}")));
            };
            platform = Some(self.substituted(line, value)?).filter(|value| !value.is_empty());
        }
        let base = match self.stages.iter().rev().find(|stage| stage.is_called(&reference)) {
            Some(stage) => stage.base.clone(),
            None if reference == "scratch" => None,
            None => Some(self.image(line, reference, platform)),
        };
        self.stages.push(Stage { name: name.map(str::to_owned), base });
        Ok(())
    }

    /// The `--flags` of an instruction.
    fn flags(&mut self, name: &str, line: usize, rest: &str) -> Result<(), DefinitionError> {
        for flag in rest.split_whitespace().take_while(|word| word.starts_with("--")) {
            let (flag, value) = flag.split_once('=').unwrap_or((flag, ""));
            let from = match (name, flag) {
                ("RUN", _) => value.split(',').find_map(|option| option.strip_prefix("from=")),
                (_, "--from") => Some(value),
                _ => None,
            };
            let Some(from) = from else { continue };
            let stage = from.parse().is_ok_and(|number: usize| number < self.stages.len())
                || self.stages.iter().any(|stage| stage.is_called(from));
            if !stage && from != "scratch" {
                let from = self.substituted(line, from)?;
                self.image(line, from, None);
            }
        }
        Ok(())
    }

    /// Notes the use of an image.
    fn image(&mut self, line: usize, reference: String, platform: Option<String>) -> ImageUse {
        let image = ImageUse { reference, platform, place: self.place(line) };
        let same = |other: &ImageUse| {
            (&other.reference, &other.platform) == (&image.reference, &image.platform)
        };
        if !self.found.images.iter().any(same) {
            self.found.images.push(image.clone());
        }
        image
    }

    /// Whether the stage that is read now is the one to build.
    fn has_target(&self) -> bool {
        let Some(target) = self.reading.target else { return false };
        let number = self.stages.len().checked_sub(1);
        number.is_some() && target.parse().ok() == number
            || self.stages.last().is_some_and(|stage| stage.is_called(target))
    }

    fn finish(mut self) -> Result<Dockerfile, DefinitionError> {
        let has_target = self.reading.target.is_none() || self.has_target();
        match self.stages.pop() {
            Some(stage) if has_target => {
                self.found.base = stage.base;
                Ok(self.found)
            }
            Some(_) => {
                let target = self.reading.target.unwrap_or_default();
                Err(self.error(1, format!("there is no stage {target:?} to build")))
            }
            None => Err(self.error(1, "there is no FROM line".to_owned())),
        }
    }

    fn substituted(&self, line: usize, word: &str) -> Result<String, DefinitionError> {
        substitute(word, &self.values)
            .ok_or_else(|| self.error(line, format!("{word} cannot be understood")))
    }

    fn place(&self, line: usize) -> Place {
        Place { file: self.reading.name.to_owned(), line }
    }

    fn error(&self, line: usize, message: String) -> DefinitionError {
        DefinitionError::Dockerfile { place: self.place(line), message }
    }
}

impl Stage {
    fn is_called(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests;
