//! Every key that an SDK v1 run configuration can have, and what becomes of it here.

use super::super::reading::{Field, Section, Spelling, plain_name};
use super::super::yaml::{self, Kind, Node};
use super::super::{ConfigurationError, Note, own_keys};

/// What becomes of a key.
pub(super) enum Use {
    /// It has its effect, or is refused as not done yet.
    Read,
    /// It has no effect, and is named unless it has its default.
    Inert { default: &'static str, why: &'static str },
    /// As `Read` where the run uses Docker, else as `Inert`.
    Docker { default: &'static str },
    /// As `Read` where this launcher starts the processes, else as `Inert`.
    Launcher { launcher: &'static str, default: &'static str },
    /// It holds further keys.
    Keys(&'static [Key]),
}

/// A key and what becomes of it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) becomes: Use,
}

/// What the run turned out to be, which decides over some keys.
pub(super) struct Facts<'a> {
    pub(super) docker: bool,
    pub(super) launcher: Option<&'a str>,
}

const fn read(name: &'static str) -> Key {
    Key { name, becomes: Use::Read }
}

const fn inert(name: &'static str, default: &'static str, why: &'static str) -> Key {
    Key { name, becomes: Use::Inert { default, why } }
}

const fn docker(name: &'static str, default: &'static str) -> Key {
    Key { name, becomes: Use::Docker { default } }
}

const fn keys(name: &'static str, below: &'static [Key]) -> Key {
    Key { name, becomes: Use::Keys(below) }
}

const fn launcher(launcher: &'static str, name: &'static str, default: &'static str) -> Key {
    Key { name, becomes: Use::Launcher { launcher, default } }
}

const SPARK: &str = "Spark is not started";
const HDINSIGHT: &str = "there is no HDInsight cluster";
const DATABRICKS: &str = "there is no Databricks cluster";
const PARALLEL: &str = "there are no parallel tasks";
const AML_COMPUTE: &str = "no cluster is created";
const BATCH_AI: &str = "there is no Batch AI";
const CONTAINER_INSTANCE: &str = "there are no container instances";
const PREPARES: &str = "environments are always prepared when they are needed";

/// The keys of a run configuration, in the order in which the SDK writes them, then older ones.
pub(super) const RUN: &[Key] = &[
    read("script"),
    read("arguments"),
    read("target"),
    read("framework"),
    read("communicator"),
    read("maxRunDurationSeconds"),
    read("nodeCount"),
    read("priority"),
    read(own_keys::KEY),
    // Its own table, since it may be in a file of its own.
    read("environment"),
    keys(
        "history",
        &[
            inert("outputCollection", "true", "outputs are always kept"),
            inert("snapshotProject", "true", "a snapshot is always taken"),
            read("directoriesToWatch"),
            inert("ambientAuthentication", "", "there is no run history service to sign in to"),
        ],
    ),
    keys(
        "spark",
        &[inert(
            "configuration",
            "{spark.app.name: Azure ML Experiment, spark.yarn.maxAppAttempts: 1}",
            SPARK,
        )],
    ),
    keys(
        "docker",
        &[
            read("useDocker"),
            docker("sharedVolumes", "true"),
            docker("arguments", "[]"),
            docker("shmSize", "2g"),
        ],
    ),
    keys("hdi", &[inert("yarnDeployMode", "cluster", HDINSIGHT)]),
    keys(
        "tensorflow",
        &[
            launcher("tensorflow", "workerCount", "1"),
            launcher("tensorflow", "parameterServerCount", "1"),
        ],
    ),
    keys("mpi", &[launcher("mpi", "processCountPerNode", "1"), launcher("mpi", "nodeCount", "1")]),
    keys(
        "pytorch",
        &[
            launcher("pytorch", "communicationBackend", "nccl"),
            launcher("pytorch", "processCount", ""),
            launcher("pytorch", "nodeCount", "1"),
        ],
    ),
    keys(
        "paralleltask",
        &[
            inert("maxRetriesPerWorker", "0", PARALLEL),
            inert("workerCountPerNode", "1", PARALLEL),
            inert("terminalExitCodes", "", PARALLEL),
        ],
    ),
    read("dataReferences"),
    read("data"),
    read("datacaches"),
    read("outputData"),
    inert("sourceDirectoryDataStore", "", "the snapshot is kept on this machine"),
    keys(
        "amlcompute",
        &[
            inert("vmSize", "", AML_COMPUTE),
            inert("vmPriority", "", AML_COMPUTE),
            inert("retainCluster", "false", AML_COMPUTE),
            inert("name", "", AML_COMPUTE),
            inert("clusterMaxNodeCount", "", AML_COMPUTE),
        ],
    ),
    inert("autoClusterComputeSpecification", "", AML_COMPUTE),
    keys("kubernetescompute", &[inert("instanceType", "", "there is no Kubernetes cluster")]),
    inert("credentialPassthrough", "false", "the script runs with your rights on this machine"),
    read("command"),
    read("environmentVariables"),
    read("applicationEndpoints"),
    // Of older versions.
    read("argumentVector"),
    read("jobName"),
    read("condaDependenciesFile"),
    inert("sparkDependenciesFile", "", SPARK),
    inert("trackedRun", "true", "every run is tracked"),
    inert("prepareEnvironment", "true", PREPARES),
    inert("autoPrepareEnvironment", "true", PREPARES),
    inert("batchAi", "{}", BATCH_AI),
    inert("containerInstance", "{}", CONTAINER_INSTANCE),
    inert("exposedPorts", "", "ports of this machine are open to the script"),
];

