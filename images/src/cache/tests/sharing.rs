//! Several who want the same environment at the same time.

use super::*;

/// A shell command that counts the builds in `$COUNT` and lets a file hold them up.
const COUNTED: &str = r#"
[ "$1" = venv ] && {
    echo x >> "$PIP_COUNT"; echo "waiting at the gate"
    while [ ! -e "$PIP_COUNT.open" ]; do sleep 0.02; done
}"#;

fn counted(then: &str) -> (Fixture, PathBuf) {
    let mut fixture = Fixture::with_tool(&format!("{COUNTED}\n{then}"));
    let count = fixture.directory.path().join("count");
    // By a variable that every build is given.
    fixture.host.set("PIP_COUNT", count.to_str().unwrap());
    (fixture, count)
}

fn open_gate(count: &Path) {
    fs::write(count.with_extension("open"), "").unwrap();
}

fn builds(count: &Path) -> usize {
    fs::read_to_string(count).unwrap_or_default().lines().count()
}

/// Prepares in a thread and, when the build has begun, in another. Returns both, the first first.
fn two_at_once(
    fixture: &Fixture,
    count: &Path,
    between: impl FnOnce(),
) -> [(Result<PreparedEnvironment, EnvironmentError>, Vec<u8>); 2] {
    let seen = AtomicBool::new(false);
    thread::scope(|scope| {
        let first = scope.spawn(|| prepare(&fixture.cache(), &requirements("")));
        wait_until("the build is under way", &|| builds(count) == 1);
        let second = scope.spawn(|| {
            let mut log = Vec::new();
            let never = AtomicBool::new(false);
            let result = fixture.cache().prepare(
                &requirements(""),
                &mut |bytes| {
                    log.extend_from_slice(bytes);
                    seen.store(true, Ordering::Relaxed);
                },
                &never,
            );
            (result, log)
        });
        // The second sees the log while the build is going on.
        wait_until("the second sees the log", &|| seen.load(Ordering::Relaxed));
        between();
        [first.join().unwrap(), second.join().unwrap()]
    })
}

#[test]
fn two_threads_build_once_and_see_the_same_log() {
    let (fixture, count) = counted("");

    let [(first, first_log), (second, second_log)] =
        two_at_once(&fixture, &count, || open_gate(&count));

    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!([first.reused, second.reused], [false, true]);
    assert_eq!(first.prefix, second.prefix);
    assert_eq!(first_log, second_log);
    assert_eq!(builds(&count), 1);
}

#[test]
fn who_has_seen_a_build_fail_does_not_build_again() {
    let (fixture, count) = counted("echo broken; exit 7");

    let [(first, first_log), (second, second_log)] =
        two_at_once(&fixture, &count, || open_gate(&count));

    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert_eq!(first.to_string(), second.to_string());
    assert!(first.to_string().ends_with("broken"), "{first}");
    assert_eq!(first_log, second_log);
    assert_eq!(builds(&count), 1);

    let (third, _) = prepare(&fixture.cache(), &requirements(""));
    assert!(third.is_err());
    assert_eq!(builds(&count), 2, "who comes later tries again");
}

#[test]
fn who_waited_for_a_cancelled_build_starts_another() {
    static CANCEL: AtomicBool = AtomicBool::new(false);
    let (fixture, count) = counted("");

    let second = thread::scope(|scope| {
        let first =
            scope.spawn(|| fixture.cache().prepare(&requirements(""), &mut |_| {}, &CANCEL));
        wait_until("the build is under way", &|| builds(&count) == 1);
        let second = scope.spawn(|| prepare(&fixture.cache(), &requirements("")));
        CANCEL.store(true, Ordering::Relaxed);
        assert!(matches!(first.join().unwrap(), Err(EnvironmentError::Cancelled)));
        open_gate(&count);
        second.join().unwrap().0.unwrap()
    });

    assert_eq!(say(&second, "print(2)"), "2");
    assert_eq!(builds(&count), 2);
}

#[test]
fn who_waits_can_be_cancelled_without_the_build() {
    static CANCEL: AtomicBool = AtomicBool::new(false);
    let (fixture, count) = counted("");

    let first = thread::scope(|scope| {
        let first = scope.spawn(|| prepare(&fixture.cache(), &requirements("")));
        wait_until("the build is under way", &|| builds(&count) == 1);
        let mut seen = |_: &[u8]| CANCEL.store(true, Ordering::Relaxed);
        let second = fixture.cache().prepare(&requirements(""), &mut seen, &CANCEL);
        assert!(matches!(second, Err(EnvironmentError::Cancelled)), "{second:?}");
        open_gate(&count);
        first.join().unwrap().0
    });

    assert!(!first.unwrap().reused);
    assert_eq!(builds(&count), 1);
}

#[test]
fn two_processes_build_once() {
    let (fixture, count) = counted("");
    let mut children: Vec<_> = (0..2).map(|_| super::crash::prepare_elsewhere(&fixture)).collect();

    wait_until("the build is under way", &|| builds(&count) == 1);
    open_gate(&count);

    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(builds(&count), 1);
    assert!(prepared(&fixture.cache(), "").reused);
}
