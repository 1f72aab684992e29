//! The service as an administrator has it: the units, and the package on a machine with systemd.

use std::process::Command;

use tests::booted::{Booted, package, root};
use tests::{text, wait_until};

/// What everybody's commands need to reach the machine's agent.
const SOCKET: &str = "TRAINYARD_SOCKET=/run/trainyard/agent.sock";

/// Adds the user `ana`, of the agent's group, whose script goes on until there is a file `gate`.
fn add_ana(machine: &Booted) {
    machine.ok(
        "useradd --create-home --groups trainyard ana && mkdir /srv/gate && chmod 777 /srv/gate",
    );
    // The machine has no bubblewrap, and so no network but its own.
    machine.ok("printf '[sandbox]\\nmounts = [\"/srv/gate\"]\\nnetwork = \"full\"\\n' \
         >>/etc/trainyard/config.toml && systemctl restart trainyard");
    let script = "import os, time\n\
                  print('begun', os.getuid(), flush=True)\n\
                  while not os.path.exists('/srv/gate/open'): time.sleep(0.05)\n\
                  print('over', flush=True)\n";
    let write = format!("mkdir ~/project && cat > ~/project/train.py <<'END'\n{script}END");
    machine.user_ok("ana", &write);
}

#[test]
fn an_agent_of_ones_own_outlasts_the_login_and_a_crash_costs_no_run() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    // The machine's service listens, and its port is not for agents of users.
    machine.ok("mkdir -p /etc/trainyard && printf '[listen]\\naddress = \"127.0.0.1:8443\"\\n' \
                > /etc/trainyard/config.toml && systemctl restart trainyard");
    add_ana(&machine);
    machine.ok("loginctl enable-linger ana");
    let ana = |line: &str| machine.ok(&format!("su --login ana --command '{line}'"));
    ana("systemctl --user enable --now trainyard");
    ana("trainyard run -d -q --source ~/project --python /usr/bin/python3 train.py");
    wait_until("the run is on", || ana("trainyard logs @").contains("begun"));
    wait_until("ana has left", || machine.ok("loginctl list-sessions --no-legend").is_empty());
    let pid = || ana("systemctl --user show --value -p MainPID trainyard");
    let (first, process) = (pid(), "pgrep -u ana -f '[s]upervise '");
    let supervisors = machine.ok(process);
    assert!(!ana("trainyard agent status --json").contains("listening"));
    assert!(machine.ok("cat /proc/net/tcp").contains("0100007F:20FB"), "the service listens");

    machine.ok(&format!("kill -KILL {first}"));
    wait_until("it is started again", || ![first.as_str(), "0"].contains(&pid().as_str()));

    assert_eq!(machine.ok(process), supervisors);
    open_gate(&machine);
    ana("trainyard wait @");
    let uid = machine.ok("id -u ana");
    assert_eq!(ana("trainyard logs @"), format!("begun {uid}\nover"));
    assert_eq!(ana("systemctl --user show --value -p NRestarts trainyard"), "1");
    let journal = machine.ok("journalctl _UID=$(id -u ana) -o cat");
    assert!(journal.contains("Started."), "{journal}");
}

/// Submits ana's script and returns the run's id once it is on.
fn begin(machine: &Booted) -> String {
    let line = format!(
        "{SOCKET} trainyard run -d -q --source ~/project --python /usr/bin/python3 train.py"
    );
    machine.user_ok("ana", &line);
    let run = ana(machine, "list -q").lines().next().unwrap().to_owned();
    wait_until("the run is on", || ana(machine, &format!("logs {run}")).contains("begun"));
    run
}

#[track_caller]
fn ana(machine: &Booted, arguments: &str) -> String {
    machine.user_ok("ana", &format!("{SOCKET} trainyard {arguments}"))
}

fn open_gate(machine: &Booted) {
    machine.ok("touch /srv/gate/open");
}

fn agent_pid(machine: &Booted) -> String {
    machine.property("trainyard.service", "MainPID")
}