/// The keys of an environment, in the order in which the SDK writes them, then older ones.
pub(super) const ENVIRONMENT: &[Key] = &[
    read("name"),
    read("version"),
    read("environmentVariables"),
    keys(
        "python",
        &[
            read("userManagedDependencies"),
            read("interpreterPath"),
            read("condaDependenciesFile"),
            read("condaDependencies"),
            read("baseCondaEnvironment"),
        ],
    ),
    keys(
        "docker",
        &[
            read("enabled"),
            docker("baseImage", AZURE_IMAGES),
            docker("baseDockerfile", ""),
            docker("buildContext", "{}"),
            docker("sharedVolumes", "true"),
            docker("shmSize", "2g"),
            docker("arguments", "[]"),
            docker("baseImageRegistry", "{address: , username: , password: , registryIdentity: }"),
            docker("platform", "{os: Linux, architecture: amd64}"),
            inert("gpuSupport", "false", "--gpus gives GPUs to a run"),
            inert("preparation", "{}", PREPARES),
        ],
    ),
    keys(
        "spark",
        &[
            inert("repositories", "[]", SPARK),
            inert("packages", "[]", SPARK),
            inert("precachePackages", "true", SPARK),
        ],
    ),
    keys(
        "databricks",
        &[
            inert("mavenLibraries", "[]", DATABRICKS),
            inert("pypiLibraries", "[]", DATABRICKS),
            inert("rcranLibraries", "[]", DATABRICKS),
            inert("jarLibraries", "[]", DATABRICKS),
            inert("eggLibraries", "[]", DATABRICKS),
        ],
    ),
    inert("r", "", "R packages are not installed"),
    inert("inferencingStackVersion", "", "nothing is deployed"),
    inert("assetId", "", "there is no registry of environments"),
];

/// The images that the SDK fills in by itself; a newer SDK has a newer one.
const AZURE_IMAGES: &str = "mcr.microsoft.com/azureml/*";

