//! Containers that a run configuration asks for, key by key.

use std::fmt::Write as _;

use runner::run_configuration::{DockerChoice, EnvironmentChoice};

use crate::project::{Project, described, problem};

/// Says what comes of a `docker` section of an environment that is a container.
fn container(environment: &str) -> String {
    let project = Project::new();
    project.file("docker/Dockerfile", "FROM x\n");
    project.file("c.yml", "dependencies: [python=3.10, {pip: [azureml-defaults, numpy]}]\n");
    let text = format!("docker: {{useDocker: true}}\nenvironment: {{{environment}}}");
    let loaded = project.load(text).unwrap();
    described(&loaded, project.directory.path()).replace("source: ROOT\n", "")
}

fn choice(environment: &str) -> DockerChoice {
    let text = format!("docker: {{useDocker: true}}\nenvironment: {{{environment}}}");
    match Project::new().load(text).unwrap().configuration.environment {
        EnvironmentChoice::Docker(docker) => *docker,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_key_of_a_container_has_its_effect() {
    let cases = [
        "docker: {}",
        "docker: {baseImage: 'python:3.11'}",
        "docker: {baseImage: x}, python: {userManagedDependencies: true}",
        "docker: {baseImage: x}, python: {userManagedDependencies: true, interpreterPath: /opt/python, condaDependenciesFile: c.yml}",
        "docker: {baseImage: x}, python: {condaDependenciesFile: c.yml, interpreterPath: other}",
        "docker: {baseImage: x}, python: {condaDependencies: {dependencies: [python=3.10]}, condaDependenciesFile: c.yml}",
        "docker: {baseImage: x}, python: {baseCondaEnvironment: /opt/conda/envs/x}",
        "docker: {baseImage: x}, python: {baseCondaEnvironment: mine, condaDependenciesFile: c.yml}",
        "docker: {baseDockerfile: \"FROM x\\nRUN true\\n\"}",
        "docker: {baseDockerfile: FROM x}",
        "docker: {baseDockerfile: docker/Dockerfile, baseImage: own}",
        "docker: {baseImage: mcr.microsoft.com/azureml/x, buildContext: {locationType: local, location: docker}}",
        "docker: {buildContext: {location: docker, dockerfilePath: D}, baseDockerfile: FROM x}",
        "docker: {buildContext: {locationType: git, location: 'https://example.com/x.git'}}",
        "docker: {buildContext: {locationType: storageAccount, location: 'https://x.blob.example.com/c'}}",
        "docker: {baseImage: x, platform: {os: Linux, architecture: arm64}}",
        "docker: {baseImage: x, sharedVolumes: false, shmSize: 8g, arguments: [--cpus, 2]}",
        "docker: {baseImage: x, gpuSupport: true, preparation: {a: b}, colour: red}",
    ];
    let mut text = String::new();
    for case in cases {
        writeln!(text, "{case}\n{}", container(case)).unwrap();
    }
    insta::assert_snapshot!("containers", text);
}

#[test]
fn the_registry_goes_before_the_image_and_its_password_nowhere() {
    let cases = [
        "docker: {baseImage: 'a/b:1', baseImageRegistry: {address: r.example.com}}",
        "docker: {baseImage: 'b:1', baseImageRegistry: {address: 'https://r.example.com/', username: me, password: hunter2}}",
        "docker: {baseImage: 'r.example.com/b', baseImageRegistry: {address: r.example.com, username: me}}",
        "docker: {baseImage: 'localhost:5000/b', baseImageRegistry: {address: r.example.com, username: me}}",
        "docker: {baseImage: 'localhost:5000/b', baseImageRegistry: {username: me, password: hunter2}}",
        "docker: {baseImage: b, baseImageRegistry: {username: me, password: hunter2}}",
        "docker: {baseImage: b, baseImageRegistry: {password: hunter2}}",
        "docker: {baseImage: b, baseImageRegistry: {registryIdentity: {resourceId: x, clientId: }}}",
        "docker: {baseImage: b, baseImageRegistry: {registryIdentity: {resourceId: , clientId: }}}",
    ];
    let mut text = String::new();
    for case in cases {
        writeln!(text, "{}", container(case)).unwrap();
        let shown = format!("{:?}", choice(case));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let password = choice(cases[1]).registry.unwrap().password.unwrap();
    assert_eq!(password.0, "hunter2");
    insta::assert_snapshot!(text, @r#"
    environment: {"kind":"docker","base":{"image":"r.example.com/a/b:1"}}

    environment: {"kind":"docker","base":{"image":"r.example.com/b:1"},"registry":{"address":"r.example.com","username":"me"}}

    environment: {"kind":"docker","base":{"image":"r.example.com/b"},"registry":{"address":"r.example.com","username":"me"}}

    environment: {"kind":"docker","base":{"image":"localhost:5000/b"},"registry":{"address":"r.example.com","username":"me"}}
    note: environment.docker.baseImageRegistry.address is not where the image is, which says localhost:5000: it stays there (ROOT/.azureml/test.runconfig:2)

    environment: {"kind":"docker","base":{"image":"localhost:5000/b"},"registry":{"address":"localhost:5000","username":"me"}}

    environment: {"kind":"docker","base":{"image":"b"},"registry":{"address":"docker.io","username":"me"}}

    environment: {"kind":"docker","base":{"image":"b"}}
    note: environment.docker.baseImageRegistry.password has no effect here: there is no username (ROOT/.azureml/test.runconfig:2)

    environment: {"kind":"docker","base":{"image":"b"}}
    note: environment.docker.baseImageRegistry.registryIdentity has no effect here: there is no managed identity to log in with (ROOT/.azureml/test.runconfig:2)

    environment: {"kind":"docker","base":{"image":"b"}}
    "#);
    let wrong = [
        "environment: {docker: {enabled: true, baseImageRegistry: {password: [hunter2]}}}",
        "environment: {docker: {enabled: true, baseImageRegistry: {password: hunter2, username: [x]}}}",
        "environment:\n  password: hunter2 [}: {",
    ];
    let wrong = wrong.map(problem).join("\n\n");
    assert!(!wrong.contains("hunter2"), "{wrong}");
    insta::assert_snapshot!(wrong, @r#"
    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 69: environment.docker.baseImageRegistry.password: expected a text

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 88: environment.docker.baseImageRegistry.username: expected a text, found a list

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 2, column 23: mapping values are not allowed in this context
    "#);
}

#[test]
fn the_newer_docker_section_counts_key_by_key() {
    let texts = [
        "docker: {useDocker: true, arguments: [--cpus=1], shmSize: 1g}\nenvironment: {docker: {baseImage: x, arguments: [--cpus=2], shmSize: 2g}}",
        "docker: {useDocker: true}\nenvironment: {docker: {baseImage: x, arguments: [--cpus=2], shmSize: 3g}}",
        "docker: {arguments: [--cpus=1]}\nenvironment: {docker: {enabled: true, baseImage: x, arguments: []}}",
        "docker: {useDocker: true}\nenvironment: {name: registered}",
        "environment: {docker: {enabled: false, baseDockerfile: FROM x}}",
        "docker: {useDocker: false}\nenvironment: {docker: {baseDockerfile: FROM x}}",
    ];
    let mut text = String::new();
    for case in texts {
        let project = Project::new();
        let loaded = project.load(case).unwrap();
        writeln!(text, "{case}\n{}", described(&loaded, project.directory.path())).unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    docker: {useDocker: true, arguments: [--cpus=1], shmSize: 1g}
    environment: {docker: {baseImage: x, arguments: [--cpus=2], shmSize: 2g}}
    environment: {"kind":"docker","base":{"image":"x"}}
    container: {"arguments":["--cpus=1"],"shmBytes":1073741824}
    source: ROOT
    note: environment.docker.arguments has no effect here: docker.arguments counts (ROOT/.azureml/test.runconfig:2)

    docker: {useDocker: true}
    environment: {docker: {baseImage: x, arguments: [--cpus=2], shmSize: 3g}}
    environment: {"kind":"docker","base":{"image":"x"}}
    container: {"arguments":["--cpus=2"],"shmBytes":3221225472}
    source: ROOT

    docker: {arguments: [--cpus=1]}
    environment: {docker: {enabled: true, baseImage: x, arguments: []}}
    environment: {"kind":"docker","base":{"image":"x"}}
    container: {"arguments":["--cpus=1"],"shmBytes":null}
    source: ROOT

    docker: {useDocker: true}
    environment: {name: registered}
    environment: {"kind":"named","name":"registered","version":null}
    source: ROOT
    note: docker.useDocker has no effect here: a registered environment is what it was registered as (ROOT/.azureml/test.runconfig:1)

    environment: {docker: {enabled: false, baseDockerfile: FROM x}}
    environment: {"kind":"docker","base":{"dockerfileText":"FROM x"}}
    source: ROOT
    note: environment.docker.enabled (false) does not count: the environment has a Dockerfile, so it is a container (ROOT/.azureml/test.runconfig:1)

    docker: {useDocker: false}
    environment: {docker: {baseDockerfile: FROM x}}
    source: ROOT
    note: environment.docker.baseDockerfile has no effect here: the run does not use Docker (ROOT/.azureml/test.runconfig:2)
    "#);
}

#[test]
fn a_wrong_value_in_a_container_is_named_with_its_place() {
    let cases = [
        "baseImage: [x]",
        "baseImage: x, platform: {os: Windows}",
        "baseImage: x, shmSize: big",
        "baseImage: x, sharedVolumes: maybe",
        "baseImage: x, arguments: --cpus=2",
        "baseImage: x, baseImageRegistry: {username: [x]}",
        "baseDockerfile: no/such/Dockerfile",
        "buildContext: here",
    ];
    let mut text = String::new();
    for case in cases {
        let wrong = problem(format!("environment: {{docker: {{enabled: true, {case}}}}}"));
        writeln!(text, "{wrong}\n").unwrap();
    }
    insta::assert_snapshot!(text, @r#"
    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 50: environment.docker.baseImage: expected a text, found a list
      1 | environment: {docker: {enabled: true, baseImage: [x]}}
        |                                                  ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 68: environment.docker.platform.os: expected Linux, the one system of containers here, found "Windows"
      1 | ent: {docker: {enabled: true, baseImage: x, platform: {os: Windows}}}
        |                                                            ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 62: environment.docker.shmSize: expected a size, such as 2g, found "big"
      1 | vironment: {docker: {enabled: true, baseImage: x, shmSize: big}}
        |                                                            ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 68: environment.docker.sharedVolumes: expected true or false, found "maybe"
      1 | ent: {docker: {enabled: true, baseImage: x, sharedVolumes: maybe}}
        |                                                            ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 64: environment.docker.arguments: expected a list, found "--cpus=2"
      1 | ronment: {docker: {enabled: true, baseImage: x, arguments: --cpus=2}}
        |                                                            ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 83: environment.docker.baseImageRegistry.username: expected a text, found a list
      1 | enabled: true, baseImage: x, baseImageRegistry: {username: [x]}}}
        |                                                            ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 55: environment.docker.baseDockerfile: expected the text of a Dockerfile, or the path of one, found "no/such/Dockerfile"
      1 | environment: {docker: {enabled: true, baseDockerfile: no/such/Dockerfile}}
        |                                                       ^

    cannot use run configuration "DIR/.azureml/test.runconfig"
    line 1, column 53: environment.docker.buildContext: expected a mapping, found "here"
      1 | environment: {docker: {enabled: true, buildContext: here}}
        |                                                     ^
    "#);
}
