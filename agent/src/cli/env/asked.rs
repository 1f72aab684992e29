//! Which environment a command is about: a definition and what is changed about it.

use runner::run_configuration::{DockerChoice, EnvironmentChoice};
use snapshots::store::local::{Hold, LocalStore};

use crate::cli::run::build_context;
use crate::cli::run::environment::{self, Chooser, Chosen, packages_on_top};
use crate::cli::run::place::Source;
use crate::cli::{Context, Failure, snapshotting};
use crate::workspace::Workspace;

/// A definition of an environment.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Definition {
    /// The definition: a file, a registered or curated name, or docker:IMAGE; without one, what a
    /// run here would use
    #[arg(value_name = "NAME|FILE")]
    pub(super) definition: Option<String>,
    #[command(flatten)]
    pub(super) change: Change,
}

/// What is changed about a definition.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Change {
    /// Puts it on top of this image, or without a definition takes the image as it is
    #[arg(long, value_name = "IMAGE")]
    docker: Option<String>,
    /// Takes the packages that a conda file lists from pip, by the same names
    #[arg(long)]
    conda_from_pip: bool,
}

/// Chooses the environment that `text` names. What a Dockerfile sees is in `store` then, and the
/// hold keeps it there.
///
/// # Errors
///
/// There is none like that, or it cannot be read.
pub(super) fn choose(
    text: Option<&str>,
    change: &Change,
    context: &Context,
    workspace: &Workspace,
    store: &LocalStore,
) -> Result<(Chosen, Option<Hold>), Failure> {
    let source = Source::open(std::path::Path::new("."))?;
    let current = source.directory().to_owned();
    let choice = match (&change.docker, text) {
        (Some(image), text) => {
            let packages = text.map(|text| packages_on_top(text, &source, &current)).transpose()?;
            EnvironmentChoice::Docker(Box::new(DockerChoice {
                packages,
                ..DockerChoice::of_image(image)
            }))
        }
        (None, Some(text)) => environment::asked(text, &source, &current)?,
        (None, None) => EnvironmentChoice::Default,
    };
    let chooser =
        Chooser { conda_from_pip: change.conda_from_pip, ..Chooser::new(context, &source)? };
    let mut chosen = chooser.choose(&choice)?;
    let mut notes = std::mem::take(&mut chosen.notes);
    let mut hold = None;
    if let Some(taken) = build_context::take(context, workspace, store, &chosen)? {
        build_context::note_in(&mut chosen.environment, taken.record.id);
        hold = Some(taken.hold);
        notes.extend(taken.warnings);
    }
    snapshotting::warn(context, &notes);
    Ok((chosen, hold))
}
