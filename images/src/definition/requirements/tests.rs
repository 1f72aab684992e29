use std::fs;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;

/// Writes files and loads the first.
fn load_from(files: &[(&str, &str)]) -> Result<Vec<RequirementsFile>, String> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    load(&directory.path().join(files[0].0)).map_err(|error| {
        let hint = error.hint().map(|hint| format!("\n  {hint}")).unwrap_or_default();
        format!("{error}{hint}").replace(&*directory.path().to_string_lossy(), "<dir>")
    })
}

fn names(files: &[(&str, &str)]) -> Vec<String> {
    load_from(files).unwrap().into_iter().map(|file| file.name).collect()
}

/// What is said of a file with this text, without the hint.
fn refusal(text: &str) -> String {
    let told = load_from(&[("requirements.txt", text), ("base.txt", "")]).unwrap_err();
    told.lines().next().unwrap().to_owned()
}

#[test]
fn every_file_that_is_named_is_read_once() {
    let found = names(&[
        (
            "requirements/dev.txt",
            "-r base.txt\n-c ../constraints.txt\n--requirement=./base.txt\nsix\n",
        ),
        ("requirements/base.txt", "-rmore/deep.txt\n"),
        ("requirements/more/deep.txt", "--constraint ../../constraints.txt\n"),
        ("constraints.txt", "six<2\n"),
    ]);

    assert_eq!(found, ["dev.txt", "base.txt", "../constraints.txt", "more/deep.txt"]);
}

#[test]
fn text_is_kept_as_it_is() {
    let text = "# note\r\nsix == 1.16 \\\n  --hash=sha256:00  # why\n\n--index-url https://${TOKEN}@host/\n";

    let files = load_from(&[("r.txt", &format!("\u{feff}{text}"))]).unwrap();

    assert_eq!(files, [RequirementsFile { name: "r.txt".to_owned(), text: text.to_owned() }]);
}

#[test]
fn files_that_cannot_be_read_are_named_with_who_named_them() {
    let mut told = vec![
        load_from(&[("a.txt", "six\n\n-r \\\n none.txt\n")]).unwrap_err(),
        load_from(&[("a.txt", "-r b.txt"), ("b.txt", "x\n-c a.txt")]).unwrap_err(),
        load_from(&[("a.txt", "-r sub"), ("sub/x", "")]).unwrap_err(),
        load_from(&[("a.txt", &"# \n".repeat(2_000_000))]).unwrap_err(),
    ];
    let directory = tempfile::tempdir().unwrap();
    let show = |error: DefinitionError| {
        error.to_string().replace(&*directory.path().to_string_lossy(), "<dir>")
    };
    fs::write(directory.path().join("latin"), b"# caf\xe9").unwrap();
    told.push(show(load(&directory.path().join("latin")).unwrap_err()));
    told.push(show(load(&directory.path().join("none")).unwrap_err()));

    insta::assert_snapshot!(told.join("\n"), @r#"
    "a.txt" line 3 names "none.txt", which does not exist
      Paths are relative to the directory of the file that names them.
    "b.txt" line 2 names "a.txt", which leads back to that line
    requirements file "<dir>/sub" is not a regular file
    requirements file "<dir>/a.txt" is over the limit of 4194304 bytes
    requirements file "<dir>/latin" is not UTF-8 text
    requirements file "<dir>/none" does not exist
    "#);
}

#[test]
fn a_pipe_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();

    assert!(matches!(load(&pipe), Err(DefinitionError::NotAFile { .. })));
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(std::ffi::OsString::from_vec(b"r\xff.txt".to_vec()));
    fs::write(&path, "").unwrap();

    assert!(matches!(load(&path), Err(DefinitionError::NotUtf8 { .. })));
}

#[test]
fn too_many_files_are_refused() {
    let names: Vec<String> = (0..=MAX_FILES).map(|n| format!("{n}.txt")).collect();
    let texts: Vec<String> = (1..=MAX_FILES + 1).map(|n| format!("-r {n}.txt\n")).collect();
    let files: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();

    assert_eq!(
        load_from(&files).unwrap_err(),
        r#"requirements file "0.txt" leads to more than 100 files"#
    );
}

