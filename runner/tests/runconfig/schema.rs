//! Every key of the schema, one at a time.

use std::fmt::Write as _;
use std::path::Path;

use runner::run_configuration::{RunConfiguration, not_yet, yaml};
use serde_json::{Map, Value, json};

use crate::project::Project;

/// Leaves of the SDK's own file, by their path, with a value that is not their default.
fn leaves(node: &yaml::Node, path: &str, found: &mut Vec<(String, Value)>) {
    let entries = node.entries().unwrap_or_default();
    let within = if path.is_empty() { String::new() } else { format!("{path}.") };
    for (key, value) in entries {
        let path = format!("{within}{}", key.text().unwrap());
        // What is below these are names of the user's.
        let named = matches!(key.text(), Some("environmentVariables" | "configuration"));
        if value.entries().is_some_and(|entries| !entries.is_empty()) && !named {
            leaves(value, &path, found);
        } else {
            found.push((path.clone(), other_value(&path, value)));
        }
    }
}

fn other_value(path: &str, value: &yaml::Node) -> Value {
    match path {
        "framework" => json!("PySpark"),
        "communicator" => json!("nccl"),
        "environment.docker.buildContext" => json!({"location": "x"}),
        "docker.shmSize" => json!("4g"),
        "maxRunDurationSeconds" | "priority" => json!(7),
        _ if value.truth().is_some() => json!(!value.truth().unwrap()),
        _ if value.whole().is_some() => json!(7),
        _ if value.items().is_some() => json!(["x"]),
        _ if value.entries().is_some() => json!({"NAME": "value"}),
        _ => json!("x"),
    }
}

/// Keys that no current SDK writes.
fn older_keys() -> Vec<(String, Value)> {
    let keys = [
        ("jobName", json!("x")),
        ("argumentVector", json!(["x.py", "--lr", 1])),
        ("condaDependenciesFile", json!("x.yml")),
        ("sparkDependenciesFile", json!("x.yml")),
        ("trackedRun", json!(false)),
        ("prepareEnvironment", json!(false)),
        ("autoPrepareEnvironment", json!(false)),
        ("batchAi", json!({"x": 1})),
        ("containerInstance", json!({"region": "x"})),
        ("exposedPorts", json!([80])),
        ("history.ambientAuthentication", json!("x")),
        ("environment.docker.gpuSupport", json!(true)),
        ("environment.docker.preparation", json!({"x": 1})),
        ("environment.python.condaDependencies", json!({"dependencies": []})),
    ];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn document(path: &str, value: Value) -> String {
    let mut value = value;
    for key in path.rsplit('.') {
        let mut map = Map::new();
        map.insert(key.to_owned(), value);
        value = Value::Object(map);
    }
    value.to_string()
}

#[test]
fn every_key_of_the_schema_has_its_effect_or_is_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let text = std::fs::read(root.join("01-default/.azureml/local.runconfig")).unwrap();
    let mut keys = Vec::new();
    leaves(&yaml::parse(&text).unwrap(), "", &mut keys);
    keys.extend(older_keys());
    assert!(keys.len() > 85, "{}", keys.len());

    let mut table = String::new();
    for (path, value) in keys {
        let project = Project::new();
        project.file("x", "python: {userManagedDependencies: true, interpreterPath: ./py}");
        let loaded = project.load(document(&path, value.clone())).unwrap();
        let file = format!("{}/", project.directory.path().display());
        let verdict = if let Err(refused) = not_yet(&loaded.configuration) {
            refused.to_string().replace("not yet in this version:", "not yet:")
        } else if !loaded.notes.is_empty() {
            loaded.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join(" + ")
        } else if loaded.configuration != RunConfiguration::default() {
            "has its effect".to_owned()
        } else {
            "SILENT".to_owned()
        };
        writeln!(table, "{path} = {value}: {}", verdict.replace(&file, "")).unwrap();
    }

    assert!(!table.contains("SILENT"), "{table}");
    insta::assert_snapshot!("schema", table);
}
