//! Files that define an environment alone.

use std::fmt::Write as _;
use std::path::Path;

use runner::run_configuration::load_environment;

use crate::project::{Project, chain};

/// Says what comes of a file: the environment, its variables, and what is said about it.
fn described(path: &Path, root: &Path) -> String {
    let mut text = String::new();
    match load_environment(path) {
        Ok(loaded) => {
            writeln!(text, "{}", serde_json::to_string(&loaded.choice).unwrap()).unwrap();
            if !loaded.variables.is_empty() {
                writeln!(text, "variables: {:?}", loaded.variables).unwrap();
            }
            if loaded.container != Default::default() {
                let container = serde_json::to_string(&loaded.container).unwrap();
                writeln!(text, "container: {container}").unwrap();
            }
            for note in &loaded.notes {
                writeln!(text, "note: {note}").unwrap();
            }
        }
        Err(error) => writeln!(text, "{}", chain(&error)).unwrap(),
    }
    text.replace(root.to_str().unwrap(), "ROOT")
}

#[test]
fn a_folder_of_the_sdk_is_read_by_its_name_or_its_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut text = String::new();
    for name in ["env-default", "env-docker/azureml_environment.json", "env-dockerfile"] {
        writeln!(text, "{name}\n{}", described(&root.join(name), &root)).unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    env-default
    {"kind":"conda","file":"ROOT/env-default/conda_dependencies.yml"}
    note: python.condaDependenciesFile lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (ROOT/env-default/azureml_environment.json:1)

    env-docker/azureml_environment.json
    {"kind":"conda","file":"ROOT/env-docker/conda_dependencies.yml"}
    variables: {"MY_VAR": "1"}

    env-dockerfile
    {"kind":"docker","base":{"dockerfile":{"file":"ROOT/env-dockerfile/BaseDockerfile","context":null}},"platform":"linux/amd64"}
    container: {"arguments":[],"shmBytes":2147483648}
    note: docker.enabled (false) does not count: the environment has a Dockerfile, so it is a container (ROOT/env-dockerfile/azureml_environment.json:14)
    "#);
}