#[test]
fn what_is_not_served_is_refused_with_file_and_line() {
    let lines = [
        "-e .",
        "--editable=git+https://h/a#egg=a",
        "./local",
        "../wheels/a-1-py3-none-any.whl",
        "/srv/a.tar.gz",
        "A-1.ZIP",
        "src/a ; os_name == 'posix'",
        "a @ file:///srv/a.whl",
        "a [x] @ ./a",
        "file:a",
        "git+file:///srv/a",
        "-f wheels",
        "-i /srv/simple",
        "--find-links=file:///srv",
        "-r https://host/r.txt",
        "-r ${WHERE}.txt",
        "--install-option=x",
        "six --user",
        "-r",
        "-r base.txt -r base.txt",
        "-r base.txt --pre",
        "--index-url 'https://host",
        "six\u{1b}[2J",
        "--index-url https://user:word@host/simple",
        "a @ https://token@host/a.whl",
    ];

    let told: Vec<String> = lines.iter().map(|line| refusal(&format!("\n{line}\n"))).collect();

    insta::assert_snapshot!(told.join("\n"), @r#"
    "requirements.txt" line 2: an editable requirement is not supported yet
    "requirements.txt" line 2: an editable requirement is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a file: URL is not supported yet
    "requirements.txt" line 2: a requirement on the local disk is not supported yet
    "requirements.txt" line 2: a file: URL is not supported yet
    "requirements.txt" line 2: a file: URL is not supported yet
    "requirements.txt" line 2: an index or a directory of packages on the local disk is not supported yet
    "requirements.txt" line 2: an index or a directory of packages on the local disk is not supported yet
    "requirements.txt" line 2: a file: URL is not supported yet
    "requirements.txt" line 2: a requirements file from a URL is not supported yet
    "requirements.txt" line 2: a variable in the name of a file is not supported yet
    "requirements.txt" line 2: "--install-option" is not an option of requirements files
    "requirements.txt" line 2: "--user" is not an option of requirements files
    "requirements.txt" line 2: "-r" needs one value, on a line of its own
    "requirements.txt" line 2: "-r" needs one value, on a line of its own
    "requirements.txt" line 2: "-r" needs one value, on a line of its own
    "requirements.txt" line 2: the line cannot be understood
    "requirements.txt" line 2: the line cannot be understood
    "requirements.txt" line 2: the URL carries credentials, which would be stored with every run
    "requirements.txt" line 2: the URL carries credentials, which would be stored with every run
    "#);
}

#[test]
fn what_pip_takes_is_taken() {
    let text = "\
six
six>=1,<2 ; python_version >= '3.8'
Foo.Bar[extra, other] == 1.0  # comment
foo @ https://host/foo-1.0-py3-none-any.whl#sha256=00
git+https://host/foo@v1.0#egg=foo
git+ssh://git@host/foo
https://host/foo-1.0.tar.gz
six==${SIX_VERSION}
${PACKAGE_URL}
six==1 --hash=sha256:00 \\
    --hash=sha256:01
-i https://host/simple --extra-index-url https://${TOKEN}@other/simple
--index-url=https://host/simple --pre -fhttps://host/
-f https://host/links.html
--no-index
--pre --prefer-binary
--only-binary :all:
--trusted-host host
--require-hashes
";
    let files = load_from(&[("r.txt", text)]).unwrap();

    let requirements = Requirements::check(&files).unwrap();

    let lines: Vec<String> = requirements.files[0]
        .lines
        .iter()
        .map(|line| format!("{} {:?} {}", line.number, line.kind, line.text))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    1 Requirement six
    2 Requirement six>=1,<2 ; python_version >= '3.8'
    3 Requirement Foo.Bar[extra, other] == 1.0
    4 Requirement foo @ https://host/foo-1.0-py3-none-any.whl#sha256=00
    5 Requirement git+https://host/foo@v1.0#egg=foo
    6 Requirement git+ssh://git@host/foo
    7 Requirement https://host/foo-1.0.tar.gz
    8 Requirement six==${SIX_VERSION}
    9 Requirement ${PACKAGE_URL}
    10 Requirement six==1 --hash=sha256:00     --hash=sha256:01
    12 Options -i https://host/simple --extra-index-url https://${TOKEN}@other/simple
    13 Options --index-url=https://host/simple --pre -fhttps://host/
    14 Options -f https://host/links.html
    15 Options --no-index
    16 Options --pre --prefer-binary
    17 Options --only-binary :all:
    18 Options --trusted-host host
    19 Options --require-hashes
    "#);
    assert_eq!(
        requirements.variables().into_keys().collect::<Vec<_>>(),
        ["PACKAGE_URL", "SIX_VERSION", "TOKEN"]
    );
}

#[test]
fn files_from_elsewhere_cannot_name_a_file_of_this_machine() {
    let file = RequirementsFile { name: "r.txt".to_owned(), text: "-r /etc/passwd\n".to_owned() };

    let error = Requirements::check(&[file]).unwrap_err();

    assert!(matches!(error, DefinitionError::MissingInclude { .. }), "{error}");
    assert!(matches!(Requirements::check(&[]), Err(DefinitionError::Empty)));
}

#[test]
fn variables_are_replaced_where_they_are_known() {
    let value = |name: &str| (name == "A").then(|| "1".to_owned());

    assert_eq!(line::expand("x${A}y${B}${a}$A${", &value), "x1y${B}${a}$A${");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-\\\\#r \n\"'a@:/${}A=;\\[\\]]{0,60}") {
        let file = RequirementsFile { name: "r.txt".to_owned(), text };
        if let Ok(requirements) = Requirements::check(std::slice::from_ref(&file)) {
            canonical_lines(&requirements, &|_| None);
        }
    }
}
