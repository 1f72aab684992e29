//! What a run is given of an environment.

use std::collections::BTreeMap;
use std::path::Path;

use super::record::Record;
use crate::environment::PreparedEnvironment;
use crate::interpreter::InterpreterFacts;

/// Returns an environment that the user looks after as runs see it.
pub(super) fn user_managed(facts: InterpreterFacts) -> PreparedEnvironment {
    let mut variables = BTreeMap::new();
    let prefix = facts.prefix.to_string_lossy().into_owned();
    if facts.prefix != facts.base_prefix {
        variables.insert("VIRTUAL_ENV".to_owned(), prefix);
    } else if facts.prefix.join("conda-meta").is_dir() {
        variables.insert("CONDA_PREFIX".to_owned(), prefix);
    }
    PreparedEnvironment {
        key: None,
        name: format!("Python {} in {}", facts.version, facts.prefix.display()),
        path_entries: facts.executable.parent().map(Path::to_owned).into_iter().collect(),
        interpreter: facts.executable,
        python_version: Some(facts.version),
        prefix: facts.prefix,
        variables,
        reused: true,
        image: None,
        lock: Vec::new(),
    }
}

/// Returns a built environment as runs see it.
pub(super) fn built(cache: &Path, record: Record, reused: bool) -> PreparedEnvironment {
    let prefix = crate::builder::venv::prefix(&cache.join(&record.directory));
    let bin = prefix.join("bin");
    let variables =
        BTreeMap::from([("VIRTUAL_ENV".to_owned(), prefix.to_string_lossy().into_owned())]);
    PreparedEnvironment {
        name: format!("{} → venv {}", record.definition, record.key.short()),
        key: Some(record.key),
        interpreter: bin.join("python"),
        python_version: Some(record.facts.version),
        prefix,
        variables,
        path_entries: vec![bin],
        reused,
        image: None,
        lock: Vec::new(),
    }
}
