use std::ffi::OsString;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::environment::RequirementsFile;

fn facts() -> InterpreterFacts {
    InterpreterFacts {
        version: "3.11.7".to_owned(),
        implementation: "CPython".to_owned(),
        executable: PathBuf::from("/usr/bin/python3"),
        prefix: PathBuf::from("/usr"),
        base_prefix: PathBuf::from("/usr"),
        base_executable: PathBuf::from("/usr/bin/python3.11"),
        platform: "linux-x86_64".to_owned(),
        abi: "cpython-311-x86_64-linux-gnu".to_owned(),
        libc: "glibc 2.36".to_owned(),
    }
}

fn requirements(files: &[(&str, &str)]) -> Environment {
    let file = |(name, text): &(&str, &str)| RequirementsFile {
        name: (*name).into(),
        text: (*text).into(),
    };
    Environment::Requirements {
        interpreter: PathBuf::from("/usr/bin/python3"),
        files: files.iter().map(file).collect(),
    }
}

fn key_of(files: &[(&str, &str)]) -> String {
    key_with(files, &facts(), &[])
}

fn key_with(files: &[(&str, &str)], facts: &InterpreterFacts, set: &[(&str, &str)]) -> String {
    let set = set.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    parts_of(&requirements(files), facts, b"", &HostVariables::new(set)).unwrap().key.to_string()
}

fn parts_of(
    environment: &Environment,
    facts: &InterpreterFacts,
    settings: &[u8],
    variables: &HostVariables,
) -> Option<KeyParts> {
    let settings = Digest::of(settings);
    let basis =
        Basis { facts: Some(facts), bases: None, index_settings: Some(&settings), variables };
    key(environment, &basis).unwrap()
}

/// The golden key: when this test fails, every environment there is will be built again.
#[test]
fn the_key_of_a_known_definition_stays_the_same() {
    let files = [
        ("requirements.txt", "Scikit_Learn == 1.5 # models\n-r base.txt\n-c limits.txt\n"),
        ("base.txt", "--index-url https://host/simple\nnumpy\n"),
        ("limits.txt", "numpy<2\n"),
    ];

    insta::assert_snapshot!(key_of(&files), @"63750e8129bd11c03caa107ff492269405b0ce3ab8f07c14ea580eb5360bdb71");
}

#[test]
fn what_changes_the_key_and_what_does_not() {
    let base: &[(&str, &str)] =
        &[("requirements.txt", "six==1.16\nidna>=3,<4\n-r more.txt\n"), ("more.txt", "attrs\n")];
    let one = |text: &'static str| vec![("requirements.txt", text), ("more.txt", "attrs\n")];
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("comments and blank lines", one("# x\n\nsix==1.16 # y\nidna>=3,<4\n-r more.txt\n")),
        ("line ends and the last newline", one("six==1.16\r\nidna>=3,<4\r\n-r more.txt")),
        ("order of requirements", one("-r more.txt\nidna>=3,<4\nsix==1.16\n")),
        ("white space", one("six == 1.16\nidna >= 3 , < 4\n-r   more.txt\n")),
        ("case of a name", one("Six==1.16\nidna>=3,<4\n-r more.txt\n")),
        ("order of versions", one("six==1.16\nidna<4,>=3\n-r more.txt\n")),
        ("a line twice", one("six==1.16\nsix==1.16\nidna>=3,<4\n-r more.txt\n")),
        ("a continued line", one("six\\\n==1.16\nidna>=3,<4\n-r more.txt\n")),
        ("the form of an option", one("six==1.16\nidna>=3,<4\n--requirement=./more.txt\n")),
        (
            "names of files",
            vec![("r.txt", "six==1.16\nidna>=3,<4\n-r m.txt\n"), ("m.txt", "attrs")],
        ),
        ("a version", one("six==1.15\nidna>=3,<4\n-r more.txt\n")),
        ("a marker", one("six==1.16; os_name=='posix'\nidna>=3,<4\n-r more.txt\n")),
        ("an extra", one("six[x]==1.16\nidna>=3,<4\n-r more.txt\n")),
        ("a hash", one("six==1.16 --hash=sha256:00\nidna>=3,<4\n-r more.txt\n")),
        ("a requirement more", one("six==1.16\nidna>=3,<4\nabc\n-r more.txt\n")),
        ("a constraint for a requirement", one("six==1.16\nidna>=3,<4\n-c more.txt\n")),
        ("an index", one("-i https://host/\nsix==1.16\nidna>=3,<4\n-r more.txt\n")),
        ("pre-releases", one("--pre\nsix==1.16\nidna>=3,<4\n-r more.txt\n")),
        (
            "the text of a file further down",
            vec![("requirements.txt", base[0].1), ("more.txt", "attrs==23.1\n")],
        ),
    ];

    let before = key_of(base);
    let mut table = String::new();
    for (what, files) in cases {
        let same = key_of(&files) == before;
        table += &format!("{:9}{what}\n", if same { "same" } else { "changes" });
    }

    insta::assert_snapshot!(table, @r#"
    same     comments and blank lines
    same     line ends and the last newline
    same     order of requirements
    same     white space
    same     case of a name
    same     order of versions
    same     a line twice
    same     a continued line
    same     the form of an option
    same     names of files
    changes  a version
    changes  a marker
    changes  an extra
    changes  a hash
    changes  a requirement more
    changes  a constraint for a requirement
    changes  an index
    changes  pre-releases
    changes  the text of a file further down
    "#);
}

