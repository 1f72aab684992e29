//! Environments by their names: those that were registered, then the curated ones.

use images::definition::curated;
use images::environment::Environment;

use super::{BuildContext, Chooser, Chosen};
use crate::cli::Failure;
use crate::registered::Definition;

impl Chooser<'_> {
    pub(super) fn of_name(
        &self,
        name: &str,
        version: Option<&str>,
        because: &str,
    ) -> Result<Chosen, Failure> {
        if let Some(found) = self.register.load(name, version)? {
            let Definition { definition, environment, container, variables } = found.definition;
            let build_context = environment.build_context().map(BuildContext::Snapshot);
            let name = format!("{name}:{} ({definition})", found.version);
            let chosen = Chosen::new(environment, name, because);
            return Ok(Chosen { build_context, container, variables, ..chosen });
        }
        if let Some(curated) = curated::find(name) {
            let environment = Environment::Conda { packages: curated.packages() };
            let note = format!(
                "{name} is trainyard's own list of packages for that name, not Microsoft's image"
            );
            let chosen = Chosen::new(environment, name, because);
            return Ok(Chosen { notes: vec![note], ..chosen });
        }
        Err(self.unknown(name, version))
    }

    fn unknown(&self, name: &str, version: Option<&str>) -> Failure {
        if name.contains('.') && version.is_none() {
            return Failure::usage(format!("there is no environment file {name:?}")).hint(format!(
                "it was looked for in {} and in the current directory, and is no registered name",
                self.source.directory().display()
            ));
        }
        let version = version.map(|version| format!(" in version {version}")).unwrap_or_default();
        Failure::usage(format!("no environment is registered as {name:?}{version}"))
            .hint("`trainyard env register NAME FILE` gives an environment a name")
    }
}