#[test]
fn files_are_told_apart_by_their_keys() {
    let files = [
        ("conda", "name: x\ndependencies: [python]\n"),
        ("channels", "channels: [conda-forge]\n"),
        ("v1", "name: x\npython: {condaDependenciesFile: c.yml}\ndocker: {enabled: true}\n"),
        ("v1-title", "Python: {UserManagedDependencies: true, InterpreterPath: /opt/python}\n"),
        ("v2", "$schema: https://x\nname: x\nversion: 3\nimage: python:3.11\nconda_file: c.yml\n"),
        ("v2-build", "build: {path: ./docker, dockerfile_path: Own.Dockerfile}\n"),
        ("v2-listed", "image: a\nconda_file: {dependencies: [python=3.10, {pip: [a]}]}\n"),
        ("strange", "a: b\n"),
        ("empty", ""),
    ];
    let project = Project::new();
    let mut text = String::new();
    for (name, content) in files {
        let file = project.file(&format!("{name}.yml"), content);
        writeln!(text, "{name}: {}", described(&file, project.directory.path())).unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    conda: {"kind":"conda","file":"ROOT/conda.yml"}

    channels: {"kind":"conda","file":"ROOT/channels.yml"}

    v1: {"kind":"docker","base":{"image":"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"},"packages":{"conda":{"file":"ROOT/c.yml"}}}
    note: docker.baseImage is not given: the SDK's own is used, mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1

    v1-title: {"kind":"interpreter","path":"/opt/python"}

    v2: {"kind":"docker","base":{"image":"python:3.11"},"packages":{"conda":{"file":"ROOT/c.yml"}}}
    note: version has no effect here: the environment is not registered (ROOT/v2.yml:3)

    v2-build: {"kind":"docker","base":{"dockerfile":{"file":"ROOT/docker/Own.Dockerfile","context":"ROOT/docker"}}}

    v2-listed: {"kind":"docker","base":{"image":"a"},"packages":{"conda":{"listed":{"text":"dependencies:\n  - python=3.10\n  -\n    pip:\n      - a\n","place":"ROOT/v2-listed.yml"}}}}

    strange: {"kind":"conda","file":"ROOT/strange.yml"}

    empty: cannot use run configuration "ROOT/empty.yml"
    line 1, column 1: there is nothing in it
    "#);
}

#[test]
fn what_an_environment_file_says_and_has_no_effect_is_named() {
    let project = Project::new();
    let v2 = "image: a\nversion: 1\ndescription: x\ntags: {a: b}\nproperties: {a: b}\nos_type: linux\n\
              inference_config: {liveness_route: {path: /, port: 1}}\n";
    let v1 = "version: 2\npython: {userManagedDependencies: true}\nspark: {precachePackages: false}\n\
              colour: red\ndocker: {enabled: false, baseImage: own, sharedVolumes: false}\n";
    let mut text = String::new();
    for content in [v2, v1] {
        let file = project.file("env.yml", content);
        writeln!(text, "{}", described(&file, project.directory.path())).unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    {"kind":"docker","base":{"image":"a"}}
    note: version has no effect here: the environment is not registered (ROOT/env.yml:2)
    note: description has no effect here: the environment is not registered (ROOT/env.yml:3)
    note: tags has no effect here: the environment is not registered (ROOT/env.yml:4)
    note: properties has no effect here: the environment is not registered (ROOT/env.yml:5)
    note: inference_config has no effect here: nothing is deployed (ROOT/env.yml:7)

    {"kind":"currentPython"}
    note: spark.precachePackages has no effect here: Spark is not started (ROOT/env.yml:3)
    note: colour is unknown and has no effect (ROOT/env.yml:4)
    note: docker.baseImage has no effect here: the run does not use Docker (ROOT/env.yml:5)
    note: docker.sharedVolumes has no effect here: the run does not use Docker (ROOT/env.yml:5)
    note: version has no effect here: it is the definition that counts (ROOT/env.yml:1)
    "#);
}

#[test]
fn an_environment_file_that_makes_no_sense_is_named_with_its_place() {
    let project = Project::new();
    let texts = [
        "image: a\nimages: b\n",
        "image: a\nbuild: {path: .}\n",
        "image: a\nos_type: windows\n",
        "image: a\nconda_file: [x]\n",
        "build: {context: .}\n",
        "python: [x]\n",
        "python: {condaDependencies: [x]}\n",
        "docker: {enabled: true, baseDockerfile: missing/Dockerfile}\n",
        "docker: {enabled: true, platform: {os: Windows}}\n",
        "a: [\n",
    ];
    let mut text = String::new();
    for content in texts {
        let file = project.file("env.yml", content);
        writeln!(text, "{}", described(&file, project.directory.path())).unwrap();
    }
    let missing = project.directory.path().join("missing.yml");
    writeln!(text, "{}", described(&missing, project.directory.path())).unwrap();
    writeln!(text, "{}", described(project.directory.path(), project.directory.path())).unwrap();
    insta::assert_snapshot!(text, @r#"
    cannot use run configuration "ROOT/env.yml"
    line 2, column 1: unknown key images (known here: $schema, name, version, image, conda_file, build, description, tags, properties, os_type, inference_config)
      2 | images: b
        | ^

    cannot use run configuration "ROOT/env.yml"
    line 2, column 1: build: there is an image already; keep one of the two
      2 | build: {path: .}
        | ^

    cannot use run configuration "ROOT/env.yml"
    line 2, column 10: os_type: expected linux, the one system of containers here, found "windows"
      2 | os_type: windows
        |          ^

    cannot use run configuration "ROOT/env.yml"
    line 2, column 13: conda_file: expected a conda file, or what is in one, found a list
      2 | conda_file: [x]
        |             ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 9: unknown key build.context (known here: path, dockerfile_path)
      1 | build: {context: .}
        |         ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 9: python: expected a mapping, found a list
      1 | python: [x]
        |         ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 29: python.condaDependencies: expected a mapping, as in a conda file, found a list
      1 | python: {condaDependencies: [x]}
        |                             ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 41: docker.baseDockerfile: expected the text of a Dockerfile, or the path of one, found "missing/Dockerfile"
      1 | docker: {enabled: true, baseDockerfile: missing/Dockerfile}
        |                                         ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 40: docker.platform.os: expected Linux, the one system of containers here, found "Windows"
      1 | docker: {enabled: true, platform: {os: Windows}}
        |                                        ^

    cannot use run configuration "ROOT/env.yml"
    line 1, column 4: unclosed bracket '['
      1 | a: [
        |    ^

    cannot read run configuration "ROOT/missing.yml"
    No such file or directory (os error 2)

    cannot read run configuration "ROOT/azureml_environment.json"
    No such file or directory (os error 2)
    "#);
}
