//! A conda file in the one form that the environment key is made of.

use std::collections::BTreeSet;

use super::channel::{ChannelSettings, locations};
use super::{parse, pip_files};
use crate::definition::DefinitionError;
use crate::definition::requirements::{self, CanonicalLine, Requirements};
use crate::environment::CondaPackages;

/// Returns the lines that say what `packages` asks for.
///
/// The file's name and place, `name`, `prefix`, comments, white space and the order of packages are
/// gone. The order of channels stays: the first that has a package wins. Variables that the pip
/// section names count as in a requirements file.
pub(crate) fn canonical_lines(
    packages: &CondaPackages,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<CanonicalLine>, DefinitionError> {
    let file = parse(&packages.name, &packages.text)?;
    let channels = locations(&file, packages, &ChannelSettings::of(variable))?;
    let mut lines: Vec<CanonicalLine> =
        channels.iter().map(|channel| CanonicalLine::plain(format!("channel {channel}"))).collect();
    let specs: BTreeSet<String> = file.specs.iter().map(|spec| format!("conda {spec}")).collect();
    lines.extend(specs.into_iter().map(CanonicalLine::plain));
    if let Some(files) = pip_files(packages)? {
        let requirements = Requirements::check(&files)?;
        let pip = requirements::canonical_lines(&requirements, variable);
        lines.extend(pip.into_iter().map(|line| CanonicalLine {
            text: format!("pip {}", line.text),
            shown: format!("pip {}", line.shown),
            contains: line.contains,
        }));
    }
    let variables = file.variables.iter();
    lines.extend(
        variables.map(|(name, value)| CanonicalLine::plain(format!("variable {name}={value}"))),
    );
    Ok(lines)
}
