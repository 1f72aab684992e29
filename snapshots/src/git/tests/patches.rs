//! The patch against `HEAD`: what git makes of it.

use super::*;

/// Applies the recorded patch to a fresh clone of `HEAD` and returns the clone.
fn applied(fixture: &Fixture, facts: &GitFacts) -> tempfile::TempDir {
    let clone = tempfile::tempdir().unwrap();
    let at = clone.path().to_str().unwrap();
    fixture.git(&["clone", "-q", ".", at]);
    let patch = clone.path().join(".git/recorded.patch");
    fs::write(&patch, facts.patch.as_deref().unwrap()).unwrap();
    git_in(clone.path(), &["apply", "--index", patch.to_str().unwrap()]);
    clone
}

/// Lists the tracked files of a work tree with mode and content.
fn tracked(directory: &Path) -> String {
    git_in(directory, &["add", "-u"]);
    git_in(directory, &["ls-files", "-s"])
}

#[test]
fn git_makes_the_same_tree_from_it() {
    let fixture = Fixture::new();
    let lines: String = (0..60).map(|number| format!("line {number}\n")).collect();
    fixture.write("many", &lines);
    fixture.write("gone", "x\n");
    fixture.write("staged gone", "x\n");
    fixture.write("no newline", "a\nb");
    fixture.write("crlf", "a\r\nb\rc\r\n");
    fixture.write("empty", "");
    fixture.write("becomes a link", "x\n");
    fixture.write("tool", "#!/bin/sh\n");
    fixture.write("tab\tquote\"ä\\\n", "x\n");
    fixture.commit();

    let changed = lines.replace("line 3\n", "").replace("line 30\n", "new\nnewer\n");
    fixture.write("many", changed.replace("line 59\n", "last"));
    fs::remove_file(fixture.path().join("gone")).unwrap();
    fixture.git(&["rm", "-q", "staged gone"]);
    fixture.write("no newline", "a\nb\nc");
    fixture.write("crlf", "a\r\nB\rc\r\nd\r");
    fixture.write("empty", "no longer\n");
    fs::remove_file(fixture.path().join("becomes a link")).unwrap();
    std::os::unix::fs::symlink("many", fixture.path().join("becomes a link")).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(fixture.path().join("tool"), executable).unwrap();
    fixture.write("tab\tquote\"ä\\\n", "y\n");
    fixture.write("new dir/new file", "x\n");
    fixture.write("new empty", "");
    fixture.git(&["add", "new dir", "new empty"]);
    fixture.write("new dir/new file", "x\nstaged, then changed\n");
    fixture.write("untracked", "not in it");

    let facts = fixture.facts();

    assert_eq!(facts.notes, Vec::<String>::new());
    let clone = applied(&fixture, &facts);
    assert_eq!(tracked(clone.path()), tracked(fixture.path()));
}

#[test]
fn it_reads_as_gits_own() {
    let fixture = Fixture::new();
    fixture.write("bin", b"\0\x01");
    fixture.commit();
    fixture.write("bin", b"\0\x02");
    fixture.write("train.py", "import src.model\nprint()");
    fixture.write("src/new.py", "x\n");
    fixture.git(&["add", "src/new.py"]);

    let patch = String::from_utf8(fixture.facts().patch.unwrap()).unwrap();

    insta::assert_snapshot!(patch, @r#"
    diff --git a/bin b/bin
    Binary files a/bin and b/bin differ
    diff --git a/src/new.py b/src/new.py
    new file mode 100644
    --- /dev/null
    +++ b/src/new.py
    @@ -0,0 +1 @@
    +x
    diff --git a/train.py b/train.py
    --- a/train.py
    +++ b/train.py
    @@ -1 +1,2 @@
     import src.model
    +print()
    \ No newline at end of file
    "#);
    let by_git = fixture.git(&["-c", "core.abbrev=7", "diff", "HEAD"]);
    let without_ids: Vec<&str> =
        by_git.lines().filter(|line| !line.starts_with("index ")).collect();
    assert_eq!(patch.lines().collect::<Vec<_>>(), without_ids);
}

#[test]
fn what_is_staged_and_taken_back_is_no_change() {
    let fixture = Fixture::new();
    fixture.write("train.py", "x\n");
    fixture.git(&["add", "-A"]);
    fixture.write("train.py", "import src.model\n");
    let facts = fixture.facts();
    assert_eq!(facts.changes.unwrap().source, ChangeCounts { staged: 1, tracked: 1, untracked: 0 });
    assert_eq!(facts.patch, None);
}

#[test]
fn large_changes_are_a_note() {
    let fixture = Fixture::new();
    fixture.write("one", "x\n");
    fixture.commit();
    fixture.write("one", vec![b'x'; patch::LIMIT + 1]);
    fixture.write("train.py", "y\n");
    let facts = fixture.facts();
    assert_eq!(facts.notes, ["the diff leaves out \"one\": over 10485760 bytes"]);
    assert!(String::from_utf8(facts.patch.unwrap()).unwrap().contains("+y\n"));

    fixture.write("one", "z".repeat(100).repeat(60_000) + "\n");
    fixture.write("two", "z".repeat(100).repeat(60_000) + "\n");
    fixture.git(&["add", "-A"]);
    let facts = fixture.facts();
    assert_eq!(facts.notes, ["the diff is not recorded: over 10485760 bytes"]);
    assert_eq!(facts.patch, None);
}
