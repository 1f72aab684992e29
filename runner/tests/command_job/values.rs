//! Values of a job, followed through a real shell to the program that gets them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use proptest::prelude::*;

use crate::load_in;

/// Runs a job's command with a real shell and returns what it printed.
fn shell(job: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let command = load_in(directory.path(), job).unwrap().configuration.command.unwrap();
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(command.as_bytes()))
        .current_dir(directory.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("V", "variable")
        .env("TRAINYARD_OUTPUT_DIR", directory.path().join("work place/outputs"))
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{command:?}: {output:?}");
    output.stdout
}

/// Ways for a value to stand in a command, with what goes around it once it has arrived.
const PLACES: [(&str, &str, &str); 9] = [
    ("printf '%s\\0' ${{inputs.x}}", "", "\0"),
    ("printf '%s\\0' --x=${{inputs.x}}", "--x=", "\0"),
    ("printf '%s\\0' \"<${{inputs.x}}>\"", "<", ">\0"),
    ("printf '%s\\0' '<${{inputs.x}}>'", "<", ">\0"),
    ("printf '%s\\0' $V${{inputs.x}}", "variable", "\0"),
    ("printf '%s\\0' \"$V${{inputs.x}}\"", "variable", "\0"),
    ("( { printf '%s\\0' ${{inputs.x}}; } )", "", "\0"),
    ("if true; then printf '%s\\0' a${{inputs.x}}b; fi", "a", "b\0"),
    ("printf '%s' \"$(printf '%s.' \"${{inputs.x}}\")\"", "", "."),
];

fn check_value(value: &str) -> Result<(), TestCaseError> {
    for (line, before, after) in PLACES {
        let job = serde_json::json!({"type": "command", "command": line, "inputs": {"x": value}});
        let arrived = shell(&job.to_string());
        let expected = format!("{before}{value}{after}");
        prop_assert_eq!(arrived, expected.into_bytes(), "{:?} in {}", value, line);
    }
    Ok(())
}

#[test]
fn nasty_values_arrive_byte_for_byte() {
    let values = [
        "",
        " ",
        "a b",
        "a;id",
        "$(id)",
        "`id`",
        "$HOME",
        "${V}",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\",
        "\\'",
        "a\nb",
        "\n",
        "\r\n",
        "\t",
        "*",
        "?",
        "[a-z]",
        "~",
        "~root",
        "#x",
        "!",
        "!!",
        "&",
        "&&",
        "|",
        ">f",
        "<f",
        "2",
        "-n",
        "--",
        "%s",
        "{a,b}",
        "a=b",
        "if",
        "é\u{1f600}",
        "\u{1b}[31m",
        "}}",
        "${{inputs.x}}",
        "'\"'\"'",
        "$'x'",
        "(",
        ")",
    ];
    for value in values {
        check_value(value).unwrap();
    }
}

#[test]
fn a_number_before_a_redirection_is_an_argument() {
    let job = "command: \"printf '%s' ${{inputs.x}}>out; cat out\"\ninputs: {x: 2}";
    assert_eq!(shell(job), b"2");
}

#[test]
fn an_output_directory_is_there_when_the_command_starts() {
    let job = "command: cd / && cd ${{outputs.model}} && pwd\noutputs: {model: }";
    assert!(shell(job).ends_with(b"/work place/outputs/model\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_value_arrives_byte_for_byte(
        value in "[ -~\\n\\té'\"$`\\\\;*]{0,12}",
    ) {
        check_value(&value)?;
    }
}