#[test]
fn the_units_are_as_systemd_wants_them_and_hardened() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));

    let units = "/usr/lib/systemd/system/trainyard*";
    let user = "/usr/lib/systemd/user/trainyard.service";
    for line in [
        format!("systemd-analyze verify {units}"),
        format!("XDG_RUNTIME_DIR=/run systemd-analyze --user verify {user}"),
    ] {
        let verified = machine.root(&line);
        assert_eq!(text(&[verified.stdout, verified.stderr].concat()), "", "{line}");
        assert!(verified.status.success());
    }
    // Ten times the number.
    machine.ok("systemd-analyze security --threshold=40 trainyard.service");
    // Every line says why it is there.
    let unit = std::fs::read_to_string(root().join("systemd/trainyard.service")).unwrap();
    assert!(unit.matches("\n#").count() > 30, "{unit}");
}

#[test]
fn an_upgrade_and_a_crash_cost_no_run() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    assert_eq!(machine.property("trainyard.service", "ActiveState"), "active");
    assert_eq!(machine.ok("stat -c '%a %U %G' /run/trainyard/agent.sock"), "660 root trainyard");
    add_ana(&machine);
    let run = begin(&machine);
    let first = agent_pid(&machine);
    let process = format!("pgrep -f '[s]upervise .*{run}'");
    let supervisors = machine.ok(&process);

    machine.install(&package("1.1"));
    let second = agent_pid(&machine);
    machine.ok("kill -KILL $(systemctl show --value -p MainPID trainyard)");
    wait_until("it is started again", || {
        let now = agent_pid(&machine);
        now != second && now != "0"
    });

    assert_ne!(first, second);
    assert_eq!(machine.ok(&process), supervisors);
    assert_eq!(machine.ok("dpkg-query -W -f '${Version}' trainyard"), "1.1");
    open_gate(&machine);
    ana(&machine, &format!("wait {run}"));
    let uid = machine.ok("id -u trainyard");
    assert_eq!(ana(&machine, &format!("logs {run}")), format!("begun {uid}\nover"));
    let journal = machine.ok("journalctl -u trainyard -o cat PRIORITY=6");
    let line = format!("run{{run={run}}}: ");
    assert!(journal.contains(&line) && !journal.contains("<6>"), "{journal}");
    assert_eq!(machine.ok("systemctl --failed --no-legend"), "");
}

#[test]
fn a_stopped_agent_is_there_again_when_somebody_asks_and_one_that_hangs_is_restarted() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    add_ana(&machine);
    let run = begin(&machine);

    machine.ok("systemctl stop trainyard.service 2>/dev/null");
    assert_eq!(machine.property("trainyard.service", "ActiveState"), "inactive");
    assert!(ana(&machine, "list -q").contains(&run));
    assert_eq!(machine.property("trainyard.service", "ActiveState"), "active");

    // Quicker than what ships.
    machine.ok(
        "mkdir /run/systemd/system/trainyard.service.d && printf '[Service]\\nWatchdogSec=2\\n' \
         > /run/systemd/system/trainyard.service.d/quick.conf && systemctl daemon-reload && \
         systemctl restart trainyard",
    );
    machine.ok("kill -STOP $(systemctl show --value -p MainPID trainyard)");
    wait_until("the watchdog has restarted it", || {
        machine.property("trainyard.service", "NRestarts") == "1"
            && machine.property("trainyard.service", "ActiveState") == "active"
    });

    open_gate(&machine);
    ana(&machine, &format!("wait {run}"));
    assert!(machine.property("trainyard.service", "StatusText").ends_with("queued"));
}

#[test]
fn only_the_group_may_use_it_only_root_may_drain_it_and_a_purge_leaves_nothing() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    add_ana(&machine);
    let run = begin(&machine);

    machine.ok("useradd ben");
    let stranger = machine.user("ben", &format!("{SOCKET} HOME=/tmp/ben trainyard list"));
    assert_eq!(stranger.status.code(), Some(1), "{stranger:?}");
    let said = text(&stranger.stderr);
    assert!(said.contains("permission denied: you are not in group trainyard"), "{said}");
    assert!(said.contains("`adduser ben trainyard`"), "{said}");
    let drain = machine.user("ana", &format!("{SOCKET} trainyard agent drain"));
    assert_eq!(drain.status.code(), Some(2));
    assert!(text(&drain.stderr).contains("may not drain the agent"), "{}", text(&drain.stderr));
    let drain = machine.root(&format!("{SOCKET} trainyard agent drain --timeout 0"));
    assert_eq!(drain.status.code(), Some(1));
    assert!(text(&drain.stderr).contains("1 run still on"), "{}", text(&drain.stderr));

    machine.ok("dpkg --remove trainyard");
    assert!(machine.root(&format!("pgrep -f '[s]upervise .*{run}'")).status.success());
    assert!(machine.root("test -e /run/trainyard/agent.sock").status.code() == Some(1));
    machine.ok("dpkg --purge trainyard");

    assert_eq!(machine.root("pgrep -u trainyard").status.code(), Some(1));
    let left = machine
        .ok("find / -xdev -name '*trainyard*' -not -path '/proc/*' -not -path '/sys/*' \
         -not -path '/root/*' -not -path '/var/lib/dpkg/*' -not -path '/home/*' -not -path '/tmp/ben/*'");
    assert_eq!(left, "");
    assert_eq!(machine.ok("systemctl --failed --no-legend"), "");
}

