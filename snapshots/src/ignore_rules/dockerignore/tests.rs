use super::*;

fn rules(text: &str) -> DockerIgnore {
    DockerIgnore::parse(Path::new(".dockerignore"), text.as_bytes()).unwrap()
}

#[test]
fn the_last_pattern_that_matches_decides() {
    // By line: patterns, what they leave out, what they do not.
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("*.txt", &["a.txt"], &["d/a.txt", "a.txt.x"]),
        ("**/*.txt", &["a.txt", "d/e/a.txt"], &["a.txtx"]),
        ("data", &["data", "data/x"], &["x/data", "data2"]),
        ("/data/", &["data", "data/x/y"], &["x/data"]),
        ("./a/../b//c/.", &["b/c", "b/c/d"], &["b", "a"]),
        ("*\n!a.py", &["b.py", "d", "d/a.py"], &["a.py"]),
        ("!a.py\n*", &["a.py"], &[]),
        ("d\n!d/k", &["d", "d/x"], &["d/k", "d/k/y"]),
        ("**\n!**/*.py", &["a.txt", "d"], &["a.py", "d/e/a.py"]),
        ("?.x\n[a-c]1\n[^a]2", &["a.x", "b1", "b2"], &["ab.x", "d1", "a2", "/.x"]),
        ("a\\*b\n\\!c", &["a*b", "!c"], &["axb", "c"]),
        ("**x", &["x", "ax", "d/bx"], &["xa"]),
        ("a/**/b", &["a/b", "a/c/d/b"], &["ab", "a/cb", "b"]),
        ("a**b", &["ab", "a/b", "ax/b"], &["axb", "b"]),
        ("{a,b}", &["{a,b}"], &["a"]),
        ("# x\n  y  \n\n", &["y"], &["# x", "x"]),
        ("\u{feff}a\r\nb", &["a", "b"], &[]),
        (".\n/\n..\n../a", &[], &["a", "x/y"]),
    ];
    for (text, out, not) in cases {
        let rules = rules(text);
        for path in *out {
            assert!(rules.excludes(path.as_bytes()), "{text:?} leaves out {path}");
        }
        for path in *not {
            assert!(!rules.excludes(path.as_bytes()), "{text:?} keeps {path}");
        }
    }
}

#[test]
fn directories_are_entered_where_something_may_come_back() {
    let rules = rules("*\n!a/b/c\n!d*/x");

    for (path, may) in [("a", true), ("a/b", true), ("a/x", false), ("e", false), ("dog", true)] {
        assert_eq!(rules.may_keep_below(path.as_bytes()), may, "{path}");
    }
}

#[test]
fn what_is_no_pattern_is_an_error_with_its_line() {
    for (text, line) in [("a\n!", 2), ("[", 1), ("[]", 1), ("x\n\n[a-]", 3), ("a\\", 1), ("[^", 1)]
    {
        let error = DockerIgnore::parse(Path::new(".dockerignore"), text.as_bytes()).unwrap_err();
        assert!(matches!(error, IgnoreError::Pattern { line: at, .. } if at == line), "{text}");
        assert!(error.hint().is_some());
    }
    let long = vec![b'x'; MAX_BYTES + 1];
    assert!(matches!(DockerIgnore::parse(Path::new("x"), &long), Err(IgnoreError::TooLong { .. })));
    let many = "x\n".repeat(MAX_PATTERNS + 1);
    assert!(matches!(
        DockerIgnore::parse(Path::new("x"), many.as_bytes()),
        Err(IgnoreError::TooManyPatterns { .. })
    ));
}

#[test]
fn many_stars_take_little_time() {
    let rules = rules(&format!("{}b", "*a".repeat(200)));

    assert!(!rules.excludes("a".repeat(4000).as_bytes()));
}
