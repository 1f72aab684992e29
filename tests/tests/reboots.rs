//! The machine loses its power: what was on says so, what waited is carried out. Of a real restart
//! the next agent sees another boot id and no process; that is what it is shown here.
//!
//! `TRAINYARD_SOAK=1` does it 50 times instead of 5.

use std::fs;

use serde_json::Value;
use tests::moments::is_soak;
use tests::{Yard, is_alive, kill, kill_supervisors, processes_of, text, wait_until};

/// Ends all that is there of a run, and has it look as if that had been in another boot.
fn lose_power(yard: &Yard, run: &str) {
    kill_supervisors(yard, run);
    wait_until("its processes are gone", || {
        processes_of(run).into_iter().for_each(kill);
        processes_of(run).is_empty()
    });
    let file = yard.run_directory(run).join("supervisor.json");
    let record = text(&fs::read(&file).unwrap());
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(record.contains(boot.trim()), "{record}");
    fs::write(&file, record.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).unwrap();
}

#[test]
fn a_restarted_machine_costs_what_was_on_and_nothing_else() {
    let yard = Yard::new();
    yard.configure("[agent]\nmax-runs = 2\n");
    let source = yard.project("source", &[("data.txt", "x")]);
    let diary = yard.shared("diary");
    let submit = |line: &str| -> String {
        let source = source.to_str().unwrap();
        let line = format!("{line} >>{}", diary.display());
        let run = yard.json(["run", "-d", "--json", "--source", source, "--command", &line]);
        run["runId"].as_str().unwrap().to_owned()
    };
    let rounds = if is_soak() { 50 } else { 5 };
    for round in 0..rounds {
        let on = [0, 1].map(|_| submit("sleep 1000; echo never"));
        let waiting = submit(&format!("echo {round}"));
        for run in &on {
            wait_until("it is on", || yard.show(run)["status"] == "Running");
            wait_until("its script is on", || !processes_of(run).is_empty());
        }
        assert_eq!(yard.show(&waiting)["status"], "Queued");

        let agent = yard.agent_pid();
        kill(agent);
        wait_until("the agent is gone", || !is_alive(agent));
        on.iter().for_each(|run| lose_power(&yard, run));

        for run in &on {
            let shown = yard.ended(run);
            assert_eq!(shown["exit"]["reason"], "host_rebooted", "{shown:#}");
            assert_eq!(shown["exit"]["code"], Value::Null);
        }
        assert_eq!(yard.ended(&waiting)["status"], "Completed");
    }
    let rounds: String = (0..rounds).map(|round| format!("{round}\n")).collect();
    assert_eq!(fs::read_to_string(diary).unwrap(), rounds, "each once");
}
