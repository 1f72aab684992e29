//! The keys of a v2 command job. Unlike v1's, a key that is not among them is an error.

use super::super::ConfigurationError;
use super::super::own_keys;
use super::super::reading::{Section, Spelling, plain_name};

pub(super) const JOB: &[&str] = &[
    "$schema",
    "type",
    "command",
    "environment",
    "code",
    "inputs",
    "outputs",
    "compute",
    "resources",
    "distribution",
    "limits",
    "environment_variables",
    "name",
    "display_name",
    "experiment_name",
    "tags",
    "description",
    "properties",
    "services",
    "identity",
    "queue_settings",
    own_keys::KEY,
];
pub(super) const ENVIRONMENT: &[&str] = &[
    "$schema",
    "name",
    "version",
    "image",
    "conda_file",
    "build",
    "description",
    "tags",
    "properties",
    "os_type",
    "inference_config",
];
pub(super) const BUILD: &[&str] = &["path", "dockerfile_path"];
pub(super) const INPUT: &[&str] = &["type", "path", "mode", "value", "description"];
pub(super) const OUTPUT: &[&str] = &["type", "path", "mode", "name", "version", "description"];
pub(super) const RESOURCES: &[&str] =
    &["instance_count", "instance_type", "shm_size", "docker_args", "properties"];
pub(super) const DISTRIBUTION: &[&str] =
    &["type", "process_count_per_instance", "worker_count", "parameter_server_count"];
pub(super) const LIMITS: &[&str] = &["timeout"];

/// Refuses a key that is not in `known`.
pub(super) fn check_keys(section: &Section<'_>, known: &[&str]) -> Result<(), ConfigurationError> {
    for field in section.fields() {
        let key = field.key.text().unwrap_or("null");
        if known.contains(&key) {
            continue;
        }
        let alike =
            |other: &&&str| plain_name(other, Spelling::Any) == plain_name(key, Spelling::Any);
        let text = match known.iter().find(alike) {
            Some(meant) => format!("unknown key {}: did you mean {meant}?", field.name),
            None => format!("unknown key {} (known here: {})", field.name, known.join(", ")),
        };
        return Err(section.document.problem(field.key, text));
    }
    Ok(())
}
