use std::fs;

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

fn table(source: &Path, paths: &[&str]) -> String {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let explanation = explain(source, &paths, &SnapshotOptions::default()).unwrap();
    let lines = explanation.paths.iter().map(|explained| {
        let word = if explained.included { "in " } else { "out" };
        let azure = explained.azure.as_ref().map_or(String::new(), |azure| format!(" [{azure}]"));
        format!("{word} {}: {}{azure}\n", explained.path.display(), explained.reason)
    });
    lines.collect()
}

#[test]
fn each_path_is_told_with_what_decides() {
    let source = source(&[
        (".gitignore", "*.log\n!keep.log\n/data/\n"),
        ("train.py", ""),
        ("a.log", ""),
        ("keep.log", ""),
        ("data/b/c.csv", ""),
        ("sub/.gitignore", "*.tmp\n"),
        ("sub/x.tmp", ""),
        ("sub/y", ""),
        (".git/config", ""),
    ]);
    std::os::unix::fs::symlink("sub", source.path().join("link")).unwrap();
    nix::unistd::mkfifo(&source.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let absolute = source.path().join("sub/y");
    let paths = [
        "train.py",
        "./sub/../a.log",
        "keep.log",
        "data",
        "data/b/c.csv",
        "sub/x.tmp",
        "sub/",
        "link",
        "link/y",
        "pipe",
        ".git",
        ".git/config",
        "none",
        "none/none",
        "train.py/x",
        "../x",
        "/etc",
        ".",
        absolute.to_str().unwrap(),
    ];
    insta::assert_snapshot!(table(source.path(), &paths), @r#"
    in  train.py: no rule matches
    out a.log: .gitignore:1: *.log
    in  keep.log: .gitignore:2: !keep.log
    out data: .gitignore:3: /data/ [Azure ML would keep it, empty: to it a pattern that ends with a slash matches only what is inside]
    out data/b/c.csv: inside data, .gitignore:3: /data/
    out sub/x.tmp: sub/.gitignore:1: *.tmp [Azure ML would include it: it reads only the .gitignore in the source's root]
    in  sub: no rule matches
    in  link: no rule matches
    out link/y: reached through link, which is kept as a link [Azure ML would follow the link and include it as a file]
    out pipe: it is a named pipe, not a file
    out .git: .git is always left out [Azure ML would include it, .git being no exception]
    out .git/config: inside .git, .git is always left out [Azure ML would include it, .git being no exception]
    out none: it does not exist
    out none/none: it does not exist
    out train.py/x: it does not exist
    out ../x: it is not in the source directory
    out /etc: it is not in the source directory
    in  .: no rule matches
    in  sub/y: no rule matches
    "#);
}

#[test]
fn where_azure_would_decide_otherwise_is_said() {
    let source = source(&[
        (".amlignore", "data/\n!data/b.txt\nlogs\n!logs/keep\n"),
        ("data/b.txt", ""),
        ("data/a.csv", ""),
        ("logs/keep", ""),
        ("sub/.amlignore", "x\n"),
        ("sub/x", ""),
    ]);
    insta::assert_snapshot!(table(source.path(), &["data/b.txt", "data/a.csv", "logs/keep", "sub/x"]), @r#"
    out data/b.txt: inside data, .amlignore:1: data/ [Azure ML would include it by .amlignore:2: !data/b.txt]
    out data/a.csv: inside data, .amlignore:1: data/
    out logs/keep: inside logs, .amlignore:3: logs
    out sub/x: sub/.amlignore:1: x [Azure ML would include it: it reads only the .amlignore in the source's root]
    "#);
}

#[test]
fn without_paths_it_lists_what_is_left_out_and_what_is_big() {
    let source = source(&[
        (".gitignore", "*.log\nbig/ignored/\n"),
        ("a.log", ""),
        ("big/file", "0123456789"),
        ("big/b.log", ""),
        ("big/ignored/x.log", ""),
        ("small/deep/file", "01234"),
        ("state/db", "0123"),
        ("top", "012345"),
    ]);
    let state_directories = vec![source.path().join("state")];
    let options = SnapshotOptions { state_directories, ..SnapshotOptions::default() };
    let explanation = explain(source.path(), &[], &options).unwrap();

    let shown: Vec<String> = explanation
        .paths
        .iter()
        .map(|path| format!("{}: {}", path.path.display(), path.reason))
        .collect();
    insta::assert_debug_snapshot!(shown, @r#"
    [
        "a.log: .gitignore:1: *.log",
        "state: state of this program is always left out",
        "big/b.log: .gitignore:1: *.log",
        "big/ignored: .gitignore:2: big/ignored/",
    ]
    "#);
    insta::assert_debug_snapshot!(explanation.largest_directories, @r#"
    [
        (
            "big",
            Size {
                bytes: 10,
                files: 1,
            },
        ),
        (
            "small/deep",
            Size {
                bytes: 5,
                files: 1,
            },
        ),
    ]
    "#);
    let files: Vec<_> = explanation.largest_files.iter().map(|(_, bytes)| *bytes).collect();
    assert_eq!(files, [19, 10, 6, 5]);
    assert_eq!(explanation.total.bytes, 40);
}

#[test]
fn what_explain_says_is_what_the_walk_does() {
    let source = source(&[
        (".gitignore", "*.log\n!sub/*.log\n/only\ndeep/**/x\n"),
        ("sub/.gitignore", "!z.log\nq.log\n"),
        ("sub/z.log", ""),
        ("sub/q.log", ""),
        ("only", ""),
        ("sub/only", ""),
        ("deep/a/b/x", ""),
        ("deep/a/b/y", ""),
        (".git/HEAD", ""),
        ("sub/.git/HEAD", ""),
    ]);
    let options = SnapshotOptions::default();
    let listed = walk::list(source.path(), &options).unwrap();
    let listed: Vec<PathBuf> =
        listed.files.iter().map(|file| OsStr::from_bytes(&file.path).into()).collect();
    let all = [
        ".gitignore",
        "sub/.gitignore",
        "sub/z.log",
        "sub/q.log",
        "only",
        "sub/only",
        "deep/a/b/x",
        "deep/a/b/y",
        ".git/HEAD",
        "sub/.git/HEAD",
    ];
    let explained = explain(source.path(), &all.map(PathBuf::from), &options).unwrap();
    for path in explained.paths {
        assert_eq!(path.included, listed.contains(&path.path), "{path:?}");
    }
}

#[test]
fn ignored_modules_of_the_script_are_found_from_module_to_module() {
    let source = source(&[
        (".amlignore", "lib/\nhelpers.py\n*_local.py\nsrc/pkg/__init__.py\n"),
        ("src/train.py", "import os, numpy\nimport pkg.model as m\nfrom shared import x\n"),
        ("src/pkg/__init__.py", ""),
        (
            "src/pkg/model.py",
            "from . import layers\nfrom .conf_local import LR\nfrom ..train import f\n",
        ),
        ("src/pkg/layers.py", "from pkg import unused\nimport helpers\n"),
        ("src/pkg/unused.py", ""),
        ("src/pkg/conf_local.py", ""),
        ("helpers.py", "import lib.a.b\n"),
        ("lib/a/b.py", "import helpers\n"),
        ("shared/__init__.py", "from .x_local import y\n"),
        ("shared/x_local.py", ""),
        ("other_local.py", ""),
    ]);
    let check = |script: &str| {
        let found = check_imports(source.path(), Path::new(script), &SnapshotOptions::default());
        found.unwrap().iter().map(|ignored| format!("{ignored}\n")).collect::<String>()
    };

    insta::assert_snapshot!(check("src/train.py"), @r#"
    src/pkg/__init__.py is left out, but imported by src/train.py:2 (.amlignore:4: src/pkg/__init__.py)
    src/pkg/conf_local.py is left out, but imported by src/pkg/model.py:2 (.amlignore:3: *_local.py)
    shared/x_local.py is left out, but imported by shared/__init__.py:1 (.amlignore:3: *_local.py)
    helpers.py is left out, but imported by src/pkg/layers.py:2 (.amlignore:2: helpers.py)
    lib/a/b.py is left out, but imported by helpers.py:1 (inside lib, .amlignore:1: lib/)
    "#);
    insta::assert_snapshot!(check("other_local.py"), @"the script other_local.py is left out (.amlignore:3: *_local.py)");
    assert_eq!(check("missing.py") + &check("../x.py"), "");
}
