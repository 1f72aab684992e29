use images::environment::{DockerBase, DockerPackages};
use runner::run_configuration::{DockerBaseChoice, DockerChoice, Password, RegistryChoice};

use super::*;
use crate::workspace::Workspace;

/// A source directory with settings made by flags, and names registered beside it.
struct Project {
    dir: tempfile::TempDir,
    source: Source,
    settings: Settings,
    register: Register,
}

const CONDA: &str = "dependencies:\n- python=3.11\n- numpy=1.26\n- pip:\n  - rich\n";

fn content(name: &str) -> &'static str {
    match name {
        "conda.yml" | "environment.yml" => CONDA,
        "v2.yml" => "image: python:3.11\nconda_file: conda.yml\n",
        "saved/azureml_environment.json" => {
            r#"{"environmentVariables": {"A": "1"}, "python": {"userManagedDependencies": true},
               "docker": {"enabled": true, "baseImage": "own", "arguments": ["--cpus=1"]}}"#
        }
        name if name.contains("ockerfile") => "FROM python:3.11\n",
        _ => "",
    }
}

fn project(files: &[&str]) -> Project {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("source");
    std::fs::create_dir(&root).unwrap();
    for file in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content(file)).unwrap();
    }
    let register = Register::new(&Workspace::at(dir.path().join("home")));
    let source = Source::open(&root).unwrap();
    Project { dir, source, settings: Settings::default(), register }
}

impl Project {
    fn chooser(&self) -> Chooser<'_> {
        Chooser {
            settings: &self.settings,
            source: &self.source,
            current: self.source.directory().to_owned(),
            register: self.register.clone(),
            conda_from_pip: false,
            elsewhere: None,
        }
    }

    fn ask(&self, text: &str) -> Result<Chosen, Failure> {
        let choice = asked(text, &self.source, self.source.directory())?;
        self.chooser().choose(&choice)
    }

    /// Says in a line what was chosen, and in others what is to be said of it.
    fn told(&self, chosen: Result<Chosen, Failure>) -> String {
        let text = match chosen {
            Ok(chosen) => {
                let mut text = format!("{} ({})", shape(&chosen.environment), chosen.because);
                for note in &chosen.notes {
                    text.push_str(&format!("\n  note: {note}"));
                }
                text
            }
            Err(failure) => format!(
                "{}\n  hint: {}",
                failure.message().unwrap(),
                failure.next_step().unwrap_or("-")
            ),
        };
        text.replace(self.source.directory().to_str().unwrap(), "SOURCE")
            .replace(self.dir.path().to_str().unwrap(), "DIR")
    }
}

fn shape(environment: &Environment) -> String {
    match environment {
        Environment::UserManaged { .. } => "Python".to_owned(),
        Environment::Requirements { files, .. } => format!("requirements {}", files[0].name),
        Environment::UvProject { .. } => "uv project".to_owned(),
        Environment::Conda { packages } => format!("conda {}", packages.name),
        Environment::Docker { docker } => {
            let base = match &docker.base {
                DockerBase::Image { reference } => format!("image {reference}"),
                DockerBase::Dockerfile { name, .. } => format!("dockerfile {name}"),
            };
            let packages = match &docker.packages {
                None => String::new(),
                Some(DockerPackages::Requirements { files }) => {
                    format!(" + requirements {}", files[0].name)
                }
                Some(DockerPackages::UvProject { .. }) => " + uv project".to_owned(),
                Some(DockerPackages::Conda { packages }) => format!(" + conda {}", packages.name),
            };
            base + &packages
        }
    }
}

