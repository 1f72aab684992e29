//! What is put in front of the script in its container: a few lines for any POSIX shell.

use std::os::fd::{AsFd as _, OwnedFd};

/// Carried out as `sh -c PRELUDE trainyard COUNT NAME… PROGRAM ARGUMENT…`.
///
/// It sends both streams into the run's pipes, reads the secrets named into variables and becomes
/// the program. It is the same text for every run: what a user gives comes as arguments, so that
/// no shell ever reads it as a command. It needs nothing of the image but the shell: secrets are
/// read line by line, since not every image has `cat`.
///
/// The trap of the program's part says that the program could not be started; it is gone once the
/// program runs.
///
/// Below an init process, which ends the container with its own child, the program is a child of
/// the prelude. When the run was asked to end ([`ASKED`](super::pipes::ASKED) is there), the
/// prelude stays until nothing of its process group is at work, so that what a program started may
/// save its work after the program itself is over, as on the host. It looks each time the
/// supervisor sends it a line, since a shell alone cannot wait without using up a processor. What
/// shells say of a program that a signal ended goes to the engine, which drops it. It says how the
/// program ended, too: an engine that is restarted at that moment does not know.
///
/// Without an init process the program takes the prelude's place: the engine signals nobody else.
pub(super) const PRELUDE: &str = r#"trainyard_program() {
    exec >/run/trainyard/stdout 2>/run/trainyard/stderr
    trap 'echo failed >/run/trainyard/word' EXIT
    echo ready >/run/trainyard/word
    trainyard_left=$1
    shift
    while [ "$trainyard_left" -gt 0 ]; do
        trainyard_name=$1
        shift
        trainyard_left=$((trainyard_left - 1))
        trainyard_value=
        trainyard_line=
        while IFS= read -r trainyard_line; do
            trainyard_value=$trainyard_value$trainyard_line'
