use std::fs;

use super::*;
use crate::definition::requirements::Requirements;

const SAMPLE: &str = "\
# A comment.
name: project_environment
dependencies:
  # The Python.
- python=3.10

- pip:
  - --find-links https://packages.example.com/simple
  - --extra-index-url https://packages.example.com/simple
  - azureml-defaults
  - pandas==2.0.3
- scikit-learn=1.3
channels:
- anaconda
- conda-forge
";

fn packages(text: &str) -> CondaPackages {
    CondaPackages {
        name: "conda.yml".to_owned(),
        text: text.to_owned(),
        requirements: Vec::new(),
        directory: None,
    }
}

fn canonical(text: &str) -> Vec<String> {
    let lines = canonical_lines(&packages(text), &|_| None).unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

/// The error with what caused it, one line each.
fn wrong(text: &str) -> String {
    let error = of_text("conda.yml", text, Path::new("/nowhere")).unwrap_err();
    match &error {
        DefinitionError::Conda { source, .. } => {
            format!("{error}: line {}, column {}: {}", source.line, source.column, source.text)
        }
        _ => error.to_string(),
    }
}

#[test]
fn a_file_as_the_sdk_writes_it_is_understood() {
    let parsed = parse("conda.yml", SAMPLE).unwrap();

    let specs: Vec<String> = parsed.specs.iter().map(ToString::to_string).collect();
    assert_eq!(parsed.name.as_deref(), Some("project_environment"));
    assert_eq!(parsed.channels, ["anaconda", "conda-forge"]);
    assert_eq!(specs, ["python=3.10", "scikit-learn=1.3"]);
    assert_eq!(parsed.warnings, [""; 0]);
    let files = pip_files(&packages(SAMPLE)).unwrap().unwrap();
    let requirements = Requirements::check(&files).unwrap();
    let lines: Vec<_> = requirements.files[0].lines.iter().map(|line| line.number).collect();
    assert_eq!(lines, [8, 9, 10, 11]);
}

#[test]
fn names_comments_order_and_spaces_do_not_count_but_the_order_of_channels_does() {
    let other = "\
variables: {}
prefix: /home/me/env
channels: [anaconda, conda-forge]
dependencies: [ 'scikit-learn  =1.3', Python = 3.10, pip: ['--find-links https://packages.example.com/simple',
  '--extra-index-url https://packages.example.com/simple', 'Pandas == 2.0.3', azureml_defaults]]
";
    insta::assert_snapshot!(canonical(SAMPLE).join("\n"), @r#"
    channel https://conda.anaconda.org/anaconda
    channel https://conda.anaconda.org/conda-forge
    conda python=3.10
    conda scikit-learn=1.3
    pip --find-links https://packages.example.com/simple
    pip --extra-index-url https://packages.example.com/simple
    pip azureml-defaults
    pip pandas==2.0.3
    "#);
    assert_eq!(canonical(SAMPLE), canonical(other));
    for (from, to) in [
        ("anaconda\n- conda-forge", "conda-forge\n- anaconda"),
        ("python=3.10", "python=3.11"),
        ("pandas==2.0.3", "pandas==2.0.4"),
        ("channels:", "variables: {A: b}\nchannels:"),
    ] {
        assert_ne!(canonical(SAMPLE), canonical(&SAMPLE.replace(from, to)), "{to}");
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let parsed = parse("conda.yml", "prefix: /x\ndependencies: [six]\nplatforms: [linux-64]");

    insta::assert_snapshot!(parsed.unwrap().warnings.join("\n"), @r#"
    "conda.yml" line 1: prefix is not used: environments are kept by their key
    "conda.yml" line 3: "platforms" has no meaning in a conda file and is not used
    "#);
}

#[test]
fn variables_are_texts() {
    let parsed = parse("conda.yml", "variables: {A: 1e-4, B: 'yes', C: ''}").unwrap();

    let variables: Vec<_> = parsed.variables.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(variables, ["A=1e-4", "B=yes", "C="]);
}

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    let texts = [
        "",
        "- six",
        "a: b: c",
        "name: x\nname: y",
        "dependencies: six",
        "dependencies: [[six]]",
        "dependencies: [six, ==1]",
        "dependencies:\n- npm: [left-pad]",
        "dependencies:\n- pip: six",
        "dependencies:\n- pip:\n  - [six]",
        "dependencies:\n- pip:\n  - |\n    six\n    idna",
        "dependencies:\n- pip:\n  - six\n  - -e .",
        "dependencies:\n- pip:\n  - --frobnicate",
        "dependencies:\n- pip:\n  - -r missing.txt",
        "channels: x",
        "channels: [{a: b}]",
        "channels: ['https://me:secret@host/channel']",
        "channels: ['https://host/t/secret/channel']",
        "dependencies: ['https://me:secret@host/c::six']",
        "variables: [A]",
        "variables: {A: [1]}",
        "variables: {A=B: 1}",
    ];
    let table: Vec<String> =
        texts.iter().map(|text| format!("{text:?}  {}", wrong(text))).collect();

    assert!(texts.iter().all(|text| !wrong(text).contains("secret")));
    insta::assert_snapshot!(table.join("\n"), @r#"
    ""  cannot use conda file "conda.yml": line 1, column 1: there is nothing in it
    "- six"  cannot use conda file "conda.yml": line 1, column 1: a conda file is a mapping with `dependencies` and `channels`
    "a: b: c"  cannot use conda file "conda.yml": line 1, column 5: mapping values are not allowed in this context
    "name: x\nname: y"  cannot use conda file "conda.yml": line 2, column 1: key "name" is there twice
    "dependencies: six"  cannot use conda file "conda.yml": line 1, column 15: `dependencies` is a list
    "dependencies: [[six]]"  cannot use conda file "conda.yml": line 1, column 16: a dependency is a package, or a section of packages for pip
    "dependencies: [six, ==1]"  cannot use conda file "conda.yml": line 1, column 21: a package begins with its name
    "dependencies:\n- npm: [left-pad]"  cannot use conda file "conda.yml": line 2, column 3: only pip can have a section, not "npm"
    "dependencies:\n- pip: six"  cannot use conda file "conda.yml": line 2, column 8: the pip section is a list of requirements
    "dependencies:\n- pip:\n  - [six]"  cannot use conda file "conda.yml": line 3, column 5: a requirement is a text
    "dependencies:\n- pip:\n  - |\n    six\n    idna"  cannot use conda file "conda.yml": line 4, column 5: a requirement is one line
    "dependencies:\n- pip:\n  - six\n  - -e ."  "conda.yml" line 4: an editable requirement is not supported yet
    "dependencies:\n- pip:\n  - --frobnicate"  "conda.yml" line 3: "--frobnicate" is not an option of requirements files
    "dependencies:\n- pip:\n  - -r missing.txt"  "conda.yml" line 3 names "missing.txt", which does not exist
    "channels: x"  cannot use conda file "conda.yml": line 1, column 11: `channels` is a list of names, URLs and directories
    "channels: [{a: b}]"  cannot use conda file "conda.yml": line 1, column 12: a channel is a word
    "channels: ['https://me:secret@host/channel']"  "conda.yml" line 1: the URL carries credentials, which would be stored with every run
    "channels: ['https://host/t/secret/channel']"  "conda.yml" line 1: the URL carries credentials, which would be stored with every run
    "dependencies: ['https://me:secret@host/c::six']"  "conda.yml" line 1: the URL carries credentials, which would be stored with every run
    "variables: [A]"  cannot use conda file "conda.yml": line 1, column 12: `variables` is a mapping of names to values
    "variables: {A: [1]}"  cannot use conda file "conda.yml": line 1, column 16: a variable's value is a text
    "variables: {A=B: 1}"  cannot use conda file "conda.yml": line 1, column 13: this cannot be the name of a variable
    "#);
}

#[test]
fn a_file_brings_the_requirements_files_it_leads_to() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("conda.yml", "dependencies:\n- python\n- pip:\n  - -r base.txt\n  - idna\n");
    write("base.txt", "six\n-c limits.txt\n");
    write("limits.txt", "six<2\n");

    let packages = load(&directory.path().join("conda.yml")).unwrap();

    let names: Vec<&str> = packages.requirements.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["base.txt", "limits.txt"]);
    assert_eq!(packages.directory.as_deref(), Some(directory.path()));
    let before = canonical_lines(&packages, &|_| None).unwrap();
    write("limits.txt", "six<3\n");
    let changed = load(&directory.path().join("conda.yml")).unwrap();
    assert_ne!(canonical_lines(&changed, &|_| None).unwrap(), before);
}

#[test]
fn a_file_that_is_none_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("latin1.yml"), b"name: \xe9").unwrap();

    let wrong = |name: &str| {
        let error = load(&directory.path().join(name)).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string().replace(directory.path().to_str().unwrap(), "DIR")
    };

    assert_eq!(wrong("missing.yml"), r#"conda file "DIR/missing.yml" does not exist"#);
    assert_eq!(wrong("latin1.yml"), r#"conda file "DIR/latin1.yml" is not UTF-8 text"#);
    assert_eq!(wrong("."), r#"conda file "DIR/." is not a regular file"#);
}
