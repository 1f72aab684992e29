//! Login shells that are not like `sh`, and what they print unasked.

use tests::attached::{NAME, attach_by_key};
use tests::vm::{Vm, VmOptions};
use tests::{Yard, text};

/// Shells, where each reads commands when it is started for one over SSH, and commands that print
/// to both streams: the last word without a line's end.
const SHELLS: [(&str, &str, &str); 4] = [
    ("bash", ".bashrc", "echo Welcome; echo a word >&2; printf 'no end'"),
    ("zsh", ".zshenv", "echo Welcome; echo a word >&2; printf 'no end'"),
    ("fish", ".config/fish/config.fish", "echo Welcome; echo a word >&2; printf 'no end'"),
    ("tcsh", ".cshrc", "echo Welcome; echo 'no end' | tr -d '\\n'"),
];

#[test]
fn whatever_shell_a_user_has_and_whatever_it_prints_runs_are_as_elsewhere() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    let source = yard.script("import sys\nprint(sys.argv[1:])");
    let source = source.to_str().unwrap();
    for (shell, file, prints) in SHELLS {
        if !vm.take_program(shell) {
            continue;
        }
        let home = vm.user_home().join(file);
        let (home, directory) = (home.display(), home.parent().unwrap().display());
        vm.exec(&format!("usermod --shell \"$(command -v {shell})\" azureuser"));
        vm.exec(&format!("mkdir -p {directory}; cat >{home} <<'END'\n{prints}\nEND\n"));

        // The program is put there by each.
        let attached = attach_by_key(&yard, &vm, NAME).output().unwrap();
        assert!(attached.status.success(), "{shell}: {}", text(&attached.stderr));
        let run = ["run", "--target", NAME, "--source", source, "train.py", "$HOME !x", "a'\"b"];
        assert_eq!(yard.ok(run), "['$HOME !x', 'a\\'\"b']\n", "{shell}");
        yard.ok(["target", "detach", NAME, "--purge", "--yes"]);
    }
    vm.exec("usermod --shell /usr/sbin/nologin azureuser");
    let refused = attach_by_key(&yard, &vm, NAME).output().unwrap();
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("This account is currently not available"), "{said}");
    assert!(said.contains("help: the user's login shell must take commands"), "{said}");
}
