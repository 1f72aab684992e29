//! Environments through the binary: built once, reused, listed, removed; and the README's example.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use tests::wheel::{wheel, with_wheels};
use tests::{Yard, text};

/// A project whose requirement is a wheel that [`run`] lets pip find.
fn project(yard: &Yard) -> std::path::PathBuf {
    wheel(&yard.project("wheels", &[]), "yardtest", "1.0");
    let script = "import yardtest, sys\nprint(yardtest.VERSION, sys.prefix != sys.base_prefix)";
    yard.project(
        "with-requirements",
        &[("train.py", script), ("requirements.txt", "yardtest==1.0\n")],
    )
}

fn command(yard: &Yard, source: &Path) -> Command {
    let mut command = with_wheels(yard);
    command.args(["run", "--env", "requirements.txt", "--source"]).arg(source).arg("train.py");
    command
}

fn run(yard: &Yard, source: &Path) -> Output {
    command(yard, source).output().unwrap()
}

#[test]
fn an_environment_is_built_once_and_reused() {
    let yard = Yard::new();
    let source = project(&yard);
    // By pip, where this machine has no uv of its own.
    let run = || command(&yard, &source).env("PATH", std::env::var_os("PATH").unwrap()).output();

    let first = run().unwrap();
    let second = run().unwrap();

    assert_eq!(text(&first.stdout), "1.0 True\n", "{}", text(&first.stderr));
    assert_eq!(text(&second.stdout), "1.0 True\n", "{}", text(&second.stderr));
    let environments = yard.json(["env", "list", "--json"]);
    let list = environments.as_array().or_else(|| environments["environments"].as_array()).unwrap();
    assert_eq!(list.len(), 1, "{environments:#}");
    let shown = yard.show("@");
    let packages = shown["preparedEnvironment"]["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package == "yardtest==1.0"), "{packages:?}");
}

#[test]
fn two_runs_that_ask_at_once_share_one_build() {
    let yard = Yard::new();
    let source = project(&yard);
    assert!(with_wheels(&yard).arg("list").status().unwrap().success());

    let outputs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| run(&yard, &source))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });

    for output in outputs {
        assert_eq!(text(&output.stdout), "1.0 True\n", "{}", text(&output.stderr));
    }
    let environments = yard.json(["env", "list", "--json"]);
    let list = environments.as_array().or_else(|| environments["environments"].as_array()).unwrap();
    assert_eq!(list.len(), 1, "{environments:#}");
}

#[test]
fn the_readmes_example_trains_and_the_second_time_needs_no_build() {
    let yard = Yard::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/diabetes");
    let run = || {
        let start = Instant::now();
        let output = run(&yard, &example);
        (output, start.elapsed())
    };

    let (first, _) = run();
    let (second, took) = run();

    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("best alpha 0.40"), "{}", text(&first.stdout));
    assert_eq!(first.stdout, second.stdout);
    println!("the second run took {took:?}");
    let shown: Value = yard.show("@");
    assert_eq!(shown["status"], "Completed");
    assert_eq!(shown["metrics"]["mse"].as_array().unwrap().len(), 20);
    assert_eq!(shown["metrics"]["best_mse"].as_array().unwrap().len(), 1);
    let models = shown["outputFiles"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["path"].as_str().unwrap().ends_with(".pkl"));
    assert_eq!(models.count(), 20);
}