'
        done <"/run/secrets/$trainyard_name"
        export "$trainyard_name=$trainyard_value$trainyard_line"
    done
    unset trainyard_left trainyard_name trainyard_value trainyard_line TINI_KILL_PROCESS_GROUP
    exec "$@"
}
trainyard_others() {
    for trainyard_stat in /proc/[0-9]*/stat; do
        trainyard_line=
        { read -r trainyard_line <"$trainyard_stat"; } 2>/dev/null
        [ "$trainyard_stat" != "/proc/$$/stat" ] && [ -n "$trainyard_line" ] || continue
        set -- ${trainyard_line##*) }
        [ "$1" != Z ] && [ "$3" = "$$" ] && return
    done
    return 1
}
[ -n "$TINI_KILL_PROCESS_GROUP" ] || trainyard_program "$@"
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
(trainyard_program "$@")
trainyard_code=$?
echo "ended $trainyard_code" >/run/trainyard/word
while [ -e /run/trainyard/asked ] && trainyard_others; do
    read -r trainyard_line </run/trainyard/look || break
done
exit "$trainyard_code""#;

/// The shell it is for.
pub(super) const SHELL: &str = "/bin/sh";

/// Returns the arguments of [`SHELL`].
pub(super) fn arguments(secret_names: &[String], program: &[String]) -> Vec<String> {
    let names: Vec<&String> = secret_names.iter().filter(|name| is_variable(name)).collect();
    let mut words = vec!["-c".to_owned(), PRELUDE.to_owned(), "trainyard".to_owned()];
    words.push(names.len().to_string());
    words.extend(names.into_iter().cloned());
    words.extend(program.iter().cloned());
    words
}

/// Says whether a shell can have a variable called `name`.
fn is_variable(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// How far the prelude came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It said nothing: the pipes could not be opened.
    None,
    /// It became the program, or the program is over and the prelude was ended before it said how.
    Ready,
    /// The program ended, with this code as shells have it.
    Ended(u8),
    /// It could not become the program.
    Failed,
}

/// Reads what the prelude said so far.
pub(super) fn read_word(pipe: &OwnedFd) -> Word {
    let mut said = [0; 64];
    let count = rustix::io::read(pipe.as_fd(), &mut said).unwrap_or(0);
    word(&String::from_utf8_lossy(&said[..count]))
}

fn word(said: &str) -> Word {
    let mut lines = said.lines();
    let first = lines.next();
    match (first, lines.next()) {
        (None, _) => Word::None,
        (_, Some("failed")) => Word::Failed,
        (_, second) => {
            let code = second.and_then(|line| line.strip_prefix("ended ")?.parse().ok());
            code.map_or(Word::Ready, Word::Ended)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Carries the prelude out in `shell`, with directories of this machine, as below an init
    /// process and as without one: which comes to the same.
    fn carried_out(
        shell: &[&str],
        secrets: &BTreeMap<&str, &str>,
        program: &[&str],
    ) -> (i32, String, Word) {
        let [without, below] = ["", "1"].map(|init| carried_out_as(init, shell, secrets, program));
        assert_eq!((without.0, &without.1), (below.0, &below.1));
        // Who took the prelude's place cannot say how it ended.
        let ended = below.0.try_into().map(Word::Ended).unwrap();
        assert_eq!(below.2, if without.2 == Word::Ready { ended } else { without.2 });
        without
    }

    fn carried_out_as(
        init: &str,
        shell: &[&str],
        secrets: &BTreeMap<&str, &str>,
        program: &[&str],
    ) -> (i32, String, Word) {
        let directory = tempfile::tempdir().unwrap();
        let (io, kept) = (directory.path().join("io"), directory.path().join("secrets"));
        fs::create_dir(&io).unwrap();
        fs::create_dir(&kept).unwrap();
        for (name, value) in secrets {
            fs::write(kept.join(name), value).unwrap();
        }
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let names: Vec<&str> = secrets.keys().copied().collect();
        let mut words = arguments(&own(&names), &own(program));
        words[1] = words[1]
            .replace("/run/trainyard", io.to_str().unwrap())
            .replace("/run/secrets", kept.to_str().unwrap())
            // Those who write there after the first, and this is a file.
            .replace("echo failed >", "echo failed >>")
            .replace("_code\" >", "_code\" >>");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(words).env("TINI_KILL_PROCESS_GROUP", init);
        let status = command.process_group(0).status().unwrap();
        let said = |name: &str| fs::read_to_string(io.join(name)).unwrap_or_default();
        let word = fs::File::open(io.join("word")).unwrap().into();
        (status.code().unwrap(), said("stdout") + &said("stderr"), read_word(&word))
    }

    /// The shells of this machine that images have as `/bin/sh`.
    fn shells() -> Vec<Vec<&'static str>> {
        let all = [vec!["/bin/dash"], vec!["/bin/busybox", "sh"], vec!["/bin/bash", "--posix"]];
        let here: Vec<_> = all.into_iter().filter(|shell| Path::new(shell[0]).exists()).collect();
        assert!(!here.is_empty(), "a POSIX shell is needed for this test");
        here
    }

    #[test]
    fn secrets_reach_the_program_to_the_byte() {
        let values = BTreeMap::from([
            ("A", "plain"),
            ("B", "two\nlines\n\n"),
            ("C", " \\back `x` $HOME \"q\" 'q' "),
            ("D", ""),
            ("no-variable", "x"),
        ]);
        let script = "import os; print([os.environ.get(n) for n in 'ABCD'], \
                      [n for n in os.environ if n.startswith('trainyard')])";
        for shell in shells() {
            let (code, said, word) = carried_out(&shell, &values, &["python3", "-c", script]);

            assert_eq!((code, word), (0, Word::Ready), "{shell:?}: {said}");
            let expected =
                "['plain', 'two\\nlines\\n\\n', ' \\\\back `x` $HOME \"q\" \\'q\\' ', ''] []\n";
            assert_eq!(said, expected, "{shell:?}");
        }
    }

    #[test]
    fn a_program_that_cannot_be_started_is_told_from_one_that_failed() {
        for shell in shells() {
            let end = |program: &[&str]| {
                let (code, _, word) = carried_out(&shell, &BTreeMap::new(), program);
                (code, word)
            };
            assert_eq!(end(&["nonsense"]), (127, Word::Failed), "{shell:?}");
            // Bash has given up its traps by then: the script seems to have failed.
            let refused = if shell[0] == "/bin/bash" { Word::Ready } else { Word::Failed };
            assert_eq!(end(&["/etc/passwd"]), (126, refused), "{shell:?}");
            assert_eq!(end(&["sh", "-c", "exit 127"]), (127, Word::Ready), "{shell:?}");
            assert_eq!(end(&["true", "; touch /tmp/x"]), (0, Word::Ready), "{shell:?}");
        }
    }
}
