use super::*;
use crate::environment::RequirementsFile;

fn file(name: &str, text: &str) -> RequirementsFile {
    RequirementsFile { name: name.to_owned(), text: text.to_owned() }
}

#[test]
fn files_are_written_with_references_to_each_other_only() {
    let files = [
        file("requirements.txt", "six\n-r \\\n ../my base.txt # note\nidna\n"),
        file("../my base.txt", "--constraint=/etc/limits.txt\n"),
        file("/etc/limits.txt", "six<2"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let requirements = Requirements::check(&files).unwrap_err();
    // White space ends a name, as it does for pip.
    assert_eq!(
        requirements.to_string(),
        r#""requirements.txt" line 2: "-r" needs one value, on a line of its own"#
    );
    let files = [
        file("requirements.txt", "six\n-r \\\n '../my base.txt' # note\nidna\n"),
        files[1].clone(),
        files[2].clone(),
    ];

    let requirements = Requirements::check(&files).unwrap();
    write(&requirements, directory.path()).unwrap();

    let read = |path: &str| fs::read_to_string(directory.path().join(path)).unwrap();
    assert_eq!(file_path(&requirements, 0), Path::new("0/requirements.txt"));
    assert_eq!(read("0/requirements.txt"), "six\n-r ../1/my_base.txt\n\nidna\n");
    assert_eq!(read("1/my_base.txt"), "-c ../2/limits.txt\n");
    assert_eq!(read("2/limits.txt"), "six<2\n");
}
