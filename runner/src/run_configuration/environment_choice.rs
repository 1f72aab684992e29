//! Which environment a run configuration asks for, before anything is looked up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DockerChoice;

/// The environment that was asked for, as far as the configuration says.
///
/// Paths that came from a file are absolute; those from flags are as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EnvironmentChoice {
    /// Nothing was asked for: whatever the project has, else the current Python.
    #[default]
    Default,
    /// The current Python, whatever packages the project lists: the user looks after it.
    CurrentPython,
    /// A Python interpreter that the user looks after: a path, or a name to find on `PATH`.
    Interpreter {
        /// The path or the name.
        path: PathBuf,
    },
    /// A definition file, such as `requirements.txt`, or a folder that the SDK saved one in.
    File {
        /// The file.
        path: PathBuf,
    },
    /// An environment that was registered under a name.
    Named {
        /// Its name, as written.
        name: String,
        /// Its version, where one was given.
        version: Option<String>,
    },
    /// Conda packages.
    Conda(CondaChoice),
    /// A container.
    Docker(Box<DockerChoice>),
}

/// Where conda packages are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CondaChoice {
    /// In a conda file.
    File(PathBuf),
    /// In the configuration itself.
    Listed {
        /// The same as the text of a conda file.
        text: String,
        /// The configuration's file.
        place: PathBuf,
    },
}

impl EnvironmentChoice {
    /// Reads the name of a registered environment as Azure ML writes it: `name`, `name:version`
    /// or `name@latest`, `azureml:` before it or not, or the long form with the registry.
    #[must_use]
    pub fn named(text: &str) -> Self {
        let split = |name: &str, version: Option<&str>| Self::Named {
            name: name.to_owned(),
            // The latest is what a name alone stands for.
            version: version.filter(|version| *version != "latest").map(str::to_owned),
        };
        if let Some(long) = text.strip_prefix("azureml://") {
            let mut parts = long.split('/').skip_while(|part| *part != "environments").skip(1);
            let name = parts.next().unwrap_or(long);
            return split(name, parts.nth(1));
        }
        let short = text.strip_prefix("azureml:").unwrap_or(text);
        match short.split_once([':', '@']) {
            Some((name, version)) => split(name, Some(version)),
            None => split(short, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_in_each_of_azures_forms() {
        let version = |text: &str| match EnvironmentChoice::named(text) {
            EnvironmentChoice::Named { name, version } => (name, version.unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        let cases = [
            ("sklearn", ("sklearn", "")),
            ("sklearn:3", ("sklearn", "3")),
            ("azureml:sklearn:3", ("sklearn", "3")),
            ("azureml:sklearn@latest", ("sklearn", "")),
            ("azureml:AzureML-sklearn-1.0@stable", ("AzureML-sklearn-1.0", "stable")),
            (
                "azureml://registries/azureml/environments/sklearn-1.5/versions/4",
                ("sklearn-1.5", "4"),
            ),
            (
                "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
                ("sklearn-1.5", ""),
            ),
            ("azureml://strange", ("strange", "")),
        ];
        for (text, (name, number)) in cases {
            assert_eq!(version(text), (name.to_owned(), number.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_choice_is_read_as_it_is_written() {
        let choices = [
            EnvironmentChoice::Default,
            EnvironmentChoice::named("x:1"),
            EnvironmentChoice::Conda(CondaChoice::File("/c.yml".into())),
            EnvironmentChoice::Conda(CondaChoice::Listed {
                text: "dependencies: [python]".to_owned(),
                place: "/a.runconfig".into(),
            }),
            EnvironmentChoice::Docker(Box::new(DockerChoice::of_image("python:3.11"))),
        ];
        for choice in choices {
            let text = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<EnvironmentChoice>(&text).unwrap(), choice, "{text}");
        }
    }
}
