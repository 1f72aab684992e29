use super::*;

fn register() -> (tempfile::TempDir, Register) {
    let dir = tempfile::tempdir().unwrap();
    let register = Register::new(&Workspace::at(dir.path().to_owned()));
    (dir, register)
}

fn definition(interpreter: &str) -> Definition {
    Definition {
        definition: "requirements.txt".to_owned(),
        environment: Environment::UserManaged { interpreter: interpreter.into() },
        container: ContainerOptions::default(),
        variables: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
    }
}

#[test]
fn versions_count_up_and_what_is_the_same_keeps_its_own() {
    let (_dir, register) = register();
    let save =
        |version, path: &str| register.save("sklearn", version, definition(path)).unwrap().version;
    let saved = [
        save(None, "/a"),
        save(None, "/a"),
        save(None, "/b"),
        save(Some("7"), "/c"),
        save(Some("stable"), "/d"),
        save(None, "/a"),
        save(Some("8"), "/a"),
    ];
    assert_eq!(saved, ["1", "1", "2", "7", "stable", "8", "8"]);

    let load = |version| register.load("sklearn", version).unwrap().map(|found| found.definition);
    assert_eq!(load(None), Some(definition("/a")));
    assert_eq!(load(Some("2")), Some(definition("/b")));
    assert_eq!(load(Some("3")), None);
    assert_eq!(register.load("other", None).unwrap(), None);
}

#[test]
fn names_are_listed_and_taken_back() {
    let (_dir, register) = register();
    assert_eq!(register.list().unwrap(), []);
    assert_eq!(register.remove("a", None).unwrap(), 0);
    for (name, path) in [("b", "/1"), ("a", "/1"), ("a", "/2")] {
        register.save(name, None, definition(path)).unwrap();
    }
    let listed = || -> Vec<_> {
        let all = register.list().unwrap();
        all.iter().map(|one| format!("{}:{}", one.name, one.version)).collect()
    };
    assert_eq!(listed(), ["a:1", "a:2", "b:1"]);
    assert_eq!(register.remove("a", Some("2")).unwrap(), 1);
    assert_eq!(register.remove("a", Some("2")).unwrap(), 0);
    assert_eq!(register.remove("b", None).unwrap(), 1);
    assert_eq!(listed(), ["a:1"]);
    assert_eq!(register.remove("../a", None).unwrap(), 0);
}

#[test]
fn what_cannot_be_registered_is_said_with_what_to_do() {
    let (dir, register) = register();
    register.save("mine", Some("1"), definition("/a")).unwrap();
    let wrong = |name: &str, version| {
        let error = register.save(name, version, definition("/b")).unwrap_err();
        format!("{error}\n  {}", error.hint().unwrap_or("-"))
    };
    let mut said = vec![
        wrong("", None),
        wrong("a/b", None),
        wrong(".hidden", None),
        wrong(&"x".repeat(300), None).replace(&"x".repeat(300), "xxx…"),
        wrong("x", Some("latest")),
        wrong("AzureML-Minimal", None),
        wrong("microsoft-x", None),
        wrong("mine", Some("1")),
    ];
    let file = dir.path().join("registered/broken.json");
    std::fs::write(&file, "{").unwrap();
    said.push(wrong("broken", None));
    std::fs::write(&file, r#"{"schemaVersion": 2, "versions": []}"#).unwrap();
    said.push(wrong("broken", None));
    assert!(register.list().is_err());
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    said.push(wrong("broken", None));
    let said = said.join("\n").replace(dir.path().to_str().unwrap(), "");
    insta::assert_snapshot!(said, @r#"
    "" cannot be the name or version of an environment
      it has letters, digits, '-', '_' and '.', of which the first is a letter or digit
    "a/b" cannot be the name or version of an environment
      it has letters, digits, '-', '_' and '.', of which the first is a letter or digit
    ".hidden" cannot be the name or version of an environment
      it has letters, digits, '-', '_' and '.', of which the first is a letter or digit
    "xxx…" cannot be the name or version of an environment
      it has letters, digits, '-', '_' and '.', of which the first is a letter or digit
    "latest" cannot be the name or version of an environment
      it has letters, digits, '-', '_' and '.', of which the first is a letter or digit
    names that begin like "AzureML-Minimal" are Azure's own
      choose one that begins neither with Microsoft nor AzureML
    names that begin like "microsoft-x" are Azure's own
      choose one that begins neither with Microsoft nor AzureML
    "mine" is registered in version 1 already, and is another environment
      choose another with --version, or leave it out for the next
    "/registered/broken.json" is damaged
      remove the file and register the environment again
    "/registered/broken.json" was written by a newer version of trainyard (format 2)
      use that version of trainyard
    cannot read "/registered/broken.json"
      -
    "#);
}

#[test]
fn two_that_register_at_once_both_do() {
    let (_dir, register) = register();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let register = &register;
            scope.spawn(move || register.save("x", None, definition(&format!("/{n}"))).unwrap());
        }
    });
    assert_eq!(register.list().unwrap().len(), 8);
    assert_eq!(register.load("x", None).unwrap().unwrap().version, "8");
}
