//! Definitions for the names of Azure ML's curated environments, shipped with the program.
//!
//! They are our own lists of packages, after what Microsoft published for the images of these
//! names: not the images, and not to the last version of every package.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::environment::CondaPackages;

const FILES: [&str; 8] = [
    include_str!("../../data/curated/minimal.toml"),
    include_str!("../../data/curated/sklearn-0.24.toml"),
    include_str!("../../data/curated/sklearn-1.0.toml"),
    include_str!("../../data/curated/sklearn-1.5.toml"),
    include_str!("../../data/curated/pytorch-1.10.toml"),
    include_str!("../../data/curated/tensorflow-2.7.toml"),
    include_str!("../../data/curated/lightgbm-3.2.toml"),
    include_str!("../../data/curated/xgboost-0.9.toml"),
];

static ALL: LazyLock<Vec<Curated>> = LazyLock::new(|| {
    // Each is read by a test, so none is ever left out here.
    FILES.iter().filter_map(|text| toml::from_str(text).ok()).collect()
});

/// An environment that is known by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curated {
    /// The name, as `AzureML-Minimal`.
    pub name: String,
    /// Other names it is found by.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is for, and where it differs from Azure's.
    pub description: String,
    /// A conda file.
    pub conda: String,
}

impl Curated {
    /// Returns what is in it.
    #[must_use]
    pub fn packages(&self) -> CondaPackages {
        CondaPackages {
            name: self.name.clone(),
            text: self.conda.clone(),
            requirements: Vec::new(),
            directory: None,
        }
    }
}

/// Returns all of them.
#[must_use]
pub fn all() -> &'static [Curated] {
    &ALL
}

/// Finds one by a name, whatever its case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Curated> {
    all().iter().find(|curated| {
        let mut names = std::iter::once(&curated.name).chain(&curated.aliases);
        names.any(|known| known.eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::definition::conda_file;

    #[test]
    fn every_file_is_a_definition_that_pip_can_install_too() {
        for text in FILES {
            let curated: Curated = toml::from_str(text).unwrap();
            let file = conda_file::parse(&curated.name, &curated.conda).unwrap();
            assert!(file.specs.iter().any(|spec| spec.name == "python"), "{}", curated.name);
            assert!(file.warnings.is_empty(), "{}: {:?}", curated.name, file.warnings);
            conda_file::from_pip(&curated.packages()).unwrap();
        }
        assert_eq!(all().len(), FILES.len());
    }

    #[test]
    fn every_name_leads_to_one() {
        let mut names = BTreeSet::new();
        for curated in all() {
            for name in std::iter::once(&curated.name).chain(&curated.aliases) {
                assert!(names.insert(name.to_ascii_lowercase()), "{name} twice");
                assert_eq!(find(&name.to_uppercase()), Some(curated));
            }
        }
        assert_eq!(find("AzureML-Nothing"), None);
    }
}
