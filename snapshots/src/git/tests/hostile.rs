//! Repositories that try to run something, to reach outside, or to never end.

use super::*;

/// A repository of which every setting that can name a program names one that leaves a trace.
struct Hostile {
    fixture: Fixture,
    canary: std::path::PathBuf,
}

impl Hostile {
    fn new() -> Self {
        let fixture = Fixture::new();
        let library = Fixture::new();
        let url = library.path().to_str().unwrap();
        fixture.git(&["submodule", "add", "-q", url, "lib"]);
        fixture.write(".gitattributes", "* filter=evil diff=evil merge=evil\n");
        fixture.write("lib/.gitattributes", "* filter=evil diff=evil merge=evil\n");
        git_in(&fixture.path().join("lib"), &["add", "-A"]);
        git_in(&fixture.path().join("lib"), &["commit", "-q", "-m", "x"]);
        fixture.commit();
        let canary = fixture.path().join(".git/canary");
        let hostile = Self { fixture, canary };
        let script = hostile.script();
        for config in [".git/config", ".git/modules/lib/config"] {
            hostile.configure(config, &script);
        }
        for file in ["train.py", "lib/train.py", "src/model.py"] {
            // Of the same length as before, so that only the content tells.
            let text = fs::read_to_string(hostile.fixture.path().join(file)).unwrap();
            hostile.fixture.write(file, text.to_uppercase());
        }
        hostile
    }

    fn script(&self) -> String {
        let path = self.fixture.path().join(".git/evil.sh");
        let text = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", self.canary.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        for hook in ["post-index-change", "pre-commit", "post-checkout", "fsmonitor-watchman"] {
            let hook = self.fixture.path().join(".git/hooks").join(hook);
            fs::create_dir_all(hook.parent().unwrap()).unwrap();
            fs::copy(&path, hook).unwrap();
        }
        path.to_str().unwrap().to_owned()
    }

    /// Writes every key that names a program into `config`, keeping what is there.
    fn configure(&self, config: &str, script: &str) {
        let git = self.fixture.path().join(".git");
        let included = git.join("included");
        let filter = format!(
            "[filter \"evil\"]\n\tclean = {script}\n\tsmudge = {script}\n\tprocess = {script}\n\trequired\n"
        );
        fs::write(&included, format!("[core]\n\tfsmonitor = {script}\n{filter}")).unwrap();
        let mut text = fs::read_to_string(self.fixture.path().join(config)).unwrap();
        text += &filter;
        text += &format!(
            "[core]\n\tfsmonitor = {script}\n\thooksPath = {hooks}\n\tpager = {script}\n\
             \tsshCommand = {script}\n\teditor = {script}\n\taskPass = {script}\n\
             \tgitProxy = {script}\n\tattributesFile = {included}\n\tuntrackedCache = true\n\
             \talternateRefsCommand = {script}\n\
             [diff]\n\texternal = {script}\n\
             [diff \"evil\"]\n\ttextconv = {script}\n\tcommand = {script}\n\
             [merge \"evil\"]\n\tdriver = {script}\n\
             [credential]\n\thelper = {script}\n\
             [gpg]\n\tprogram = {script}\n[gpg \"ssh\"]\n\tprogram = {script}\n\
             [alias]\n\tstatus = !{script}\n\tls-remote = !{script}\n\
             [interactive]\n\tdiffFilter = {script}\n[pager]\n\tstatus = {script}\n\
             [submodule \"lib\"]\n\tupdate = !{script}\n\
             [remote \"origin\"]\n\turl = ext::{script}\n\tuploadpack = {script}\n\
             [include]\n\tpath = {included}\n\
             [includeIf \"gitdir:/\"]\n\tpath = {included}\n\
             [safe]\n\tdirectory = *\n",
            hooks = git.join("hooks").display(),
            included = included.display(),
        );
        fs::write(self.fixture.path().join(config), text).unwrap();
        fs::write(git.join("objects/info/alternates"), git.join("nothing").to_str().unwrap())
            .unwrap();
    }
}

#[test]
fn nothing_that_a_repository_names_is_run() {
    let hostile = Hostile::new();
    let facts = hostile.fixture.facts();

    let ran = fs::read_to_string(&hostile.canary).unwrap_or_default();
    assert_eq!(ran, "", "something was run");
    let changes = facts.changes.expect("the repository is looked at all the same");
    assert_eq!(changes.repository.tracked, 3, "{:?}", facts.notes);
    let patch = String::from_utf8(facts.patch.clone().unwrap()).unwrap();
    assert!(patch.contains("+IMPORT SRC.MODEL\n"), "{patch}");
    assert_eq!(property(&facts, "azureml.git.repository_uri"), "-");

    // The same repository is not as harmless to others.
    let submodule = hostile.fixture.path().join("lib");
    for directory in [hostile.fixture.path(), &submodule] {
        fs::remove_file(&hostile.canary).ok();
        let status = Command::new("git").current_dir(directory).arg("status").output();
        assert!(status.is_ok() && hostile.canary.exists(), "the test proves nothing");
    }
}

#[test]
fn a_work_tree_elsewhere_is_not_read() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("train.py"), "SECRET\n").unwrap();
    let fixture = Fixture::new();
    fixture.git(&["config", "core.worktree", elsewhere.path().to_str().unwrap()]);
    let facts = fixture.facts();
    let patch = String::from_utf8(facts.patch.unwrap_or_default()).unwrap();
    assert!(!patch.contains("SECRET"), "{patch}");
}

#[test]
fn a_link_in_the_place_of_a_directory_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("model.py"), "SECRET\n").unwrap();
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.path().join("src")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), fixture.path().join("src")).unwrap();
    let patch = String::from_utf8(fixture.facts().patch.unwrap()).unwrap();
    assert!(patch.contains("-x = 1\n") && !patch.contains("SECRET"), "{patch}");
}

#[test]
fn a_pipe_that_never_ends_costs_a_moment() {
    for path in [".gitattributes", ".git/info/exclude", ".git/packed-refs", ".git/config"] {
        let fixture = Fixture::new();
        fs::remove_file(fixture.path().join(path)).ok();
        nix::unistd::mkfifo(&fixture.path().join(path), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let started = Instant::now();
        let facts = describe_within(fixture.path(), &BTreeMap::new(), Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_secs(30), "{path}");
        println!("{path}: {:?}", facts.notes);
    }
}
