//! The program, its arguments and variables, and where it is.

use std::path::PathBuf;

use runner::run_configuration::{load, not_yet};

use crate::project::{Project, described, loaded};

#[test]
fn keys_are_read_in_every_spelling_of_the_sdk() {
    let spellings = [
        "maxRunDurationSeconds: 60\nenvironmentVariables: {myVar: a_b}",
        "max_run_duration_seconds: 60\nenvironment_variables: {myVar: a_b}",
        "MaxRunDurationSeconds: 60\nEnvironmentVariables: {myVar: a_b}",
    ];
    for text in spellings {
        let loaded = loaded(text);
        assert_eq!(loaded.configuration.timeout_seconds, Some(60), "{text}");
        assert_eq!(loaded.configuration.environment_variables["myVar"], "a_b", "{text}");
        assert_eq!(loaded.notes, [], "{text}");
    }
}

#[test]
fn arguments_reach_the_script_as_they_are_written() {
    let text = "script: a.py\narguments: [1e-4, 0.10, yes, 010, 0x1F, 1_000, .5, '', '~', \"a b\", -1, +1, 1:30, 2020-01-01, null_, No, 1.0]";
    let loaded = loaded(text);
    assert_eq!(
        loaded.configuration.arguments,
        [
            "1e-4",
            "0.10",
            "yes",
            "010",
            "0x1F",
            "1_000",
            ".5",
            "",
            "~",
            "a b",
            "-1",
            "+1",
            "1:30",
            "2020-01-01",
            "null_",
            "No",
            "1.0"
        ]
    );
}

#[test]
fn a_list_of_words_is_joined_into_a_command_as_the_sdk_does() {
    let list = loaded("command: [python, train.py, --lr, 0.10, 'a b']").configuration;
    assert_eq!(list.command.as_deref(), Some("python train.py --lr 0.10 a b"));
    let line = loaded("command: python train.py && echo 'done:yes'").configuration;
    assert_eq!(line.command.as_deref(), Some("python train.py && echo 'done:yes'"));
    let empty = loaded("script: a.py\ncommand: ''").configuration;
    assert_eq!((empty.script.as_deref(), empty.command), (Some("a.py"), None));
}

#[test]
fn the_source_directory_is_above_the_folder_of_settings() {
    for (path, expected) in
        [(".azureml/a.runconfig", ""), ("aml_config/a", ""), ("a.runconfig", ""), ("x/a", "x")]
    {
        let project = Project::new();
        let loaded = load(&project.file(path, "script: a.py")).unwrap();
        let expected: PathBuf = project.directory.path().join(expected).components().collect();
        assert_eq!(loaded.source_directory, Some(expected), "{path}");
    }
}

#[test]
fn the_runs_variables_win_over_the_environments() {
    let loaded = loaded(
        "environment: {environmentVariables: {A: environment, B: environment, EXAMPLE_ENV_VAR: EXAMPLE_VALUE}}\n\
         environmentVariables: {B: run, EMPTY: }",
    );
    let variables: Vec<_> = loaded.configuration.environment_variables.into_iter().collect();
    let expected = [("A", "environment"), ("B", "run"), ("EMPTY", "")];
    assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn an_example_variable_that_was_changed_is_the_users() {
    let loaded = loaded("environment: {environmentVariables: {EXAMPLE_ENV_VAR: mine}}");
    assert_eq!(loaded.configuration.environment_variables["EXAMPLE_ENV_VAR"], "mine");
}

#[test]
fn what_may_surprise_is_noted_with_its_line() {
    let text = "\
script: a.py
arguments: [$HOME/x, '${DATA}', 5$]
scriptt: b.py
environment:
  docker: {enabledd: true}
history:
  directoriesToWatch: [logs, ./outputs/, tensorboard]
";
    let project = Project::new();
    let loaded = project.load(text).unwrap();
    insta::assert_snapshot!(described(&loaded, project.directory.path()), @r#"
    script: "a.py"
    arguments: ["$HOME/x","${DATA}","5$"]
    source: ROOT
    note: arguments reach the script as written: no variable in them is replaced by its value (ROOT/.azureml/test.runconfig:2)
    note: scriptt is unknown and has no effect (ROOT/.azureml/test.runconfig:3)
    note: environment.docker.enabledd is unknown and has no effect (ROOT/.azureml/test.runconfig:5)
    note: history.directoriesToWatch keeps nothing of tensorboard: what is kept of a run is outputs and logs (ROOT/.azureml/test.runconfig:7)
    "#);
}

#[test]
fn arguments_of_a_command_are_noted_and_dropped() {
    let loaded = loaded("command: make\narguments: [a]");
    assert_eq!(loaded.configuration.validate(), Ok(()));
    assert_eq!(loaded.notes[0].key, "arguments");
    // Both is documented as invalid, so it is left to be refused.
    let both = self::loaded("command: make\nscript: a.py").configuration;
    assert!(both.validate().is_err());
}

#[test]
fn datasets_in_arguments_are_refused() {
    let loaded = loaded("script: a.py\narguments: ['--data', 'DatasetConsumptionConfig:iris']");
    assert_eq!(loaded.configuration.remote_data, ["DatasetConsumptionConfig:iris"]);
    assert!(not_yet(&loaded.configuration).is_err());
}
