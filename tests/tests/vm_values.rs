//! Values that a shell, a terminal or a text would spoil arrive on a machine over SSH as they are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use tests::attached::{AttachedYard, NAME, files_with};
use tests::text;
use tests::vm::VmOptions;

/// What values are made of.
const PIECES: [&str; 40] = [
    " ",
    "  ",
    "'",
    "\"",
    "\n",
    "\r\n",
    "\t",
    "\\",
    "\\n",
    "$(touch /tmp/hostile)",
    "`id`",
    "$HOME",
    "${IFS}",
    "$$",
    ";",
    "|",
    "&&",
    "&",
    ">",
    "<",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "~",
    "!!",
    "#",
    "-",
    "--",
    "=",
    "%s",
    "é",
    "e\u{301}",
    "日本",
    "\u{202e}",
    "\u{feff}",
    "😀",
    "\x1b[31m",
    "\x7f",
    "a",
];

/// Makes values of one to eight pieces, always the same ones.
fn values(count: usize, seed: u64) -> Vec<String> {
    let mut state = seed;
    let mut next = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    (0..count).map(|_| (0..=next(8)).map(|_| PIECES[next(PIECES.len())]).collect()).collect()
}

/// The value of a secret, which [`SCRIPT`] dumps from its end to its beginning.
const SECRET: &str = " 7130 'canary'\n$(x)";

/// Dumps what has come, hexadecimal, and hands every file back under the same name.
const SCRIPT: &str = r#"
import json, os, shutil, sys
def dump(path, values):
    with open(path, "w") as file:
        json.dump(values, file)
os.mkdir("outputs/dump")
dump("outputs/dump/arguments", [os.fsencode(value).hex() for value in sys.argv[1:]])
given = {os.fsdecode(name): value.hex() for name, value in os.environb.items()}
dump("outputs/dump/secret", os.environ["TOKEN"][::-1])
dump("outputs/dump/variables", {n: v for n, v in given.items() if n.startswith("HOSTILE_")})
found = {}
for name in os.listdir(b"names"):
    with open(b"names/" + name, "rb") as file:
        found[name.hex()] = file.read().hex()
dump("outputs/dump/names", found)
shutil.copytree(b"names", b"outputs/names")
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns file names by what is in them.
fn names() -> BTreeMap<OsString, String> {
    let whole = values(120, 7130).into_iter().map(|name| name.replace('/', "\u{2215}"));
    let mut names: Vec<OsString> = whole.map(OsString::from).collect();
    // What is no text, and the longest there can be.
    names.extend((0..40u8).map(|n| OsString::from_vec(vec![b'n', 0xff, 0x80 | n, b' ', 0xc3])));
    names.extend([OsString::from("x".repeat(255)), OsString::from("é".repeat(127))]);
    names.extend(["-rf", "--help", " ", "...", "$(reboot)", "a\nb"].map(OsString::from));
    names.into_iter().enumerate().map(|(n, name)| (name, format!("file {n}"))).collect()
}

fn dumped(directory: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(directory.join("dump").join(name)).unwrap()).unwrap()
}

#[test]
fn five_hundred_hostile_values_arrive_as_they_are() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let source = yard.project("values", &[("train.py", SCRIPT)]);
    let names = names();
    fs::create_dir(source.join("names")).unwrap();
    for (name, content) in &names {
        fs::write(source.join("names").join(name), content).unwrap();
    }
    let mut arguments = values(180, 4711);
    arguments.extend(["", "-", "--", "--help", "-d", "@file"].map(str::to_owned));
    arguments.push("long \"$(x)' ".repeat(9_000));
    let mut variables = values(180, 1234);
    variables.extend(["".to_owned(), "a=b".to_owned(), "long `x` \n".repeat(9_000)]);
    assert!(arguments.len() + variables.len() + names.len() >= 500);

    let mut command = yard.trainyard();
    command.args(["run", "--target", NAME, "--source"]).arg(&source);
    for (n, value) in variables.iter().enumerate() {
        command.arg("-e").arg(format!("HOSTILE_{n}={value}"));
    }
    command.arg("--secret").arg("TOKEN").env("TOKEN", SECRET);
    let output = command.arg("train.py").args(&arguments).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = yard.show("@");
    let id = shown["runId"].as_str().unwrap();
    let target = yard.home().with_file_name("fetched");
    yard.ok(["outputs", id, target.to_str().unwrap()]);
    let outputs = target.join("outputs");
    let expected: Vec<_> = arguments.iter().map(|value| hex(value.as_bytes())).collect();
    assert_eq!(dumped(&outputs, "arguments"), serde_json::json!(expected));
    let numbered = variables.iter().enumerate();
    let expected: BTreeMap<_, _> =
        numbered.map(|(n, value)| (format!("HOSTILE_{n}"), hex(value.as_bytes()))).collect();
    assert_eq!(dumped(&outputs, "variables"), serde_json::json!(expected));
    let expected: BTreeMap<_, _> =
        names.iter().map(|(name, text)| (hex(name.as_bytes()), hex(text.as_bytes()))).collect();
    assert_eq!(dumped(&outputs, "names"), serde_json::json!(expected));

    let reversed: String = SECRET.chars().rev().collect();
    assert_eq!(dumped(&outputs, "secret"), reversed.as_str());
    assert_eq!(
        files_with(&yard.home(), "7130 'canary'", ""),
        [""; 0],
        "the secret is kept nowhere"
    );
    assert_eq!(yard.vm.exec("grep -rl \"7130 'canary'\" /home /tmp /dev/shm || true"), "");

    // And back.
    let back: BTreeMap<_, _> = fs::read_dir(outputs.join("names"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    assert_eq!(back, names);
    let there = yard.vm.exec("ls -d /tmp/hostile 2>/dev/null || true");
    assert_eq!(there, "", "nothing of them was carried out");
    assert!(!Path::new("/tmp/hostile").exists());
}
