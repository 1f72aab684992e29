//! What a script finds in its container, and what others find of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use runner::exit_record::ExitReason;
use runner::supervisor::events::Event;

use crate::container::ContainerRun;
use crate::own_engine::SmallImage;

#[test]
fn a_script_is_where_it_belongs_with_what_it_may_do() {
    let script = "
import os
print(os.getcwd(), os.environ['TMPDIR'], os.environ['A B'] if 'A B' in os.environ else '', os.environ['A'])
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
print(status['CapEff'], status['CapBnd'], status['NoNewPrivs'])
print(os.statvfs('/dev/shm').f_blocks * os.statvfs('/dev/shm').f_frsize >> 20)
print(sorted(os.listdir('/sys/class/net')))
print(open('/sys/fs/cgroup/pids/pids.max').read().strip())
print(os.read(0, 1))
open('/tmp/x', 'w').write('x'); open('outputs/y', 'w').write('y')
try: open('/run/trainyard/z', 'w')
except OSError as error: print(error.strerror)
";
    let Some(mut run) = ContainerRun::with(script, &["--shm-size=64m"]) else { return };
    run.launch.environment.insert("A".to_owned(), "1".to_owned());

    let (run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    insta::assert_snapshot!(run.text(), @r#"
    /azureml-run /tmp  1
    0000000000000000 0000000000000000 1
    64
    ['lo']
    4096
    b''
    Read-only file system
    "#);
    assert_eq!(fs::read(run.directory.outputs().join("y")).unwrap(), b"y");
}

#[test]
fn secrets_are_seen_by_the_script_and_by_nobody_else() {
    let script = "
import os, time
value = open(os.environ['TOKEN_FILE']).read()
print(value == os.environ['TOKEN'], len(value), os.environ['TOKEN'])
while not os.path.exists('seen'): time.sleep(0.01)
";
    let Some(mut run) = ContainerRun::of(script) else { return };
    let value = "hunter2-\u{e9}\nline two";
    let secrets = BTreeMap::from([("TOKEN", value)]);
    fs::write(run.directory.secrets_json(), serde_json::to_vec(&secrets).unwrap()).unwrap();
    run.launch.secret_names = vec!["TOKEN".to_owned()];
    run.start();
    run.wait_for_output("\n");

    let inspected = run.inspected();
    assert!(run.secrets().join("TOKEN").exists());
    fs::write(run.directory.work().join("seen"), b"").unwrap();
    let record = run.end();

    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    assert!(run.text().starts_with("True 18 ***"), "{}", run.text());
    assert!(inspected.contains("TOKEN_FILE=/run/secrets/TOKEN"), "{inspected}");
    assert!(!inspected.contains("hunter2"), "{inspected}");
    assert!(!run.text().contains("hunter2"));
}

#[test]
fn files_belong_to_whoever_submitted_the_run() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root starts runs for others");
        return;
    }
    let script = "
import os
open('outputs/made', 'w').write('x'); open('given', 'a').write('x')
print(os.getuid(), os.getgid(), os.getgroups(), os.environ['TOKEN'])
";
    let Some(mut run) = ContainerRun::of(script) else { return };
    fs::write(run.directory.work().join("given"), b"").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", run.directory.work().join("link")).unwrap();
    let before = fs::metadata("/etc/hostname").unwrap().uid();
    fs::write(run.directory.secrets_json(), r#"{"TOKEN":"x"}"#).unwrap();
    run.launch.secret_names = vec!["TOKEN".to_owned()];
    run.container().user = "12345:54321".to_owned();

    let (run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    assert!(run.text().starts_with("12345 54321 [54321]"), "{}", run.text());
    for name in ["outputs/made", "given", "outputs", "logs"] {
        let facts = fs::metadata(run.directory.work().join(name)).unwrap();
        assert_eq!((facts.uid(), facts.gid()), (12345, 54321), "{name}");
    }
    assert_eq!(fs::metadata("/etc/hostname").unwrap().uid(), before);
}

#[test]
fn an_image_without_a_shell_runs_and_the_record_says_so() {
    if ContainerRun::of("").is_none() {
        return;
    }
    let image = SmallImage::make(None, "/opt/shell");
    for init in [true, false] {
        let mut run = ContainerRun::on(None, &image.name, "", &[]);
        run.container().init = init;
        run.launch.program = ["/opt/shell", "-c", "echo out; echo err >&2; printf end; exit 7"]
            .map(str::to_owned)
            .to_vec();

        let (run, record) = run.carried_out();

        assert_eq!((record.reason, record.code), (ExitReason::ScriptFailed, Some(7)), "{init}");
        assert!(run.text().contains("end") && run.text().contains("err\n"), "{}", run.text());
        assert_eq!(run.text().len(), "out\nerr\nend".len());
        assert!(run.events().iter().any(|event| matches!(event, Event::NoShell { .. })));
    }
}

#[test]
fn an_image_without_shell_or_program_says_so() {
    if ContainerRun::of("").is_none() {
        return;
    }
    let image = SmallImage::make(None, "/opt/shell");
    let mut run = ContainerRun::on(None, &image.name, "", &["--init=false"]);
    run.launch.program = vec!["/bin/python".to_owned()];

    let (_run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::CannotStart);
    let message = record.message.replace(&image.name, "IMAGE");
    assert_eq!(
        message,
        r#"the program "/bin/python" was not found in the image "IMAGE", which has no shell"#
    );
}
