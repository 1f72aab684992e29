//! What files of Azure ML's say of a run besides, under a key that is none of Azure's:
//!
//! ```yaml
//! x-trainyard:
//!   sandbox: strict        # or a mapping: mode, network, mounts
//! ```

use super::reading::{Field, Section};
use super::{ConfigurationError, RunConfiguration};
use crate::sandbox::policy::Mount;

/// The key. Azure's are words.
pub(super) const KEY: &str = "x-trainyard";

/// Reads it into `configuration`.
///
/// # Errors
///
/// It says what is not known.
pub(super) fn read(
    root: &Section<'_>,
    configuration: &mut RunConfiguration,
) -> Result<(), ConfigurationError> {
    let own = root.section(KEY)?;
    only(&own, &["sandbox"])?;
    let Some(field) = own.field("sandbox") else { return Ok(()) };
    if field.value.text().is_some() {
        configuration.sandbox = Some(word(&own, field)?);
        return Ok(());
    }
    let sandbox = own.open(field)?;
    only(&sandbox, &["mode", "network", "mounts"])?;
    configuration.sandbox = sandbox.field("mode").map(|mode| word(&sandbox, mode)).transpose()?;
    configuration.network =
        sandbox.field("network").map(|network| word(&sandbox, network)).transpose()?;
    configuration.mounts = mounts(&sandbox)?;
    Ok(())
}

fn only(section: &Section<'_>, known: &[&str]) -> Result<(), ConfigurationError> {
    let unknown = |field: &&Field<'_>| !field.key.text().is_some_and(|key| known.contains(&key));
    match section.fields().iter().find(unknown) {
        None => Ok(()),
        Some(field) => {
            let text = format!("{} is none of {}", field.name, known.join(", "));
            Err(section.document.problem(field.key, text))
        }
    }
}

fn word<T>(section: &Section<'_>, field: &Field<'_>) -> Result<T, ConfigurationError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(text) = field.value.text() else { return Err(section.wrong(field, "a text")) };
    let problem = |error| section.document.problem(field.value, format!("{}: {error}", field.name));
    text.parse().map_err(problem)
}

fn mounts(sandbox: &Section<'_>) -> Result<Vec<Mount>, ConfigurationError> {
    let Some(field) = sandbox.field("mounts") else { return Ok(Vec::new()) };
    let parse = |text: &String| {
        text.parse().map_err(|error| {
            sandbox.document.problem(field.value, format!("{}: {error}", field.name))
        })
    };
    sandbox.texts("mounts")?.iter().map(parse).collect()
}
