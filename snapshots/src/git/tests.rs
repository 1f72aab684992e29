//! Real repositories, made by git with nobody's configuration.

mod hostile;
mod patches;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// A repository in a directory of its own.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    /// Makes a repository with `train.py` and `src/model.py` committed.
    fn new() -> Self {
        let fixture = Self { directory: scratch() };
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.write("train.py", "import src.model\n");
        fixture.write("src/model.py", "x = 1\n");
        fixture.commit();
        fixture
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(self.path(), arguments)
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "x"]);
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn facts(&self) -> GitFacts {
        facts_of(self.path())
    }
}

/// Makes a directory in memory where there is one: git waits for the disk at every commit.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*"])
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Describes without hurry: a busy machine must not make a test fail.
fn facts_of(source: &Path) -> GitFacts {
    describe_within(source, &BTreeMap::new(), Duration::from_secs(60))
}

fn property<'a>(facts: &'a GitFacts, name: &str) -> &'a str {
    facts.properties.get(name).map_or("-", String::as_str)
}

#[test]
fn a_clean_clone_is_described() {
    let fixture = Fixture::new();
    fixture.git(&["remote", "add", "origin", "https://u:SECRET@host/a/b.git?sig=SECRET"]);
    let facts = fixture.facts();

    let commit = fixture.git(&["rev-parse", "HEAD"]);
    assert_eq!(property(&facts, "azureml.git.commit"), commit);
    let mut properties = facts.properties.clone();
    for (_, value) in properties.iter_mut().filter(|(name, _)| name.ends_with("commit")) {
        "COMMIT".clone_into(value);
    }
    insta::assert_debug_snapshot!(properties, @r#"
    {
        "azureml.git.branch": "main",
        "azureml.git.commit": "COMMIT",
        "azureml.git.dirty": "False",
        "azureml.git.repository_uri": "https://host/a/b.git",
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.commit": "COMMIT",
        "mlflow.source.git.repoURL": "https://host/a/b.git",
        "trainyard.git.repository.dirty": "False",
        "trainyard.git.repository.staged": "0",
        "trainyard.git.repository.tracked": "0",
        "trainyard.git.repository.untracked": "0",
        "trainyard.git.source.dirty": "False",
        "trainyard.git.source.staged": "0",
        "trainyard.git.source.tracked": "0",
        "trainyard.git.source.untracked": "0",
    }
    "#);
    assert_eq!((facts.patch, facts.notes), (None, vec![]));
}

#[test]
fn changes_are_told_apart_and_counted_where_they_are() {
    let fixture = Fixture::new();
    fixture.write("train.py", "changed\n");
    fixture.write("new.py", "");
    fixture.write("src/staged.py", "x\n");
    fixture.git(&["add", "src/staged.py"]);
    let facts = fixture.facts();
    let of_source = facts_of(&fixture.path().join("src"));

    let changes = facts.changes.unwrap();
    assert_eq!(changes.repository, ChangeCounts { staged: 1, tracked: 1, untracked: 1 });
    assert_eq!(changes.source, changes.repository);
    let inner = of_source.changes.unwrap();
    assert_eq!(inner.repository, changes.repository);
    assert_eq!(inner.source, ChangeCounts { staged: 1, tracked: 0, untracked: 0 });
    assert_eq!(property(&of_source, "trainyard.git.repository.untracked"), "1");
    assert_eq!(property(&of_source, "trainyard.git.source.untracked"), "0");
}

#[test]
fn a_source_is_clean_while_the_repository_is_not() {
    let fixture = Fixture::new();
    fixture.write("train.py", "changed\n");
    let facts = facts_of(&fixture.path().join("src"));

    assert_eq!(property(&facts, "azureml.git.dirty"), "False");
    assert_eq!(property(&facts, "trainyard.git.repository.dirty"), "True");
}

#[test]
fn a_source_within_an_untracked_directory_is_dirty() {
    let fixture = Fixture::new();
    fixture.write("new/deep/f", "");
    let facts = facts_of(&fixture.path().join("new/deep"));
    assert_eq!(property(&facts, "azureml.git.dirty"), "True");
}

#[test]
fn touching_a_file_does_not_make_it_dirty() {
    let fixture = Fixture::new();
    fixture.write("train.py", "import src.model\n");
    assert_eq!(property(&fixture.facts(), "azureml.git.dirty"), "False");
}

#[test]
fn what_there_is_not_is_left_out() {
    let none = tempfile::tempdir().unwrap();
    let facts = facts_of(none.path());
    assert!(facts.properties.is_empty() && facts.notes.is_empty());
    assert!(facts_of(&none.path().join("missing")).properties.is_empty());

    let unborn = Fixture { directory: scratch() };
    unborn.git(&["init", "-q", "-b", "trunk"]);
    unborn.write("f", "x\n");
    unborn.git(&["add", "f"]);
    let facts = unborn.facts();
    assert_eq!(property(&facts, "azureml.git.branch"), "trunk");
    assert_eq!(property(&facts, "azureml.git.commit"), "-");
    assert_eq!(facts.changes.unwrap().source.staged, 1);
    assert!(facts.patch.is_some() && facts.notes.is_empty(), "{:?}", facts.notes);

    let detached = Fixture::new();
    detached.git(&["checkout", "-q", "--detach"]);
    let facts = detached.facts();
    assert_eq!(property(&facts, "azureml.git.branch"), "-");
    assert_ne!(property(&facts, "azureml.git.commit"), "-");
    assert_eq!(property(&facts, "azureml.git.repository_uri"), "-");
}

#[test]
fn the_remote_is_the_one_that_git_would_fetch_from() {
    let fixture = Fixture::new();
    fixture.git(&["remote", "add", "upstream", "ssh://git@host/up"]);
    assert_eq!(property(&fixture.facts(), "mlflow.source.git.repoURL"), "ssh://git@host/up");
    fixture.git(&["remote", "add", "origin", "git@host:or"]);
    assert_eq!(property(&fixture.facts(), "azureml.git.repository_uri"), "git@host:or");
    fixture.git(&["config", "branch.main.remote", "upstream"]);
    assert_eq!(property(&fixture.facts(), "azureml.git.repository_uri"), "ssh://git@host/up");
    fixture.git(&["config", "branch.main.remote", "https://u:p@host/direct"]);
    assert_eq!(property(&fixture.facts(), "azureml.git.repository_uri"), "https://host/direct");
}

#[test]
fn overrides_go_before_what_is_found() {
    let fixture = Fixture::new();
    let overrides = BTreeMap::from(
        [
            ("AZUREML_GIT_REPOSITORY_URI", " https://u:SECRET@ci/r?SECRET "),
            ("AZUREML_GIT_BRANCH", "release"),
            ("AZUREML_GIT_COMMIT", "  "),
            ("AZUREML_GIT_DIRTY", "1"),
            ("AZUREML_GIT_BUILD_ID", "77"),
            ("AZUREML_GIT_BUILD_URI", "https://ci/build?id=77"),
            ("AZUREML_GIT_OTHER", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let facts = describe(fixture.path(), &overrides);
    assert_eq!(property(&facts, "mlflow.source.git.repoURL"), "https://ci/r");
    assert_eq!(property(&facts, "mlflow.source.git.branch"), "release");
    assert_eq!(property(&facts, "azureml.git.commit"), fixture.git(&["rev-parse", "HEAD"]));
    assert_eq!(property(&facts, "azureml.git.dirty"), "True");

    let outside = tempfile::tempdir().unwrap();
    let facts = describe(outside.path(), &overrides);
    insta::assert_debug_snapshot!(facts.properties, @r#"
    {
        "azureml.git.branch": "release",
        "azureml.git.build_id": "77",
        "azureml.git.build_uri": "https://ci/build?id=77",
        "azureml.git.dirty": "True",
        "azureml.git.repository_uri": "https://ci/r",
        "mlflow.source.git.branch": "release",
        "mlflow.source.git.repoURL": "https://ci/r",
    }
    "#);
}

#[test]
fn worktrees_and_submodules_have_their_own_values() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let tree = elsewhere.path().join("tree");
    fixture.git(&["worktree", "add", "-q", "-b", "side", tree.to_str().unwrap()]);
    fs::write(tree.join("train.py"), "changed\n").unwrap();
    let facts = facts_of(&tree);
    assert_eq!(property(&facts, "azureml.git.branch"), "side");
    assert_eq!(property(&facts, "azureml.git.dirty"), "True");
    assert_eq!(property(&fixture.facts(), "azureml.git.dirty"), "False");

    let library = Fixture::new();
    let url = library.path().to_str().unwrap();
    fixture.git(&["submodule", "add", "-q", url, "lib"]);
    fixture.commit();
    let submodule = fixture.path().join("lib");
    let facts = facts_of(&submodule);
    assert_eq!(property(&facts, "azureml.git.commit"), library.git(&["rev-parse", "HEAD"]));
    assert_eq!(property(&facts, "azureml.git.repository_uri"), url);
    assert_eq!((facts.changes, facts.notes), (Some(Changes::default()), vec![]));
    assert_eq!(fixture.facts().changes, Some(Changes::default()));

    fs::write(submodule.join("train.py"), "changed\n").unwrap();
    let facts = fixture.facts();
    assert_eq!(
        facts.changes.unwrap().repository,
        ChangeCounts { tracked: 1, ..Default::default() }
    );
    let patch = String::from_utf8(facts.patch.clone().unwrap()).unwrap();
    assert!(patch.contains("-dirty\n"), "{patch}");
}

#[test]
fn a_foreign_repository_is_described_too() {
    let fixture = Fixture::new();
    let nobody = Some(nix::unistd::Uid::from_raw(65534));
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("Not root: nothing can be given to another owner.");
        return;
    }
    for path in [fixture.path().to_owned(), fixture.path().join(".git")] {
        nix::unistd::chown(&path, nobody, None).unwrap();
    }
    let facts = fixture.facts();
    assert_ne!(property(&facts, "azureml.git.commit"), "-");
    assert_eq!(facts.changes, Some(Changes::default()));
}

#[test]
fn a_broken_repository_gives_a_note() {
    let breakages: [(&str, &[u8]); 5] = [
        (".git/HEAD", b"garbage"),
        (".git/index", b"DIRC garbage garbage garbage"),
        (".git/config", b"[core\n\0"),
        (".git/refs/heads/main", b"1234"),
        (".git/refs/heads/main", b"0123456789012345678901234567890123456789\n"),
    ];
    for (path, bytes) in breakages {
        let fixture = Fixture::new();
        fixture.write(path, bytes);
        let facts = fixture.facts();
        assert!(!facts.notes.is_empty(), "{path}: {facts:?}");
        assert_eq!(facts.changes, None, "{path}");
    }
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.path().join(".git/objects")).unwrap();
    assert!(fixture.facts().properties.is_empty(), "no repository without objects");
}

#[test]
fn an_unchanged_repository_is_described_in_no_time() {
    let fixture = Fixture::new();
    for number in 0..2000 {
        fixture.write(&format!("d{}/f{number}", number % 40), "x\n");
    }
    fixture.commit();
    let started = Instant::now();
    let facts = fixture.facts();
    let took = started.elapsed();
    println!("{took:?} for 2,000 files");
    assert_eq!(facts.changes, Some(Changes::default()));
    assert!(took < Duration::from_secs(10), "{took:?}");
}