#[test]
fn the_first_of_the_documented_order_is_used() {
    let all = &["conda.yml", "environment.yml", "requirements.txt", "pyproject.toml"][..];
    let python = || (Key::Python, "/usr/bin/python3");
    let table: Vec<_> = [
        (&[][..], vec![]),
        (&["pyproject.toml"], vec![]),
        (&["Dockerfile"], vec![]),
        (&["requirements.txt"], vec![]),
        (&["requirements.txt", "environment.yml"], vec![]),
        (all, vec![]),
        (all, vec![(Key::Env, "requirements.txt")]),
        (all, vec![python()]),
        (all, vec![python(), (Key::Env, "requirements.txt")]),
        (all, vec![python(), (Key::Env, "conda.yml")]),
        (&[], vec![(Key::Env, "missing.txt")]),
        (&[], vec![(Key::Env, "sklearn")]),
        (&[], vec![(Key::Env, "docker:python:3.11")]),
        (&["Dockerfile"], vec![(Key::Env, "Dockerfile")]),
    ]
    .into_iter()
    .map(|(files, made)| {
        let mut project = project(files);
        for (key, value) in &made {
            project.settings.set_flag(*key, value);
        }
        let chosen = project.chooser().choose(&EnvironmentChoice::Default);
        let values: Vec<_> = made.iter().map(|(_, value)| *value).collect();
        format!("{} [{}] → {}", files.join(" "), values.join(" "), project.told(chosen))
    })
    .collect();

    insta::assert_snapshot!(table.join("\n"), @r#"
     [] → Python (the current Python)
    pyproject.toml [] → Python (the current Python)
    Dockerfile [] → Python (the current Python)
    requirements.txt [] → requirements requirements.txt (found in the source directory)
    requirements.txt environment.yml [] → conda environment.yml (found in the source directory)
    conda.yml environment.yml requirements.txt pyproject.toml [] → conda conda.yml (found in the source directory)
    conda.yml environment.yml requirements.txt pyproject.toml [requirements.txt] → requirements requirements.txt (from option)
    conda.yml environment.yml requirements.txt pyproject.toml [/usr/bin/python3] → Python (as asked for)
    conda.yml environment.yml requirements.txt pyproject.toml [/usr/bin/python3 requirements.txt] → requirements requirements.txt (from option)
    conda.yml environment.yml requirements.txt pyproject.toml [/usr/bin/python3 conda.yml] → conda conda.yml (from option)
      note: --python has no effect here: conda.yml brings a Python of its own
     [missing.txt] → there is no environment file "missing.txt"
      hint: it was looked for in SOURCE and in the current directory, and is no registered name
     [sklearn] → no environment is registered as "sklearn"
      hint: `trainyard env register NAME FILE` gives an environment a name
     [docker:python:3.11] → image python:3.11 (from option)
    Dockerfile [Dockerfile] → dockerfile Dockerfile (from option)
    "#);
}

#[test]
fn a_text_is_any_kind_of_environment() {
    let project = project(&[
        "requirements.txt",
        "requirements-dev.in",
        "conda.yml",
        "v2.yml",
        "saved/azureml_environment.json",
        "docker/Dockerfile",
        "docker/gpu.dockerfile",
        "Dockerfile.cpu",
        "settings.toml",
        "folder/x",
    ]);
    let texts = [
        "requirements.txt",
        "requirements-dev.in",
        "conda.yml",
        "v2.yml",
        "saved",
        "saved/azureml_environment.json",
        "docker/Dockerfile",
        "docker/gpu.dockerfile",
        "Dockerfile.cpu",
        "docker:python:3.11-slim",
        "docker://registry.example.com:5000/a/b@sha256:0",
        "azureml:AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest",
        "settings.toml",
        "folder",
        "./folder",
        "no/such.txt",
        "no.txt",
        "nothing",
        "azureml:nothing:3",
        "docker:",
        "docker:Not An Image",
        "docker:--privileged",
    ];
    let table: Vec<_> =
        texts.iter().map(|text| format!("{text} → {}", project.told(project.ask(text)))).collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    requirements.txt → requirements requirements.txt (as asked for)
    requirements-dev.in → requirements requirements-dev.in (as asked for)
    conda.yml → conda conda.yml (as asked for)
    v2.yml → image python:3.11 + conda conda.yml (v2.yml says so, as asked for)
    saved → image own (saved says so, as asked for)
    saved/azureml_environment.json → image own (saved/azureml_environment.json says so, as asked for)
    docker/Dockerfile → dockerfile Dockerfile (as asked for)
    docker/gpu.dockerfile → dockerfile gpu.dockerfile (as asked for)
    Dockerfile.cpu → dockerfile Dockerfile.cpu (as asked for)
    docker:python:3.11-slim → image python:3.11-slim (as asked for)
    docker://registry.example.com:5000/a/b@sha256:0 → image registry.example.com:5000/a/b@sha256:0 (as asked for)
    azureml:AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest → conda AzureML-sklearn-1.0-ubuntu20.04-py38-cpu (as asked for)
      note: AzureML-sklearn-1.0-ubuntu20.04-py38-cpu is trainyard's own list of packages for that name, not Microsoft's image
    settings.toml → settings.toml is no kind of environment file that is known
      hint: an environment is a requirements .txt, a conda .yml, a pyproject.toml, a uv.lock, a Dockerfile, or an environment of Azure ML
    folder → no environment is registered as "folder"
      hint: `trainyard env register NAME FILE` gives an environment a name
    ./folder → SOURCE/./folder is a directory
      hint: name a file in it; a directory does where it has an azureml_environment.json
    no/such.txt → there is no environment file "no/such.txt"
      hint: it was looked for in SOURCE and in the current directory
    no.txt → there is no environment file "no.txt"
      hint: it was looked for in SOURCE and in the current directory, and is no registered name
    nothing → no environment is registered as "nothing"
      hint: `trainyard env register NAME FILE` gives an environment a name
    azureml:nothing:3 → no environment is registered as "nothing" in version 3
      hint: `trainyard env register NAME FILE` gives an environment a name
    docker: → "docker:" names no image
      hint: write --env docker:IMAGE, or --docker IMAGE
    docker:Not An Image → "Not An Image" cannot be the name of an image
      hint: an image is named as in python:3.11-slim or registry.example.com/name@sha256:…
    docker:--privileged → "--privileged" cannot be the name of an image
      hint: an image is named as in python:3.11-slim or registry.example.com/name@sha256:…
    "#);
}

#[test]
fn a_saved_environment_brings_its_variables_and_options() {
    let project = project(&["saved/azureml_environment.json"]);
    let mut chosen = project.ask("saved").unwrap();
    assert_eq!(chosen.variables, BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    assert_eq!(chosen.container.arguments, ["--cpus=1"]);

    let mut configuration = RunConfiguration::default();
    configuration.container.arguments = vec!["--init".to_owned()];
    configuration.container.shm_bytes = Some(1);
    configuration.resources.shm_bytes = Some(2);
    chosen.take_options(&configuration);
    assert_eq!(chosen.container.arguments, ["--cpus=1", "--init"]);
    assert_eq!(chosen.container.shm_bytes, Some(2));
}

#[test]
fn what_is_asked_of_a_container_that_is_none_is_said() {
    let project = project(&["requirements.txt"]);
    let mut chosen = project.ask("requirements.txt").unwrap();
    let mut configuration = RunConfiguration::default();
    configuration.container.arguments = vec!["--init".to_owned()];
    chosen.take_options(&configuration);
    insta::assert_snapshot!(chosen.notes.join("\n"), @"arguments for docker have no effect here: requirements.txt is not a container");
}

#[test]
fn packages_go_on_top_of_an_image() {
    let project = project(&["requirements.txt", "conda.yml", "v2.yml", "Dockerfile", "x.toml"]);
    let table: Vec<_> =
        ["requirements.txt", "conda.yml", "v2.yml", "Dockerfile", "x.toml", "none.txt"]
            .iter()
            .map(|text| {
                let packages = packages_on_top(text, &project.source, project.source.directory());
                let chosen = packages.and_then(|packages| {
                    let packages = Some(packages);
                    let docker = DockerChoice { packages, ..DockerChoice::of_image("python:3.11") };
                    project.chooser().choose(&EnvironmentChoice::Docker(Box::new(docker)))
                });
                format!("{text} → {}", project.told(chosen))
            })
            .collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    requirements.txt → image python:3.11 + requirements requirements.txt (as asked for)
    conda.yml → image python:3.11 + conda conda.yml (as asked for)
    v2.yml → v2.yml is more than a list of packages
      hint: what goes on top of an image is a requirements .txt, a conda .yml, a pyproject.toml or a uv.lock; leave --docker out to use it as it is
    Dockerfile → Dockerfile makes an image of its own, so it cannot be put on top of one
      hint: leave --docker out, or name a file that lists packages
    x.toml → x.toml is no kind of environment file that is known
      hint: an environment is a requirements .txt, a conda .yml, a pyproject.toml, a uv.lock, a Dockerfile, or an environment of Azure ML
    none.txt → there is no environment file "none.txt"
      hint: it was looked for in SOURCE and in the current directory
    "#);
}

#[test]
fn conda_packages_come_from_pip_where_that_is_asked_for() {
    let project = project(&["conda.yml", "v2.yml", "requirements.txt"]);
    let table: Vec<_> = ["conda.yml", "v2.yml", "requirements.txt", "AzureML-Minimal"]
        .iter()
        .map(|text| {
            let choice = asked(text, &project.source, project.source.directory()).unwrap();
            let chooser = Chooser { conda_from_pip: true, ..project.chooser() };
            let told = project.told(chooser.choose(&choice));
            // Which Pythons this machine has is not its business.
            let lines = told.lines().filter(|line| !line.contains("asks for Python"));
            format!("{text} → {}", lines.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    conda.yml → requirements conda.yml (packages from pip) (as asked for)
    v2.yml → image python:3.11 + requirements conda.yml (packages from pip) (v2.yml says so, as asked for)
    requirements.txt → --conda-from-pip: requirements.txt lists no conda packages
      hint: leave --conda-from-pip out
    AzureML-Minimal → requirements AzureML-Minimal (packages from pip) (as asked for)
      note: AzureML-Minimal is trainyard's own list of packages for that name, not Microsoft's image
    ");
}

#[test]
fn what_a_dockerfile_sees_is_its_directory() {
    let project = project(&["docker/Dockerfile", "other/Dockerfile"]);
    let context = |file: &str, context: Option<&str>| {
        let root = project.source.directory();
        let context = context.map(|context| root.join(context));
        let base = DockerBaseChoice::Dockerfile { file: root.join(file), context };
        let choice = EnvironmentChoice::Docker(Box::new(DockerChoice::of(base)));
        match project.chooser().choose(&choice) {
            Ok(chosen) => match chosen.build_context {
                Some(BuildContext::Directory(directory, dockerfile)) => {
                    let directory = directory.strip_prefix(root).unwrap().display().to_string();
                    format!("{directory} {}", dockerfile.display())
                }
                other => format!("{other:?}"),
            },
            Err(failure) => project.told(Err(failure)),
        }
    };
    let table = [
        context("docker/Dockerfile", Some("docker")),
        context("docker/Dockerfile", Some("")),
        context("docker/Dockerfile", Some("other")),
        context("docker/Dockerfile", None),
        context("docker/Missing", Some("docker")),
        context("docker/Dockerfile", Some("missing")),
        context("docker/Dockerfile", Some("docker/Dockerfile")),
        context("docker", Some("docker")),
    ];
    insta::assert_snapshot!(table.join("\n"), @r#"
    docker Dockerfile
     docker/Dockerfile
    other Dockerfile
    None
    cannot read the Dockerfile "SOURCE/docker/Missing": No such file or directory
      hint: -
    cannot open the build context "SOURCE/missing": No such file or directory
      hint: -
    the build context SOURCE/docker/Dockerfile is not a directory
      hint: -
    the Dockerfile SOURCE/docker is not a file
      hint: -
    "#);
    let binary = project.source.directory().join("Dockerfile");
    for (bytes, message) in [(vec![0xff], "not UTF-8"), (vec![b'#'; 2 << 20], "over the limit")] {
        std::fs::write(&binary, bytes).unwrap();
        let told = project.told(project.ask("Dockerfile"));
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn an_image_is_mapped_and_said_to_be() {
    let mut project = project(&[]);
    let file = project.dir.path().join("config.toml");
    std::fs::write(&file, "[images.map]\n\"mcr.example.com/*\" = \"local:1\"\n").unwrap();
    let files = crate::config::Files { project: "none".into(), user: None, system: file };
    project.settings = Settings::load(&files, |_| None).unwrap();
    let registry = Some(RegistryChoice {
        address: "mcr.example.com".to_owned(),
        username: "me".to_owned(),
        password: Some(Password("hunter2".to_owned())),
    });
    let choose = |image: &str| {
        let docker = DockerChoice { registry: registry.clone(), ..DockerChoice::of_image(image) };
        project.chooser().choose(&EnvironmentChoice::Docker(Box::new(docker)))
    };

    let mapped = choose("mcr.example.com/a/b:2").unwrap();
    assert_eq!((mapped.name.as_str(), &mapped.registry_password), ("local:1", &None));
    let told = project.told(Ok(mapped));
    insta::assert_snapshot!(told, @"image local:1 (as asked for; for mcr.example.com/a/b:2, by images.map in DIR/config.toml:2)");

    let other = choose("other/a").unwrap();
    assert_eq!(other.registry_password, Some(Hidden("hunter2".to_owned())));
    assert!(!format!("{other:?}").contains("hunter2"));
}

#[test]
fn a_registered_environment_is_what_it_was_registered_as() {
    use crate::registered::Definition;
    let project = project(&["saved/azureml_environment.json"]);
    let chosen = project.ask("saved").unwrap();
    let definition = Definition {
        definition: "saved".to_owned(),
        environment: chosen.environment.clone(),
        container: chosen.container.clone(),
        variables: chosen.variables.clone(),
    };
    project.register.save("mine", None, definition).unwrap();

    let again = project.ask("azureml:mine:1").unwrap();
    assert_eq!(
        (&again.name, again.environment),
        (&"mine:1 (saved)".to_owned(), chosen.environment)
    );
    assert_eq!((again.container, again.variables), (chosen.container, chosen.variables));
    let missing = project.told(project.ask("mine:2"));
    insta::assert_snapshot!(missing, @r#"
    no environment is registered as "mine" in version 2
      hint: `trainyard env register NAME FILE` gives an environment a name
    "#);
}
