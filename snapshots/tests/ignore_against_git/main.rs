//! Random trees and ignore files, decided here and by git itself.
//!
//! `TRAINYARD_IGNORE_CASES` says how many trees, `TRAINYARD_IGNORE_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod git;
mod random_tree;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use snapshots::ignore_rules::{IgnoreKind, IgnoreRules};
use snapshots::snapshot::SnapshotOptions;
use snapshots::walk;

use self::git::Answer;
use self::random_tree::{Kind, Numbers, RandomTree};

fn seed() -> u64 {
    let seed = match std::env::var("TRAINYARD_IGNORE_SEED") {
        Ok(given) => given.parse().unwrap(),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("TRAINYARD_IGNORE_SEED={seed}");
    seed
}

fn cases(default: usize) -> usize {
    match std::env::var("TRAINYARD_IGNORE_CASES") {
        Ok(given) => given.parse().unwrap(),
        Err(_) => default,
    }
}

/// Makes a directory in memory where there is one: thousands of small files are waiting for a disk
/// most of the time.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// What of a tree is put on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    /// Enough to be asked about single paths: git takes what is not there for a file.
    Directories,
}

/// Puts a tree on disk with its ignore files under the name that git knows.
fn build(tree: &RandomTree, root: &Path, extent: Extent) {
    fs::create_dir_all(root).unwrap();
    for (entry, kind) in &tree.entries {
        let at = root.join(path(entry));
        match kind {
            Kind::Directory => fs::create_dir(at).unwrap(),
            _ if extent == Extent::Directories => {}
            Kind::File => fs::write(at, "").unwrap(),
            Kind::Link => std::os::unix::fs::symlink(root, at).unwrap(),
        }
    }
    for (directory, text) in &tree.ignore_files {
        fs::write(root.join(path(directory)).join(".gitignore"), text).unwrap();
    }
}

/// Decides on every entry of `tree` as a walk does: what is in an ignored directory is ignored by
/// the rule that ignored the directory.
fn decide(tree: &RandomTree, root: IgnoreRules) -> BTreeMap<Vec<u8>, (bool, Answer)> {
    let mut rules = BTreeMap::from([(Vec::new(), Ok(root))]);
    let mut decided = BTreeMap::new();
    for (entry, kind) in &tree.entries {
        let parent = entry.iter().rposition(|b| *b == b'/').map_or(&[][..], |at| &entry[..at]);
        let here: &Result<IgnoreRules, Answer> = &rules[parent];
        let (excluded, answer) = match here {
            Err(answer) => (true, answer.clone()),
            Ok(rules) => {
                let verdict = rules.decide(entry, *kind == Kind::Directory);
                let answer = verdict.rule.map(|rule| Answer {
                    file: rule.file().as_os_str().as_bytes().to_vec(),
                    line: rule.line(),
                    pattern: rule.pattern().to_vec(),
                });
                (verdict.excluded, answer.unwrap_or_default())
            }
        };
        if *kind == Kind::Directory {
            let inside = match here {
                Ok(rules) if !excluded => Ok(match tree.ignore_files.get(entry) {
                    Some(text) => rules.enter(entry, text).unwrap(),
                    None => rules.clone(),
                }),
                _ => Err(answer.clone()),
            };
            rules.insert(entry.clone(), inside);
        }
        decided.insert(entry.clone(), (excluded, answer));
    }
    decided
}

/// Says what differs in a way that shows the whole case.
fn explain(tree: &RandomTree, entry: &[u8], ours: &Answer, gits: &Answer) -> String {
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut text = format!("{} ({:?})\n", show(entry), tree.entries[entry]);
    for (who, answer) in [("ours", ours), ("git", gits)] {
        text +=
            &format!("  {who}: {}:{} {}\n", show(&answer.file), answer.line, show(&answer.pattern));
    }
    for (directory, ignore_file) in &tree.ignore_files {
        text += &format!("  in {:?}: {}\n", show(directory), show(ignore_file));
    }
    text
}

