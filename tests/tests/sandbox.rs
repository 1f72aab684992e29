//! The sandbox through the command line: what is asked for, what is said of it, and by default
//! nothing of it.

use tests::{Yard, text};

const LOOK: &str = "import os\nprint(len([name for name in os.listdir('/proc') if name.isdigit()]), os.environ['TMPDIR'])\n\
    open('outputs/x', 'w').write('x')\n";

#[test]
fn a_run_is_in_a_sandbox_when_that_is_asked_for_and_says_so() {
    let yard = Yard::new();
    let source = yard.project("p", &[("train.py", LOOK)]);
    let run = |options: &[&str]| {
        let run = yard.submit(&source, options);
        yard.ended(&run)
    };

    let plain = run(&[]);
    assert_eq!(plain["exit"]["sandbox"], serde_json::Value::Null, "off unless asked for");

    let inside = run(&["--sandbox", "strict"]);
    assert_eq!(inside["exit"]["reason"], "completed", "{inside}");
    assert_eq!(inside["exit"]["sandbox"]["tier"], "full");
    assert_eq!(inside["outputFiles"][0]["path"], "outputs/x", "{inside}");

    let alone = run(&["--network", "none"]);
    assert_eq!(alone["exit"]["sandbox"]["network"], "none", "a narrower network takes one");
    let id = alone["runId"].as_str().unwrap();
    assert_eq!(yard.ok(["logs", id]), "2 /tmp\n");
    assert!(yard.ok(["show", id]).contains("Sandbox      full, network none\n"));
}

#[test]
fn what_cannot_be_had_is_refused_with_what_to_do() {
    let yard = Yard::new();
    let source = yard.project("p", &[("train.py", LOOK)]);
    let home = yard.home().display().to_string();
    let said = |options: &[&str]| {
        let source = source.to_str().unwrap();
        let arguments = [&["run", "--source", source], options, &["train.py"]].concat();
        let refused = yard.call(arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        let text = text(&refused.stderr).replace(&home, "<home>");
        let lines =
            text.lines().filter(|line| line.starts_with("error") || line.starts_with("help"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let all = [
        said(&["--sandbox", "on"]),
        said(&["--sandbox", "off", "--network", "loopback"]),
        said(&["--sandbox", "off", "--mount", "/opt"]),
        said(&["--mount", "data"]),
        said(&["--mount", "/etc:/in"]),
        said(&["--mount", &home]),
    ];

    insta::assert_snapshot!(all.concat());
}
