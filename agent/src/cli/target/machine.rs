//! What a machine is and has, and what to do about what it lacks. Pure.

use runner::remote::report::MachineReport;

use crate::cli::doctor::Finding;
use crate::terminal::measure;

/// Less free space than this is worth a word: an environment with a large framework needs it.
const LOW_SPACE: u64 = 5 << 30;

/// Clocks that differ by less, in seconds, differ by what the network takes.
const CLOCK: f64 = 2.0;

/// Returns what was found on the machine of target `name`, whose clock is ahead of the agent's by
/// `clock_ahead` seconds.
pub(super) fn findings(
    report: &MachineReport,
    clock_ahead: Option<f64>,
    name: &str,
) -> Vec<Finding> {
    let mut findings = vec![
        system(report),
        glibc(report),
        Finding::good("processors", format!("{} ({})", report.cpus, report.architecture)),
        memory(report),
        disk(report, name),
        gpus(report),
        python(report),
    ];
    findings.push(match &report.conda {
        Some(program) => Finding::good("conda", program.clone()),
        None => Finding::missing(
            "conda",
            "none is installed",
            "optional: for conda files, install micromamba, or have their packages taken from pip \
             with --conda-from-pip",
        ),
    });
    findings.push(match &report.uv {
        Some(path) => Finding::good("uv", path.clone()),
        None => Finding::missing(
            "uv",
            "not installed",
            "optional: it builds environments several times faster: `pip install --user uv` there",
        ),
    });
    findings.push(docker(report));
    findings.push(match report.sandbox.as_str() {
        "full" => Finding::good("sandbox", "full"),
        tier => Finding::missing(
            "sandbox",
            if tier.is_empty() { "not known" } else { tier },
            "optional: user namespaces and package bubblewrap give a full one; containers have \
             their own",
        ),
    });
    findings.push(logout(report));
    findings.push(clock(clock_ahead));
    findings
}

fn system(report: &MachineReport) -> Finding {
    const NAME: &str = "system";
    let id = report.os.as_deref().unwrap_or_default();
    let version = report.os_version.as_deref().unwrap_or_default();
    let spoken = report.os_name.clone().unwrap_or_else(|| format!("{id} {version}"));
    let kernel = report.kernel.as_ref().map(|kernel| format!(", Linux {kernel}"));
    let found = format!("{}{}", spoken.trim(), kernel.unwrap_or_default());
    let year = version.split('.').next().and_then(|year| year.parse::<u32>().ok());
    if id == "ubuntu" && year.is_some_and(|year| year >= 20) {
        return Finding::good(NAME, found);
    }
    let found = if found.is_empty() { "not known".to_owned() } else { found };
    Finding::missing(NAME, found, "what is made for is Ubuntu 20.04 and later; others may do")
}

fn glibc(report: &MachineReport) -> Finding {
    match &report.glibc {
        Some(version) => Finding::good("glibc", version.clone()),
        None => Finding::missing(
            "glibc",
            "its version is not known",
            "wheels for manylinux need glibc: use containers where pip finds nothing that fits",
        ),
    }
}

fn memory(report: &MachineReport) -> Finding {
    const NAME: &str = "memory";
    let Some(all) = report.memory_bytes else {
        return Finding::missing(NAME, "not known", "mount /proc there");
    };
    let free = report.memory_available_bytes.map(|free| format!(", {} free", measure::size(free)));
    Finding::good(NAME, format!("{}{}", measure::size(all), free.unwrap_or_default()))
}

fn disk(report: &MachineReport, target: &str) -> Finding {
    const NAME: &str = "disk space";
    let Some(free) = report.disk_free_bytes else {
        return Finding::missing(NAME, "not known", "look at `df ~` there");
    };
    let all = report.disk_bytes.map(|all| format!(" of {}", measure::size(all)));
    let found = format!("{} free{}", measure::size(free), all.unwrap_or_default());
    if free >= LOW_SPACE {
        return Finding::good(NAME, found);
    }
    let advice = format!(
        "`trainyard gc --target {target} --dry-run` says what can go; an environment with a large \
         framework takes several GB"
    );
    Finding::missing(NAME, found, advice)
}