/// Makes `count` trees as directories of one repository, so that one git answers for all.
fn forest(repository: &Path, count: usize, extent: Extent) -> Vec<(PathBuf, RandomTree)> {
    git::init(repository);
    let mut numbers = Numbers(seed());
    (0..count)
        .map(|number| {
            let tree = RandomTree::new(&mut numbers);
            let name = PathBuf::from(format!("case{number}"));
            build(&tree, &repository.join(&name), extent);
            (name, tree)
        })
        .collect()
}

/// Adds to `wrong` what `rules` decide otherwise than git did in `answers`.
fn compare(
    tree: &RandomTree,
    rules: IgnoreRules,
    answers: &BTreeMap<Vec<u8>, Answer>,
    wrong: &mut Vec<String>,
) {
    for (entry, (excluded, ours)) in decide(tree, rules) {
        let Some(gits) = answers.get(&entry) else { continue };
        if ours != *gits || excluded != gits.ignored() {
            wrong.push(explain(tree, &entry, &ours, gits));
        }
    }
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(5)].concat());
}

#[test]
fn every_path_is_decided_by_the_rule_that_git_names() {
    let directory = scratch();
    let forest = forest(directory.path(), cases(6000), Extent::Directories);
    let prefix = |name: &Path| [name.as_os_str().as_bytes(), b"/"].concat();
    let asked: Vec<Vec<u8>> = forest
        .iter()
        .flat_map(|(name, tree)| {
            tree.entries.keys().map(|entry| [&prefix(name), &entry[..]].concat())
        })
        .collect();
    let mut answers = git::check_ignore(directory.path(), &asked).into_iter();

    let (mut matched, mut brought_back, mut wrong) = (0, 0, Vec::new());
    for (name, tree) in &forest {
        let mut of_tree = BTreeMap::new();
        for entry in tree.entries.keys() {
            let mut answer = answers.next().unwrap();
            matched += usize::from(answer.line > 0);
            brought_back += usize::from(answer.pattern.starts_with(b"!"));
            answer.file.drain(..prefix(name).len().min(answer.file.len()));
            of_tree.insert(entry.clone(), answer);
        }
        let source = directory.path().join(name);
        compare(tree, IgnoreRules::for_source(&source).unwrap(), &of_tree, &mut wrong);

        // The same text as .amlignore files must mean the same.
        for answer in of_tree.values_mut().filter(|answer| answer.line > 0) {
            let directory = answer.file.len() - ".gitignore".len();
            answer.file.splice(directory.., *b".amlignore").for_each(drop);
        }
        fs::write(source.join(".amlignore"), &tree.ignore_files[&Vec::new()]).unwrap();
        let rules = IgnoreRules::for_source(&source).unwrap();
        assert_eq!(rules.kind(), IgnoreKind::AmlIgnore);
        compare(tree, rules, &of_tree, &mut wrong);
    }

    assert_none(&wrong);
    println!("{} paths, {matched} with a rule, {brought_back} brought back", asked.len());
    assert!(matched > asked.len() / 10 && brought_back > asked.len() / 100, "dull cases");
}

#[test]
fn every_class_holds_the_bytes_that_it_holds_for_git() {
    let classes = [
        "[[:alnum:]]",
        "[[:alpha:]]",
        "[[:blank:]]",
        "[[:cntrl:]]",
        "[[:digit:]]",
        "[[:graph:]]",
        "[[:lower:]]",
        "[[:print:]]",
        "[[:punct:]]",
        "[[:space:]]",
        "[[:upper:]]",
        "[[:xdigit:]]",
        "[[:word:]]",
        "[[:ALPHA:]]",
        "[![:alpha:]]",
        "[^[:space:]]",
        "[ -~]",
        "?",
        "[!a]",
        "[\\]-a]",
    ];
    let directory = scratch();
    git::init(directory.path());
    let names: Vec<Vec<u8>> =
        (1..=255).filter(|byte| *byte != b'/').map(|byte| vec![b'x', byte]).collect();
    let root = IgnoreRules::for_source(directory.path()).unwrap();
    let (mut asked, mut ours) = (Vec::new(), Vec::new());
    for (number, class) in classes.iter().enumerate() {
        let (inside, text) = (format!("class{number}").into_bytes(), format!("x{class}"));
        fs::create_dir(directory.path().join(path(&inside))).unwrap();
        fs::write(directory.path().join(path(&inside)).join(".gitignore"), &text).unwrap();
        let rules = root.enter(&inside, text.as_bytes()).unwrap();
        for name in &names {
            let entry = join(&inside, name);
            ours.push(rules.decide(&entry, false).excluded);
            asked.push(entry);
        }
    }

    let answers = git::check_ignore(directory.path(), &asked);

    for ((entry, ours), gits) in asked.iter().zip(ours).zip(answers) {
        assert_eq!(ours, gits.ignored(), "{} {gits:?}", entry.escape_ascii());
    }
}