#[test]
fn everything_of_the_interpreter_that_packages_depend_on_counts() {
    let files = [("requirements.txt", "six\n")];
    let before = key_of(&files);
    let change = |change: &dyn Fn(&mut InterpreterFacts)| {
        let mut facts = facts();
        change(&mut facts);
        key_with(&files, &facts, &[])
    };

    assert_ne!(change(&|facts| facts.version = "3.11.8".to_owned()), before);
    assert_ne!(change(&|facts| facts.implementation = "PyPy".to_owned()), before);
    assert_ne!(change(&|facts| facts.platform = "linux-aarch64".to_owned()), before);
    assert_ne!(change(&|facts| facts.abi = "cpython-313t".to_owned()), before);
    assert_ne!(change(&|facts| facts.libc = "glibc 2.17".to_owned()), before);
    assert_ne!(change(&|facts| facts.base_executable = "/opt/python".into()), before);
    // Which virtual environment asks does not: the base is the same.
    assert_eq!(change(&|facts| facts.prefix = "/home/me/venv".into()), before);
    assert_eq!(change(&|facts| facts.executable = "/home/me/venv/bin/python".into()), before);
}

#[test]
fn variables_count_where_they_choose_and_not_where_they_open_doors() {
    let version = [("requirements.txt", "six==${SIX}\n")];
    let token = [("requirements.txt", "--index-url https://me:${TOKEN}@host/simple\nsix\n")];
    let key = |files: &[(&str, &str)], set: &[(&str, &str)]| key_with(files, &facts(), set);

    assert_ne!(key(&version, &[("SIX", "1")]), key(&version, &[("SIX", "2")]));
    assert_eq!(key(&version, &[("SIX", "1")]), key_of(&[("requirements.txt", "six==1")]));
    assert_eq!(key(&token, &[("TOKEN", "a")]), key(&token, &[("TOKEN", "b")]));
}

#[test]
fn an_index_wins_by_its_place_so_order_counts() {
    let order = |text: &str| key_of(&[("requirements.txt", text)]);

    assert_ne!(
        order("-i https://a/\n--extra-index-url https://b/\n"),
        order("--extra-index-url https://b/\n-i https://a/\n")
    );
}

#[test]
fn index_settings_count_and_user_managed_environments_have_no_key() {
    let none = HostVariables::default();
    let key_for =
        |settings: &[u8]| parts_of(&requirements(&[("r", "six")]), &facts(), settings, &none);
    let user = Environment::UserManaged { interpreter: "/usr/bin/python3".into() };

    assert_ne!(key_for(b"a"), key_for(b"b"));
    assert_eq!(parts_of(&user, &facts(), b"", &none), None);
}

#[test]
fn index_settings_of_pip_count_for_a_conda_file_only_if_it_has_packages_of_pip() {
    let key_for = |text: &str, settings: &[u8]| {
        let packages = CondaPackages {
            name: "conda.yml".to_owned(),
            text: text.to_owned(),
            directory: Some("/p".into()),
            requirements: Vec::new(),
        };
        let environment = Environment::Conda { packages };
        parts_of(&environment, &facts(), settings, &HostVariables::default())
    };
    let own = "channels: [conda-forge]\ndependencies: [python=3.12, numpy]\n";
    let with_pip =
        "channels: [conda-forge]\ndependencies:\n  - python=3.12\n  - pip\n  - pip:\n    - six\n";

    assert_eq!(key_for(own, b"of one machine"), key_for(own, b"of another"));
    assert_ne!(key_for(with_pip, b"of one machine"), key_for(with_pip, b"of another"));
}

#[test]
fn what_is_told_of_a_key_never_has_the_value_of_a_variable() {
    let set = [("PIN".into(), "hunter2".into()), ("TOKEN".into(), "hunter3".into())];
    let files = [
        ("r.txt", "six==${PIN}\n-i https://me:${TOKEN}@host/simple\n-r more.txt\n"),
        ("more.txt", "idna==${PIN}\n-c c.txt\n"),
        ("c.txt", "attrs<2\n"),
    ];

    let parts = parts_of(&requirements(&files), &facts(), b"", &HostVariables::new(set)).unwrap();

    let mut told = String::new();
    for part in parts.parts.iter().filter(|part| part.name == "line") {
        told += &format!("{}\n", part.value);
        told.extend(part.contains.iter().map(|line| format!("    {line}\n")));
    }
    insta::assert_snapshot!(told, @"
    -i https://host/simple
    -r 6f4c98ad7b942633e150a0b9b3db3b861f7df49f8fa80fa81a30cdb86dea02c3
        -r -c attrs<2
        -r idna==${PIN} (544262e3)
    six==${PIN} (2f51001b)
    ");
    assert!(!format!("{parts:?}").contains("hunter"));
}

#[test]
fn a_key_is_read_back_from_its_text() {
    let text = key_of(&[("requirements.txt", "six")]);

    assert_eq!(text.parse::<EnvironmentKey>().unwrap().to_string(), text);
    assert_eq!(text.parse::<EnvironmentKey>().unwrap().short(), text[..8]);
    assert!("../..".parse::<EnvironmentKey>().is_err());
}

proptest! {
    #[test]
    fn no_order_of_requirements_changes_the_key(
        lines in proptest::collection::vec("[a-c](==[1-3])?( ; os_name == 'x')?", 0..6),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut turned = lines.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
        }
        prop_assert_eq!(
            key_of(&[("r.txt", &lines.join("\n"))]),
            key_of(&[("r.txt", &turned.join("\n"))])
        );
    }
}