/// Names every key of `section` that has no effect here or is not known.
pub(super) fn note_keys(
    section: &Section<'_>,
    known: &[Key],
    facts: &Facts<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    for field in section.fields() {
        let name = plain_name(field.key.text().unwrap_or("null"), Spelling::Any);
        let Some(key) = known.iter().find(|key| plain_name(key.name, Spelling::Any) == name) else {
            notes.push(section.note(field, "is unknown and has no effect"));
            continue;
        };
        match &key.becomes {
            Use::Read => {}
            Use::Keys(below) => note_keys(&section.open(field)?, below, facts, notes)?,
            Use::Inert { default, why } => {
                note_inert(section, field, default, why, notes);
            }
            Use::Docker { default } if !facts.docker => {
                note_inert(section, field, default, "the run does not use Docker", notes);
            }
            Use::Launcher { launcher, default } if facts.launcher != Some(launcher) => {
                let why = format!("communicator does not choose {launcher}");
                note_inert(section, field, default, &why, notes);
            }
            Use::Docker { .. } | Use::Launcher { .. } => {}
        }
    }
    Ok(())
}

fn note_inert(
    section: &Section<'_>,
    field: &Field<'_>,
    default: &str,
    why: &str,
    notes: &mut Vec<Note>,
) {
    if !is_default(field.value, default) {
        notes.push(section.note(field, format!("has no effect here: {why}")));
    }
}

/// Tells whether a value is what the SDK writes by itself: nothing, something empty, or `default`,
/// which is YAML, or a text with a final `*` for all that begin like it.
fn is_default(value: &Node, default: &str) -> bool {
    let empty = match &value.kind {
        Kind::Scalar { .. } => value.is_null(),
        Kind::Sequence(items) => items.is_empty(),
        Kind::Mapping(entries) => entries.is_empty(),
    };
    if empty {
        return true;
    }
    if let (Some(start), Some(text)) = (default.strip_suffix('*'), value.text()) {
        return text.starts_with(start);
    }
    yaml::parse(default.as_bytes()).is_ok_and(|default| same(value, &default))
}

/// Tells whether a value of an environment's `docker` section is what the SDK writes by itself.
pub(super) fn is_sdk_default(key: &str, value: &Node) -> bool {
    let docker = ENVIRONMENT.iter().find_map(|section| match section.becomes {
        Use::Keys(below) if section.name == "docker" => Some(below),
        _ => None,
    });
    docker.into_iter().flatten().any(|known| {
        matches!(known.becomes, Use::Docker { default } if known.name == key && is_default(value, default))
    })
}

/// Compares values by what they mean to the SDK: places and quotes do not count, nor does a key
/// without a value.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Scalar { .. }, Kind::Scalar { .. }) => match (a.truth(), b.truth()) {
            (Some(a), Some(b)) => a == b,
            _ => a.text() == b.text(),
        },
        (Kind::Sequence(a), Kind::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Kind::Mapping(a), Kind::Mapping(b)) => contains(a, b) && contains(b, a),
        _ => false,
    }
}

fn contains(all: &[(Node, Node)], some: &[(Node, Node)]) -> bool {
    let name = |key: &Node| key.text().map(|text| plain_name(text, Spelling::Any));
    some.iter().filter(|(_, value)| !value.is_null()).all(|(key, value)| {
        all.iter().any(|(other, theirs)| name(other) == name(key) && same(theirs, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_known_in_every_spelling() {
        let cases = [
            ("true", "true", true),
            ("True", "true", true),
            ("'true'", "true", true),
            ("false", "true", false),
            ("~", "2g", true),
            ("[]", "2g", true),
            ("{}", "2g", true),
            ("'2g'", "2g", true),
            ("4g", "2g", false),
            ("{os: Linux}", "{os: Linux, architecture: amd64}", false),
            ("{OS: Linux, architecture: amd64}", "{os: Linux, architecture: amd64}", true),
            ("{address: , username: x}", "{address: , username: }", false),
            ("{address: }", "{address: , username: }", true),
            ("mcr.microsoft.com/azureml/a:1", AZURE_IMAGES, true),
            ("python:3.11", AZURE_IMAGES, false),
            ("[a]", "", false),
        ];
        for (value, default, expected) in cases {
            let value = yaml::parse(value.as_bytes()).unwrap();
            assert_eq!(is_default(&value, default), expected, "{value:?} against {default}");
        }
    }
}