#[test]
fn each_user_sees_their_own_and_an_administrator_everybodys() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    add_ana(&machine);
    machine.ok("useradd -m -G trainyard ben && useradd -m -G trainyard,trainyard-admin carl");
    let run = begin(&machine);
    let as_user = |user: &str, line: &str| {
        let output = machine.user(user, &format!("{SOCKET} HOME=/home/{user} trainyard {line}"));
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };

    for line in ["show", "logs", "cancel", "explain"] {
        let (code, said) = as_user("ben", &format!("{line} {run}"));
        assert_eq!(code, Some(2), "{line}: {said}");
        assert!(said.contains(&format!("no run is named {run:?}")), "{said}");
    }
    assert_eq!(as_user("ben", "list -q"), (Some(0), String::new()));
    let (code, said) = as_user("ben", "list --all-users");
    assert!(code == Some(2) && said.contains("may not list everybody's runs"), "{said}");
    let (_, said) = as_user("carl", "list --all-users");
    assert!(said.contains(&run) && said.contains("ana"), "{said}");
    let (code, said) = as_user("carl", &format!("show {run}"));
    assert!(code == Some(0) && said.contains("User         ana"), "{said}");
    assert!(as_user("ana", "agent status").1.contains("You          1 run not over"));

    // What the user database says counts at once.
    machine.ok("gpasswd --delete carl trainyard-admin");
    let (code, said) = as_user("carl", &format!("cancel {run}"));
    assert_eq!(code, Some(2), "{said}");
    machine.ok("gpasswd --add carl trainyard-admin");
    let (code, said) = as_user("carl", &format!("cancel --now {run}"));
    assert_eq!(code, Some(0), "{said}");
    let waited = machine.user("ana", &format!("{SOCKET} trainyard wait {run}"));
    assert_eq!(waited.status.code(), Some(130), "{waited:?}");
    assert!(ana(&machine, &format!("show {run}")).contains("carl"));
}

#[test]
fn the_hardened_unit_listens_and_a_token_goes_with_its_users_group() {
    let Some(machine) = Booted::start() else { return };
    machine.install(&package("1.0"));
    machine.ok("useradd -m -G trainyard ana");
    machine.ok(
        "printf '[listen]\\naddress = \"127.0.0.1:8443\"\\n' >> /etc/trainyard/config.toml && \
         systemctl restart trainyard",
    );
    assert!(ana(&machine, "agent status").contains("Listening    http://127.0.0.1:8443"));
    ana(&machine, "token create laptop > ~/token");
    let over_tcp = || {
        let by = "TRAINYARD_SOCKET=http://127.0.0.1:8443 TRAINYARD_TOKEN_FILE=/home/ana/token";
        machine.user("ana", &format!("{by} trainyard agent status --json"))
    };

    let status = over_tcp();
    let said: serde_json::Value = serde_json::from_slice(&status.stdout)
        .unwrap_or_else(|error| panic!("{error}: {status:?}"));
    assert_eq!(said["usage"]["user"], "ana");

    machine.ok("gpasswd --delete ana trainyard");
    let refused = over_tcp();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("who may not connect to this agent's socket"), "{said}");
}

#[test]
fn what_cannot_be_packaged_is_said() {
    let made = Command::new(root().join("packaging/deb")).arg("/nonexistent").output().unwrap();

    assert_eq!(made.status.code(), Some(1));
    assert!(text(&made.stderr).contains("packaging/portable"), "{}", text(&made.stderr));
}