#[test]
fn rules_from_above_the_source_and_from_info_exclude_count() {
    let mut numbers = Numbers(seed());
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for _ in 0..cases(6000) / 20 {
        let directory = scratch();
        let root = directory.path();
        git::init(root);
        let tree = RandomTree::new(&mut numbers);
        build(&tree, root, Extent::Directories);
        fs::write(root.join(".git/info/exclude"), tree.ignore_file(b"", &mut numbers)).unwrap();
        let asked: Vec<Vec<u8>> = tree.entries.keys().cloned().collect();
        let answers = git::check_ignore(root, &asked);
        let answers: BTreeMap<_, _> = asked.iter().cloned().zip(answers).collect();

        let directories = tree.entries.iter().filter(|(_, kind)| **kind == Kind::Directory);
        for source in directories.map(|(path, _)| path.clone()).chain([Vec::new()]) {
            let rules = IgnoreRules::for_source(&root.join(path(&source))).unwrap();
            let ignored = answers.get(&source).is_some_and(Answer::ignored);
            assert_eq!(!rules.notes().is_empty(), ignored, "{:?}", rules.notes());
            if ignored {
                continue;
            }
            let inside = tree.below(&source);
            let mut answers = random_tree::below(&source, &answers);
            for answer in answers.values_mut().filter(|answer| answer.line > 0) {
                answer.file = relative(&answer.file, &source);
            }
            compared += answers.len();
            compare(&inside, rules, &answers, &mut wrong);
        }
    }
    assert_none(&wrong);
    assert!(compared > 0, "no case at all");
}

/// Turns the path of an ignore file into one from `source`.
fn relative(file: &[u8], source: &[u8]) -> Vec<u8> {
    if source.is_empty() {
        return file.to_vec();
    }
    if let Some(below) = file.strip_prefix(source).and_then(|below| below.strip_prefix(b"/")) {
        return below.to_vec();
    }
    let (source, file) = (path(source), path(file));
    let at = if file.starts_with(".git") { Path::new("") } else { file.parent().unwrap() };
    let up = source.strip_prefix(at).unwrap().iter().count();
    let name = file.strip_prefix(at).unwrap();
    let shown: PathBuf = std::iter::repeat_n(Path::new(".."), up).chain([name]).collect();
    shown.as_os_str().as_bytes().to_vec()
}

#[test]
fn the_walk_lists_the_files_that_git_lists() {
    let directory = scratch();
    let forest = forest(directory.path(), cases(6000) / 4, Extent::All);
    let options = SnapshotOptions::default();

    let mut ours = Vec::new();
    for (name, _) in &forest {
        let listing = walk::list(&directory.path().join(name), &options).unwrap();
        let prefix = name.as_os_str().as_bytes();
        ours.extend(listing.files.iter().map(|file| join(prefix, &file.path)));
    }
    let whole = walk::list(directory.path(), &options).unwrap();

    ours.sort();
    let gits = git::untracked_files(directory.path());
    assert_eq!(ours, gits);
    assert!(whole.files.into_iter().map(|file| file.path).eq(gits), "the same from above");
}