fn gpus(report: &MachineReport) -> Finding {
    if report.gpus.is_empty() {
        return Finding::missing(
            "GPUs",
            "none was found",
            "nothing to do, unless it has one: install its driver, so that nvidia-smi lists it",
        );
    }
    Finding::good("GPUs", report.gpus.join(", "))
}

fn python(report: &MachineReport) -> Finding {
    const NAME: &str = "python3";
    match &report.python {
        None => Finding::missing(
            NAME,
            "none was found",
            "`sudo apt install python3 python3-venv` there, name another with --python, or use \
             conda or containers",
        ),
        Some(version) if !report.python_venv => Finding::missing(
            NAME,
            format!("{version}, cannot make virtual environments"),
            "`sudo apt install python3-venv` there; scripts that need no packages run as it is",
        ),
        Some(version) => Finding::good(NAME, version.clone()),
    }
}

fn docker(report: &MachineReport) -> Finding {
    const NAME: &str = "docker";
    let user = &report.user;
    match (&report.docker, &report.docker_problem) {
        (Some(version), None) => Finding::good(NAME, format!("{version}, usable by {user}")),
        (found, Some(problem)) => {
            let found = found.as_ref().map(|version| format!("{version}: "));
            Finding::missing(
                NAME,
                format!("{}{problem}", found.unwrap_or_default()),
                report.docker_hint.clone().unwrap_or_else(|| {
                    "look at the engine's own log there: `journalctl -u docker`".to_owned()
                }),
            )
        }
        (None, None) => Finding::missing(
            NAME,
            "no engine was found",
            "optional, for containers: `sudo apt install docker.io` there, or start the one it has",
        ),
    }
}

fn logout(report: &MachineReport) -> Finding {
    const NAME: &str = "after logout";
    if report.kills_on_logout {
        return Finding::bad(
            NAME,
            "processes of users who log out are ended: runs would be",
            format!("`sudo loginctl enable-linger {}` there", report.user),
        );
    }
    Finding::good(NAME, "processes go on")
}

