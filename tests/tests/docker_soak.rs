//! Many quick containers in a row leave nothing behind. `TRAINYARD_SOAK=1` makes it two hundred.

use tests::engine::{self, Belongings};
use tests::{make_executable, text};

#[test]
fn quick_containers_leave_nothing_behind() {
    let Some(yard) = engine::yard() else { return };
    let count = if std::env::var_os("TRAINYARD_SOAK").is_some() { 200 } else { 10 };
    // An image with a volume, so that forgetting one shows.
    let dockerfile = format!(
        "FROM {}\nLABEL trainyard.home={}\nVOLUME /data\n",
        engine::BASE_IMAGE,
        yard.home().display()
    );
    let context = yard.project("with-volume", &[("Dockerfile", &dockerfile)]);
    let image = engine::docker(["build", "-q", context.to_str().unwrap()]);
    let project = [("train.py", ""), ("go.sh", "#!/bin/sh\necho $1 >/tmp/$1; echo run $1\n")];
    let source = yard.project("quick", &project);
    make_executable(&source.join("go.sh"));
    let before = Belongings::of(&yard);

    let runs: Vec<String> = (0..count)
        .map(|number| {
            let output = yard
                .trainyard()
                .args(["run", "-d", "--json", "--secret", "TOKEN", "--source"])
                .env("TOKEN", "s3cr3t-of-soak")
                .arg(&source)
                .args(["--docker", image.trim(), "--command"])
                .arg(format!("./go.sh {number}"))
                .output()
                .unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
            answer["runId"].as_str().unwrap().to_owned()
        })
        .collect();

    for (number, run) in runs.iter().enumerate() {
        let shown = yard.ended(run);
        assert_eq!(shown["status"], "Completed", "{shown:#}");
        assert_eq!(yard.ok(["logs", run]), format!("run {number}\n"));
    }
    let mut after = Belongings::of(&yard);
    // Those of tests beside this one do not count; ours have the names of our runs.
    after.volumes.retain(|volume| before.volumes.contains(volume) || is_anonymous(volume));
    after.networks.retain(|name| before.networks.contains(name) || name.contains("trainyard"));
    let added = |after: &[std::path::PathBuf], before: &[std::path::PathBuf]| -> Vec<_> {
        let ours = |path: &str| runs.iter().any(|run| path.contains(run.as_str()));
        let added = after.iter().filter(|path| !before.contains(path));
        added.filter(|path| ours(&path.to_string_lossy())).cloned().collect()
    };
    assert!(added(&after.secrets, &before.secrets).is_empty(), "{after:#?}");
    assert!(added(&after.temporary, &before.temporary).is_empty(), "{after:#?}");
    assert_eq!(yard.containers(), [""; 0]);
    assert_eq!(after.images, before.images);
    after.volumes.retain(|volume| !before.volumes.contains(volume));
    after.networks.retain(|name| !before.networks.contains(name));
    assert_eq!((after.volumes, after.networks), (Vec::new(), Vec::new()));
    for run in &runs {
        let left: Vec<_> = std::fs::read_dir(yard.run_directory(run).join("tmp"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Tells whether the engine made this name up: 64 hexadecimal digits.
fn is_anonymous(volume: &str) -> bool {
    volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}
