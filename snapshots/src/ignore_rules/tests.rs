use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// Makes `root` look like a repository.
fn repository(root: &Path) {
    for directory in [".git/objects", ".git/refs", ".git/info"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
}

fn rules(root: &Path) -> IgnoreRules {
    IgnoreRules::for_source(root).unwrap()
}

/// Shows what is decided on `path`, a directory if it ends with a slash.
fn decided(rules: &IgnoreRules, path: &str) -> String {
    let verdict = rules.decide(path.trim_end_matches('/').as_bytes(), path.ends_with('/'));
    let word = if verdict.excluded { "out" } else { "in" };
    verdict.rule.map_or_else(|| word.to_owned(), |rule| format!("{word} by {rule}"))
}

#[test]
fn the_last_rule_of_the_deepest_file_decides() {
    let source = source(&[(".gitignore", "*.log\n!keep.log\n/data/\n")]);
    let root = rules(source.path());
    let inner = root.enter(b"sub", b"# comment\n!*.log\nkeep.log\n/only\n").unwrap();

    assert_eq!(decided(&root, "x.log"), "out by .gitignore:1: *.log");
    assert_eq!(decided(&root, "keep.log"), "in by .gitignore:2: !keep.log");
    assert_eq!(decided(&root, "data/"), "out by .gitignore:3: /data/");
    assert_eq!(decided(&root, "data"), "in");
    assert_eq!(decided(&inner, "sub/x.log"), "in by sub/.gitignore:2: !*.log");
    assert_eq!(decided(&inner, "sub/keep.log"), "out by sub/.gitignore:3: keep.log");
    assert_eq!(decided(&inner, "sub/only"), "out by sub/.gitignore:4: /only");
    assert_eq!(decided(&inner, "sub/deep/only"), "in");
    assert_eq!(decided(&inner, "sub/data/"), "in");
}

#[test]
fn an_amlignore_switches_gitignore_files_off() {
    let source = source(&[(".gitignore", "*.log\n"), (".amlignore", "")]);
    let rules = rules(source.path());

    assert_eq!(rules.kind(), IgnoreKind::AmlIgnore);
    assert_eq!(rules.file_name(), ".amlignore");
    assert_eq!(decided(&rules, "x.log"), "in");
    let inner = rules.enter(b"sub", b"*.log").unwrap();
    assert_eq!(decided(&inner, "sub/x.log"), "out by sub/.amlignore:1: *.log");
}

#[test]
fn files_above_count_up_to_the_repository() {
    let outside = source(&[(".gitignore", "never\n"), ("repo/.gitignore", "a/b/x\n*.tmp\n")]);
    let root = outside.path().join("repo");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/.gitignore"), "/b/y\n!z.tmp\n").unwrap();
    repository(&root);
    fs::write(root.join(".git/info/exclude"), "excluded\n").unwrap();
    let rules = rules(&root.join("a/b"));

    assert_eq!(decided(&rules, "x"), "out by ../../.gitignore:1: a/b/x");
    assert_eq!(decided(&rules, "y"), "out by ../.gitignore:1: /b/y");
    assert_eq!(decided(&rules, "z.tmp"), "in by ../.gitignore:2: !z.tmp");
    assert_eq!(decided(&rules, "q.tmp"), "out by ../../.gitignore:2: *.tmp");
    assert_eq!(decided(&rules, "excluded"), "out by ../../.git/info/exclude:1: excluded");
    assert_eq!(decided(&rules, "never"), "in");
    assert_eq!(decided(&rules, "c/x"), "in");
}

#[test]
fn a_worktree_shares_the_exclude_file_of_its_repository() {
    let directory = source(&[("tree/f", "")]);
    repository(&directory.path().join("main"));
    let git = directory.path().join("main/.git");
    fs::write(git.join("info/exclude"), "excluded\n").unwrap();
    fs::create_dir_all(git.join("worktrees/tree")).unwrap();
    fs::write(git.join("worktrees/tree/HEAD"), "ref: refs/heads/x\n").unwrap();
    fs::write(git.join("worktrees/tree/commondir"), "../..\n").unwrap();
    let tree = directory.path().join("tree");
    fs::write(tree.join(".git"), "gitdir: ../main/.git/worktrees/tree\n").unwrap();

    let verdict = decided(&rules(&tree), "excluded");

    assert!(verdict.starts_with("out by ") && verdict.ends_with("info/exclude:1: excluded"));
}

#[test]
fn a_source_that_is_itself_ignored_is_asked_for_all_the_same() {
    let directory = source(&[(".gitignore", "build\n*.py\n"), ("build/sub/x.py", "")]);
    repository(directory.path());
    for at in ["build", "build/sub"] {
        let rules = rules(&directory.path().join(at));

        assert_eq!(decided(&rules, "x.py"), "in");
        let notes: Vec<String> = rules.notes().iter().map(ToString::to_string).collect();
        let up = if at == "build" { "../" } else { "../../" };
        let text = format!(
            "the source directory itself is ignored ({up}.gitignore:1: build); ignore files above \
             it are not applied"
        );
        assert_eq!(notes, [text]);
    }
}

#[test]
fn links_pipes_and_directories_are_no_ignore_files() {
    let linked = source(&[("rules", "x\n")]);
    std::os::unix::fs::symlink("rules", linked.path().join(".amlignore")).unwrap();
    let linked = rules(linked.path());
    assert_eq!(linked.kind(), IgnoreKind::GitIgnore);
    assert_eq!(linked.notes(), [IgnoreNote::Linked { file: ".amlignore".into() }]);

    let pipe = source(&[]);
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&pipe.path().join(".gitignore"), mode).unwrap();
    fs::create_dir(pipe.path().join(".amlignore")).unwrap();
    assert_eq!(decided(&rules(pipe.path()), "x"), "in");
}

#[test]
fn too_much_of_a_rule_is_an_error_that_names_the_file() {
    let long = source(&[(".amlignore", &"#".repeat(rule_file::MAX_BYTES + 1))]);
    let error = IgnoreRules::for_source(long.path()).unwrap_err();
    assert_eq!(error.to_string(), "ignore file \".amlignore\" is over 1048576 bytes");

    let root = rules(source(&[]).path());
    let text = "x\n".repeat(rule_file::MAX_PATTERNS + 1);
    let error = root.enter(b"sub", text.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "ignore file \"sub/.gitignore\" holds over 10000 patterns");
    assert!(error.hint().is_some());
    root.enter(b"sub", &text.as_bytes()[2..]).unwrap();

    let error = IgnoreRules::for_source(Path::new("/no/such/source")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read \"/no/such/source\"");
}

#[test]
fn an_unreadable_ignore_file_is_an_error() {
    // Root may read everything, so what the system refuses here is the name.
    let source = source(&[]);
    let error = read(&source.path().join("x".repeat(256)), OFlags::NOFOLLOW).unwrap_err();
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}

#[test]
fn ten_thousand_patterns_and_deep_trees_stay_quick() {
    let mut text = String::new();
    for number in 0..2000 {
        text += &format!("name{number}\n*.e{number}\ndir/path{number}\nq*{number}\n/p*/{number}\n");
    }
    let root = rules(source(&[]).path());
    let rules = root.enter(b"", text.as_bytes()).unwrap();
    let started = Instant::now();
    for number in 0..200 {
        assert!(!rules.decide(format!("dir/sub/file{number}.py").as_bytes(), false).excluded);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");

    // A chain of 100,000 levels must not overflow the stack when it goes away.
    let mut deep = rules;
    for _ in 0..100_000 {
        deep = deep.enter(b"", b"x").unwrap();
    }
    drop(deep);
}
