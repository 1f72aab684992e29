//! Packages on top of an image, by a generated Dockerfile.

use std::collections::BTreeMap;

use secrecy::SecretSlice;

use super::super::conda::{self, ForImage};
use super::super::{BuildError, Watch, requirements_files, uv_export};
use super::Builder;
use crate::definition::requirements::Requirements;
use crate::dockerfile::{
    self, CA_BUNDLE, CONDA, PREFIX, Packages, REQUIREMENTS, Recipe, VARIABLES,
};
use crate::engine::ImageFacts;
use crate::environment::{DockerEnvironment, DockerPackages, RequirementsFile};

/// What was put on top of an image.
#[derive(Default)]
pub(super) struct Added {
    /// The Python of it.
    pub(super) interpreter: Option<String>,
    /// As `conda list` says it.
    pub(super) conda: Vec<String>,
    /// What was resolved, but for pip.
    pub(super) lock: Vec<RequirementsFile>,
    /// What pip installed is part of the lock.
    pub(super) locks_pip: bool,
    pub(super) dockerfile: Option<String>,
}

impl Builder<'_> {
    /// Puts packages on top of `base`, which Dockerfiles know as `base_name`.
    pub(super) fn with_packages(
        &self,
        docker: &DockerEnvironment,
        wanted: &DockerPackages,
        base: &ImageFacts,
        base_name: &str,
        previous: &[RequirementsFile],
        watch: &mut Watch<'_>,
    ) -> Result<(ImageFacts, Added), BuildError> {
        let workshop = self.workshop;
        let mut added =
            Added { interpreter: Some(format!("{PREFIX}/bin/python")), ..Added::default() };
        let conda_directory = workshop.directory.join(CONDA);
        let files = match wanted {
            DockerPackages::Requirements { files } => Some(files.clone()),
            DockerPackages::UvProject { project } => {
                Some(uv_export::requirements(workshop, project, watch)?)
            }
            DockerPackages::Conda { packages } => {
                let place = ForImage {
                    directory: &conda_directory,
                    target_prefix: PREFIX,
                    platform: &base.platform,
                };
                let laid = conda::lay_out_for_image(workshop, packages, &place, previous, watch)?;
                added.conda = laid.packages;
                added.lock.push(laid.lock);
                laid.pip
            }
        };
        added.locks_pip = files.is_some();
        let is_conda = matches!(wanted, DockerPackages::Conda { .. });
        let files = files.unwrap_or_default();
        let mut secrets: BTreeMap<String, SecretSlice<u8>> = BTreeMap::new();
        let mut first = None;
        let directory = workshop.directory.join(REQUIREMENTS);
        if !files.is_empty() {
            let requirements = Requirements::check(&files)?;
            requirements_files::write(&requirements, &directory)?;
            first = requirements_files::file_path(&requirements, 0).to_str().map(str::to_owned);
            let variables = self.given.variables(&requirements, workshop.host)?;
            secrets.extend(variables.map(|text| (VARIABLES.to_owned(), text.into_bytes().into())));
            let bundle = self.given.ca_bundle();
            secrets.extend(bundle.map(|bundle| (CA_BUNDLE.to_owned(), bundle.to_vec().into())));
        }
        let settings: Vec<&str> = secrets.keys().map(String::as_str).collect();
        let text = dockerfile::generate(&Recipe {
            base: base_name,
            user: &base.user,
            interpreter: docker.interpreter.as_deref(),
            packages: if is_conda {
                Packages::Conda { pip: first.as_deref() }
            } else {
                Packages::Pip { requirements: first.as_deref().unwrap_or_default() }
            },
            settings: &settings,
        });
        let mut build = self.image_build(&super::image_name(&workshop.key));
        build.secrets = secrets;
        let image = self.run(
            &build,
            |writer| {
                writer.file("Dockerfile", text.as_bytes())?;
                if first.is_some() {
                    writer.host_directory(&directory, REQUIREMENTS)?;
                }
                if is_conda {
                    writer.host_directory(&conda_directory, CONDA)?;
                }
                Ok(())
            },
            watch,
        )?;
        added.dockerfile = Some(text);
        Ok((image, added))
    }
}
