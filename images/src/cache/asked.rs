//! What has to be known of an environment before it is looked for: its key and what that needs.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{EnvironmentCache, EnvironmentError, Wanted, leftover_processes};
use crate::builder::docker::{self, ResolvedBases};
use crate::builder::{IndexSettings, Watch};
use crate::engine::Engine;
use crate::environment::Environment;
use crate::interpreter::{self, InterpreterFacts};
use crate::key::{self, Basis, KeyParts};

/// What is known of an environment that was asked for.
pub(super) struct Asked {
    pub(super) base: Base,
    pub(super) settings: IndexSettings,
    /// `None`: nothing is built of it.
    pub(super) parts: Option<KeyParts>,
}

/// What an environment is based on.
pub(super) enum Base {
    /// Nothing but its definition.
    Nothing,
    /// An interpreter of this machine.
    Interpreter(Box<InterpreterFacts>),
    /// Images that the engine has.
    Images { engine: Arc<Engine>, bases: Box<ResolvedBases> },
}

/// Who is told of the pulling of images, and who ends it.
pub(super) struct Pulling<'a> {
    pub(super) log: &'a mut dyn FnMut(&[u8]),
    pub(super) cancel: &'a AtomicBool,
}

impl EnvironmentCache {
    /// Finds out what the environment's key is. Images that the engine has not are pulled.
    pub(super) fn ask(
        &self,
        wanted: &Wanted<'_>,
        pulling: Pulling<'_>,
    ) -> Result<Asked, EnvironmentError> {
        let base = match wanted.environment {
            Environment::Docker { docker } => {
                let Pulling { log, cancel } = pulling;
                // Pulling starts no processes of ours.
                let mut watch = Watch { log, marker: (leftover_processes::VARIABLE, ""), cancel };
                self.connection.with(self.host(), |engine| {
                    let (password, fresh) = (wanted.registry_password, wanted.fresh);
                    let bases = docker::resolve(engine, docker, password, fresh, &mut watch)?;
                    Ok(Base::Images { engine: Arc::clone(engine), bases: Box::new(bases) })
                })?
            }
            environment => self.base_here(environment)?,
        };
        self.asked(wanted.environment, base)
    }

    /// The same, for images that the engine has; `None` if one is missing.
    pub(super) fn ask_here(
        &self,
        environment: &Environment,
    ) -> Result<Option<Asked>, EnvironmentError> {
        let base = match environment {
            Environment::Docker { docker } => {
                let found = self.connection.with(self.host(), |engine| {
                    let bases = docker::find(engine, docker)?;
                    let images =
                        |bases| Base::Images { engine: Arc::clone(engine), bases: Box::new(bases) };
                    Ok(bases.map(images))
                })?;
                let Some(base) = found else { return Ok(None) };
                base
            }
            environment => self.base_here(environment)?,
        };
        self.asked(environment, base).map(Some)
    }

    fn base_here(&self, environment: &Environment) -> Result<Base, EnvironmentError> {
        let Some(interpreter) = environment.interpreter() else { return Ok(Base::Nothing) };
        let variable = |name: &str| self.host().get(name).map(OsStr::to_owned);
        let interpreter = interpreter::named(interpreter, &variable)?;
        let interpreters = self.directory.join("interpreters");
        Ok(Base::Interpreter(Box::new(interpreter::describe_cached(&interpreter, &interpreters)?)))
    }

    fn asked(&self, environment: &Environment, base: Base) -> Result<Asked, EnvironmentError> {
        let settings = IndexSettings::read(self.host());
        let is_told = matches!(base, Base::Nothing | Base::Interpreter(_))
            || self.options.settings.index_settings;
        let parts = key::key(
            environment,
            &Basis {
                facts: base.facts(),
                bases: base.bases(),
                index_settings: is_told.then(|| settings.digest()),
                variables: self.host(),
            },
        )?;
        Ok(Asked { base, settings, parts })
    }
}

impl Base {
    /// Returns what the interpreter it is based on says of itself.
    pub(super) fn facts(&self) -> Option<&InterpreterFacts> {
        match self {
            Self::Interpreter(facts) => Some(facts),
            Self::Nothing | Self::Images { .. } => None,
        }
    }

    fn bases(&self) -> Option<&ResolvedBases> {
        match self {
            Self::Images { bases, .. } => Some(bases),
            Self::Nothing | Self::Interpreter(_) => None,
        }
    }
}