fn clock(ahead: Option<f64>) -> Finding {
    const NAME: &str = "clock";
    let Some(ahead) = ahead else {
        return Finding::missing(NAME, "not known", "look at `date -u` there");
    };
    if ahead.abs() < CLOCK {
        return Finding::good(NAME, "as here");
    }
    let way = if ahead > 0.0 { "ahead of" } else { "behind" };
    Finding::missing(
        NAME,
        format!("{:.0} s {way} this machine's", ahead.abs()),
        "times in logs and metrics are off by as much: `sudo timedatectl set-ntp true` there",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::State;

    fn told(report: &MachineReport, clock: Option<f64>) -> String {
        let mut text = String::new();
        for finding in findings(report, clock, "gpu-vm") {
            let mark = match finding.state {
                State::Good => "ok",
                State::Missing => "-",
                State::Bad => "BAD",
            };
            text += &format!("{mark:<4} {:<13} {}\n", finding.name, finding.found);
            if let Some(advice) = finding.advice {
                text += &format!("       → {advice}\n");
            }
        }
        text
    }

    fn well() -> MachineReport {
        MachineReport {
            os: Some("ubuntu".to_owned()),
            os_version: Some("22.04".to_owned()),
            os_name: Some("Ubuntu 22.04.5 LTS".to_owned()),
            kernel: Some("6.8.0-1015-azure".to_owned()),
            architecture: "x86_64".to_owned(),
            glibc: Some("2.35".to_owned()),
            cpus: 8,
            memory_bytes: Some(32 << 30),
            memory_available_bytes: Some(30 << 30),
            disk_free_bytes: Some(100 << 30),
            disk_bytes: Some(128 << 30),
            gpus: vec!["Tesla T4".to_owned()],
            python: Some("3.10.12".to_owned()),
            python_venv: true,
            conda: Some("/opt/conda/bin/conda".to_owned()),
            uv: Some("/usr/local/bin/uv".to_owned()),
            docker: Some("27.1".to_owned()),
            sandbox: "full".to_owned(),
            user: "azureuser".to_owned(),
            ..MachineReport::default()
        }
    }

    #[test]
    fn a_machine_that_has_everything() {
        insta::assert_snapshot!(told(&well(), Some(0.4)), @r#"
        ok   system        Ubuntu 22.04.5 LTS, Linux 6.8.0-1015-azure
        ok   glibc         2.35
        ok   processors    8 (x86_64)
        ok   memory        34.4 GB, 32.2 GB free
        ok   disk space    107.4 GB free of 137.4 GB
        ok   GPUs          Tesla T4
        ok   python3       3.10.12
        ok   conda         /opt/conda/bin/conda
        ok   uv            /usr/local/bin/uv
        ok   docker        27.1, usable by azureuser
        ok   sandbox       full
        ok   after logout  processes go on
        ok   clock         as here
        "#);
    }

    #[test]
    fn what_a_machine_lacks_comes_with_what_to_do() {
        let report = MachineReport {
            os: Some("debian".to_owned()),
            os_name: Some("Debian GNU/Linux 12".to_owned()),
            architecture: "x86_64".to_owned(),
            cpus: 1,
            memory_bytes: Some(1 << 30),
            disk_free_bytes: Some(1 << 30),
            docker_problem: Some("azureuser may not use /var/run/docker.sock".to_owned()),
            docker_hint: Some("join its group".to_owned()),
            sandbox: "none".to_owned(),
            kills_on_logout: true,
            user: "azureuser".to_owned(),
            ..MachineReport::default()
        };
        insta::assert_snapshot!(told(&report, Some(-86_400.0)), @r#"
        -    system        Debian GNU/Linux 12
               → what is made for is Ubuntu 20.04 and later; others may do
        -    glibc         its version is not known
               → wheels for manylinux need glibc: use containers where pip finds nothing that fits
        ok   processors    1 (x86_64)
        ok   memory        1.1 GB
        -    disk space    1.1 GB free
               → `trainyard gc --target gpu-vm --dry-run` says what can go; an environment with a large framework takes several GB
        -    GPUs          none was found
               → nothing to do, unless it has one: install its driver, so that nvidia-smi lists it
        -    python3       none was found
               → `sudo apt install python3 python3-venv` there, name another with --python, or use conda or containers
        -    conda         none is installed
               → optional: for conda files, install micromamba, or have their packages taken from pip with --conda-from-pip
        -    uv            not installed
               → optional: it builds environments several times faster: `pip install --user uv` there
        -    docker        azureuser may not use /var/run/docker.sock
               → join its group
        -    sandbox       none
               → optional: user namespaces and package bubblewrap give a full one; containers have their own
        BAD  after logout  processes of users who log out are ended: runs would be
               → `sudo loginctl enable-linger azureuser` there
        -    clock         86400 s behind this machine's
               → times in logs and metrics are off by as much: `sudo timedatectl set-ntp true` there
        "#);
        let nothing = told(&MachineReport::default(), None);
        insta::assert_snapshot!(nothing, @r#"
        -    system        not known
               → what is made for is Ubuntu 20.04 and later; others may do
        -    glibc         its version is not known
               → wheels for manylinux need glibc: use containers where pip finds nothing that fits
        ok   processors    0 ()
        -    memory        not known
               → mount /proc there
        -    disk space    not known
               → look at `df ~` there
        -    GPUs          none was found
               → nothing to do, unless it has one: install its driver, so that nvidia-smi lists it
        -    python3       none was found
               → `sudo apt install python3 python3-venv` there, name another with --python, or use conda or containers
        -    conda         none is installed
               → optional: for conda files, install micromamba, or have their packages taken from pip with --conda-from-pip
        -    uv            not installed
               → optional: it builds environments several times faster: `pip install --user uv` there
        -    docker        no engine was found
               → optional, for containers: `sudo apt install docker.io` there, or start the one it has
        -    sandbox       not known
               → optional: user namespaces and package bubblewrap give a full one; containers have their own
        ok   after logout  processes go on
        -    clock         not known
               → look at `date -u` there
        "#);
        let no_venv = MachineReport { python_venv: false, ..well() };
        assert!(told(&no_venv, None).contains("apt install python3-venv"));
        let silent =
            MachineReport { docker: None, docker_problem: Some("silent".to_owned()), ..well() };
        assert!(
            told(&silent, None).contains("silent\n       → look at the engine's own log there")
        );
    }

    #[test]
    fn an_old_ubuntu_is_told_of() {
        for (version, good) in [("18.04", false), ("20.04", true), ("24.04", true), ("", false)] {
            let report = MachineReport { os_version: Some(version.to_owned()), ..well() };
            assert_eq!(system(&report).state == State::Good, good, "{version}");
        }
    }
}
