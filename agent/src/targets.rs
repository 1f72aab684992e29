//! The compute targets that this agent knows.

mod absent;

use std::sync::Arc;

use runner::compute_target::ComputeTarget;

use absent::Absent;

/// Where runs can be carried out, by name.
pub(crate) struct Targets {
    local: Arc<dyn ComputeTarget>,
}

impl Targets {
    /// Knows this machine.
    pub(crate) fn new(local: Arc<dyn ComputeTarget>) -> Self {
        Self { local }
    }

    /// Returns the target called `name`, if it is attached.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn ComputeTarget>> {
        (name == self.local.name()).then(|| Arc::clone(&self.local))
    }

    /// Returns the target of a run that was accepted for `name`. One that is not attached any more
    /// knows nothing of it.
    pub(crate) fn of_run(&self, name: &str) -> Arc<dyn ComputeTarget> {
        self.find(name).unwrap_or_else(|| Arc::new(Absent::new(name)))
    }
}
