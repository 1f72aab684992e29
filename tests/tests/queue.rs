//! The queue, through the binary: what waits for what, and who goes first.

use tests::{Yard, make_executable, text, wait_until};

/// A yard where one run is on at a time.
fn yard() -> Yard {
    let yard = Yard::new();
    yard.configure("[agent]\nmax-runs = 1\n");
    yard
}

/// What a run waits for, in a word.
fn waits_for(yard: &Yard, run: &str) -> String {
    yard.show(run)["waitsFor"]["for"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_held_run_waits_in_nobodys_way_until_it_is_released() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let held = yard.submit(&source, &["--hold", "--priority", "9"]);
    assert_eq!(waits_for(&yard, &held), "release");
    assert!(yard.ok(["explain", &held]).contains("until somebody releases it"));

    let other = yard.submit(&source, &[]);
    assert_eq!(yard.ended(&other)["status"], "Completed");
    assert_eq!(yard.show(&held)["status"], "Queued");
    // It is still held by the next agent.
    yard.kill_agent();
    assert_eq!(waits_for(&yard, &held), "release");

    yard.ok(["queue", "release", &held]);
    assert_eq!(yard.ended(&held)["status"], "Completed");
    let refused = yard.call(["queue", "hold", &held]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("waits for nothing any more"), "{refused:?}");
}

#[test]
fn runs_go_by_priority_and_the_list_says_in_which_order() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let gate = yard.submit(&source, &["--hold"]);
    let runs = [("low", "-1"), ("usual", "0"), ("high", "1")].map(|(name, priority)| {
        yard.submit(&source, &["--name", name, "--priority", priority, "--after", &gate])
    });
    yard.ok(["queue", "priority", "usual", "5"]);
    let listed = yard.json(["queue", "list", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 4);
    assert_eq!(waits_for(&yard, "low"), "runs");

    yard.ok(["queue", "release", &gate]);

    let started = |run: &String| {
        let ended = yard.ended(run);
        assert_eq!(ended["status"], "Completed");
        ended["startTimeUtc"].as_str().unwrap().to_owned()
    };
    let [low, usual, high] = runs.each_ref().map(started);
    assert!(usual < high && high < low, "{usual} {high} {low}");
}

#[test]
fn who_waits_for_a_run_that_fails_ends_too_and_wait_says_so() {
    let yard = yard();
    let source = yard
        .project("chain", &[("train.py", "import sys; sys.exit(3)"), ("next.py", "print('next')")]);
    let first = yard.submit(&source, &["--hold"]);
    let vain = yard.submit(&source, &["--after", &first]);
    let any = yard.submit(&source, &["--after-any", &format!("{first},{vain}")]);
    yard.ok(["queue", "release", &first]);

    assert_eq!(yard.call(["wait", &first]).status.code(), Some(3));
    assert_eq!(yard.call(["wait", &vain]).status.code(), Some(125));
    let shown = yard.ended(&vain);
    assert_eq!(
        (&shown["status"], &shown["exit"]["reason"]),
        (&"Canceled".into(), &"dependency_failed".into())
    );
    assert!(shown["exit"]["message"].as_str().unwrap().starts_with(&first));
    // This one does not mind how they ended.
    assert_eq!(yard.ended(&any)["exit"]["reason"], "script_failed");
}

#[test]
fn what_a_run_is_to_wait_for_must_be_there() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let output = yard
        .trainyard()
        .args(["run", "-d", "--after", "nobody", "--source"])
        .arg(&source)
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("no run is named \"nobody\""), "{output:?}");
    assert_eq!(yard.json(["list", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_run_waits_for_processors_and_a_smaller_one_passes() {
    let yard = Yard::new();
    let gate = yard.shared("gate");
    let source = yard
        .script(&format!("import os, time\nwhile not os.path.exists({gate:?}): time.sleep(0.01)"));
    let all = std::thread::available_parallelism().unwrap().get();
    let most = format!("{}", all as f64 - 0.4);
    let quick = yard.project("quick", &[("train.py", "print('fine')")]);

    let first = yard.submit(&source, &["--cpus", &most]);
    let large = yard.submit(&quick, &["--cpus", "0.5"]);
    let small = yard.submit(&quick, &["--cpus", "0.1"]);

    assert_eq!(yard.ended(&small)["status"], "Completed");
    assert_eq!(waits_for(&yard, &large), "cpus");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(yard.ended(&first)["status"], "Completed");
    assert_eq!(yard.ended(&large)["status"], "Completed");
}

/// Puts a driver that has `gpus` in front of everything else, and starts an agent that finds it.
fn with_gpus(yard: &Yard, gpus: &str) {
    let bin = yard.home().with_extension("bin");
    std::fs::create_dir(&bin).unwrap();
    let driver = bin.join("nvidia-smi");
    std::fs::write(&driver, format!("#!/bin/sh\nprintf '{gpus}'\n")).unwrap();
    make_executable(&driver);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", bin.display());
    let started = yard.trainyard().env("PATH", path).arg("list").output().unwrap();
    assert!(started.status.success(), "{started:?}");
}

#[test]
fn a_gpu_that_others_use_is_given_when_they_are_gone() {
    let yard = Yard::new();
    yard.configure("[gpus]\nonly-free = true\n");
    with_gpus(&yard, "GPU-1\\n");
    let bin = yard.home().with_extension("bin");
    let busy = bin.join("busy");
    let driver = format!(
        "#!/bin/sh\ncase $1 in\n--query-gpu=uuid) echo GPU-1 ;;\n\
         --query-compute-apps=gpu_uuid,pid,used_memory) cat {busy:?} 2>/dev/null; true ;;\nesac\n"
    );
    std::fs::write(&busy, "GPU-1, 4711, 1024 MiB\n").unwrap();
    std::fs::write(bin.join("nvidia-smi"), driver).unwrap();
    let source = yard.script("import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])");

    let run = yard.submit(&source, &["--gpus", "1"]);
    wait_until("it waits", || waits_for(&yard, &run) == "gpus");
    let why = yard.ok(["explain", &run]);
    assert!(why.contains("0 are free; GPU-1 is in use by others (pid 4711)"), "{why}");
    std::fs::remove_file(&busy).unwrap();

    assert_eq!(yard.ended(&run)["status"], "Completed");
    assert_eq!(yard.ok(["logs", &run]), "GPU-1\n");
}

#[test]
fn every_gpu_is_one_runs_at_a_time() {
    let yard = Yard::new();
    let gate = yard.shared("gate");
    with_gpus(&yard, "GPU-1\\nGPU-2\\n");
    let source = yard.script(&format!(
        "import os, time\nprint('has', os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n\
         while not os.path.exists({gate:?}): time.sleep(0.01)"
    ));
    let has = |run: &str| -> String {
        let log = yard.ok(["logs", run]);
        log.trim().trim_start_matches("has ").to_owned()
    };

    let first = ["1", "2"].map(|_| yard.submit(&source, &["--gpus", "1"]));
    wait_until("two runs have their GPUs", || first.iter().all(|run| !has(run).is_empty()));
    let mut given = first.each_ref().map(|run| has(run));
    given.sort();
    assert_eq!(given, ["GPU-1", "GPU-2"]);
    let third = yard.submit(&source, &["--gpus", "2"]);
    wait_until("the third is in the queue", || waits_for(&yard, &third) == "gpus");
    let why = yard.ok(["explain", &third]);
    assert!(why.contains("waits for GPUs: it takes 2, and 0 are free"), "{why}");
    // An agent that comes back knows whose they are.
    yard.kill_agent();
    let path = format!(
        "{}:{}",
        yard.home().with_extension("bin").display(),
        std::env::var("PATH").unwrap()
    );
    let again = yard.trainyard().env("PATH", path).arg("list").output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let fourth = yard.submit(&source, &["--gpus", "1"]);
    wait_until("the fourth waits too", || waits_for(&yard, &fourth) == "gpus");

    std::fs::write(&gate, "").unwrap();
    for run in first.iter().chain([&third, &fourth]) {
        assert_eq!(yard.ended(run)["status"], "Completed");
    }
    assert_eq!(has(&third), "GPU-1,GPU-2");

    let none = yard.script("import os\nprint([os.environ['CUDA_VISIBLE_DEVICES']])");
    let hidden = yard.submit(&none, &["--gpus", "0"]);
    assert_eq!(yard.ended(&hidden)["status"], "Completed");
    assert_eq!(yard.ok(["logs", &hidden]).trim(), "['']");
    let many = yard.submit(&source, &["--gpus", "3"]);
    let refused = yard.ended(&many);
    assert_eq!(refused["exit"]["reason"], "cannot_start");
    assert!(refused["exit"]["message"].as_str().unwrap().contains("asks for 3 GPUs"), "{refused}");
}
