//! `trainyard target`: where runs can be carried out.

mod address;
mod attach;
mod login;
mod machine;
mod private_key;

use std::fmt::Write;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;

use super::context::SCHEMA_VERSION;
use super::doctor::{self, Finding, State};
use super::{Context, Exit, Failure, Outcome, gc, reference};
use crate::api::wire::run::OutOfContact;
use crate::api::wire::target::{CheckRequest, CheckedTarget, CleanedMachine, Host, Jump, Target};
use crate::client::{Client, Start};
use crate::targets::LOCAL;
use crate::terminal::table::{self, Align};
use crate::terminal::{Plain, Progress, measure};

/// Attaches machines that runs can be carried out on, and looks after them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Attaches a machine
    #[command(subcommand)]
    Attach(Attach),
    /// Lists the compute targets
    #[command(visible_alias = "ls", after_help = "Example:\n  trainyard target list")]
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows a compute target; connects to nothing
    #[command(after_help = "Example:\n  trainyard target show gpu-vm")]
    Show {
        /// Its name
        #[arg(value_name = "NAME", default_value = LOCAL, add = reference::targets())]
        name: String,
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Connects to a target, says what it has, and what to do about what it lacks
    #[command(after_help = "Examples:
  trainyard target check gpu-vm
  trainyard target check gpu-vm --accept-host-key SHA256:…")]
    Check {
        /// Its name
        #[arg(value_name = "NAME", add = reference::targets())]
        name: String,
        /// Pins the host key with this fingerprint, if it is the one that the machine shows now
        #[arg(long, value_name = "SHA256:…")]
        accept_host_key: Option<String>,
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Forgets a target; leaves the machine as it is, unless told otherwise
    #[command(after_help = "Example:\n  trainyard target detach gpu-vm --purge")]
    Detach {
        /// Its name
        #[arg(value_name = "NAME", add = reference::targets())]
        name: String,
        /// First removes all of ours from the machine: ~/.trainyard there
        #[arg(long)]
        purge: bool,
        /// With --purge: does not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Attaches a machine.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Attach {
    Remote(Box<attach::Args>),
}

/// Carries out one of the commands.
pub(super) fn target(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Attach(Attach::Remote(args)) => attach::attach(args, context),
        Command::List { json } => list(*json, context),
        Command::Show { name, json } => show(name, *json, context),
        Command::Check { name, accept_host_key, json } => {
            check(name, accept_host_key.clone(), *json, context)
        }
        Command::Detach { name, purge, yes } => detach(name, *purge, *yes, context),
    }
}

/// Checks that there is a target called `name`: better before a snapshot is taken than after.
///
/// # Errors
///
/// There is none.
pub(super) fn check_known(context: &Context, client: &Client, name: &str) -> Result<(), Failure> {
    if name == LOCAL {
        return Ok(());
    }
    context.wait_for(async { Ok(client.get::<Target>(&["targets", name], &()).await?) }).map(drop)
}

fn list(json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    if json {
        // As the agent has them, so that what a newer agent adds is not lost.
        let targets: serde_json::Value =
            context.wait_for(async { Ok(client.get(&["targets"], &()).await?) })?;
        context.print_json(&targets)?;
        return Ok(Exit::OK);
    }
    let targets: Vec<Target> =
        context.wait_for(async { Ok(client.get(&["targets"], &()).await?) })?;
    if context.terminal.is_quiet() {
        let names = targets.iter().map(|target| format!("{}\n", target.name));
        context.print(names.collect::<String>())?;
        return Ok(Exit::OK);
    }
    let now = context.terminal.out_is_terminal().then(Timestamp::now);
    let rows: Vec<_> = targets.iter().map(|target| row(target, now)).collect();
    context.print(table::render(&context.terminal, HEAD, &rows))?;
    Ok(Exit::OK)
}

const HEAD: &[(&str, Align)] = &[
    ("name", Align::Left),
    ("type", Align::Left),
    ("address", Align::Left),
    ("runs", Align::Right),
    ("contact", Align::Left),
];

fn row(target: &Target, now: Option<Timestamp>) -> Vec<String> {
    let address = match &target.remote {
        Some(remote) => said(&remote.host),
        None => "this machine".to_owned(),
    };
    let runs = format!("{} of {}", target.running, target.places);
    let contact = match &target.out_of_contact {
        Some(contact) => away(contact, now),
        None => String::new(),
    };
    vec![target.name.clone(), target.r#type.clone(), address, runs, contact]
}

/// Says since when a target cannot be reached; relative if `now` is given.
pub(super) fn away(contact: &OutOfContact, now: Option<Timestamp>) -> String {
    match now {
        Some(now) => {
            let length = measure::duration(measure::between(contact.since, now));
            format!("out of contact for {length}")
        }
        None => format!("out of contact since {}", measure::rfc3339(contact.since)),
    }
}

/// Returns a server as one types it.
fn said(host: &Host) -> String {
    typed(&host.user, &host.address, host.port)
}

fn through(jump: &Jump) -> String {
    typed(&jump.user, &jump.address, jump.port)
}

fn typed(user: &str, address: &str, port: u16) -> String {
    match port {
        22 => format!("{user}@{address}"),
        port => format!("{user}@{address}:{port}"),
    }
}

fn show(name: &str, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    if json {
        let target: serde_json::Value =
            context.wait_for(async { Ok(client.get(&["targets", name], &()).await?) })?;
        context.print_json(&target)?;
        return Ok(Exit::OK);
    }
    let target = context.wait_for(async { Ok(client.get(&["targets", name], &()).await?) })?;
    let now = context.terminal.out_is_terminal().then(Timestamp::now);
    let mut text = String::new();
    for (label, value) in facts(&target, now) {
        let label = context.terminal.paint(Style::new().bold(), &format!("{label:<10}"));
        writeln!(text, "{label} {}", Plain(&value)).expect("a string takes every text");
    }
    context.print(text)?;
    Ok(Exit::OK)
}

fn facts(target: &Target, now: Option<Timestamp>) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Name", target.name.clone()),
        ("Type", target.r#type.clone()),
        ("Runs", {
            let (on, waiting) = (target.running, target.queued);
            format!("{on} of {} at once, {waiting} waiting", target.places)
        }),
    ];
    if let Some(contact) = &target.out_of_contact {
        facts.push(("Contact", format!("{}: {}", away(contact, now), contact.why)));
        facts.extend(contact.hint.clone().map(|hint| ("", hint)));
    }
    let Some(remote) = &target.remote else { return facts };
    facts.push(("Address", said(&remote.host)));
    for jump in &remote.jumps {
        facts.push(("Through", through(jump)));
        facts.push(("", format!("{} {}", jump.host_key_algorithm, jump.host_key_fingerprint)));
    }
    let key = format!("{} {}", remote.host_key_algorithm, remote.host_key_fingerprint);
    facts.push(("Host key", key));
    facts.push(("Login", remote.credentials.join(", ")));
    let attached = match now {
        Some(now) => measure::ago(remote.attached_time_utc, now),
        None => measure::rfc3339(remote.attached_time_utc),
    };
    facts.push(("Attached", attached));
    if let Some(CleanedMachine { time_utc, report }) = &remote.cleaned {
        let at = match now {
            Some(now) => measure::ago(*time_utc, now),
            None => measure::rfc3339(*time_utc),
        };
        let line = gc::line_elsewhere(&report.cleaned);
        facts.push(("Cleaned", format!("{at}: {line}")));
    }
    facts
}

fn check(name: &str, accept: Option<String>, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let request = CheckRequest { accept_host_key: accept };
    let segments = ["targets", name, "check"];
    let checking = client.post::<CheckedTarget>(&segments, &request, "check the target");
    let checked = waiting(context, "Connecting", name, async { Ok(checking.await?) })?;
    if request.accept_host_key.is_some() {
        say_keys(context, &checked.target, "Pinned");
    }
    tell(context, &checked, json)
}

/// Says which host key a machine has, and those on the way to it.
fn say_keys(context: &Context, target: &Target, verb: &str) {
    let Some(remote) = &target.remote else { return };
    let say = |algorithm: &str, key: &str, host: &str| {
        context.terminal.status(verb, format!("host key {algorithm} {key} of {host}"));
    };
    for jump in &remote.jumps {
        say(&jump.host_key_algorithm, &jump.host_key_fingerprint, &through(jump));
    }
    say(&remote.host_key_algorithm, &remote.host_key_fingerprint, &said(&remote.host));
}

/// Prints what a machine is and has.
fn tell(context: &Context, checked: &CheckedTarget, json: bool) -> Outcome {
    let name = &checked.target.name;
    let findings = machine::findings(&checked.report, checked.clock_ahead_seconds, name);
    let is_fit = findings.iter().all(|finding| finding.state != State::Bad);
    if json {
        let mut document = serde_json::to_value(checked).map_err(Failure::failed)?;
        document["schemaVersion"] = SCHEMA_VERSION.into();
        document["fit"] = is_fit.into();
        document["checks"] = findings.iter().map(Finding::document).collect();
        context.print_json(&document)?;
    } else {
        doctor::print(context, &findings)?;
    }
    Ok(if is_fit { Exit::OK } else { Exit::FAILED })
}

fn detach(name: &str, purge: bool, yes: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    check_known(context, &client, name)?;
    if purge && !yes {
        let asked = format!("Remove all of trainyard from {name}, its cached environments too?");
        confirm(&asked)?;
    }
    let detaching = client.detach(name, purge);
    let verb = if purge { "Removing" } else { "Detaching" };
    let detached = waiting(context, verb, name, async { Ok(detaching.await?) })?;
    if let Some(purged) = detached.purged {
        let (home, size) = (purged.home.display(), measure::size(purged.bytes));
        let rest = if purged.whole { "" } else { "; runs of other agents are there, and stay" };
        context.terminal.status("Removed", format!("{home} of {name}, {size}{rest}"));
    }
    context.terminal.status("Detached", name);
    Ok(Exit::OK)
}

/// Asks a person; without one, refuses.
fn confirm(question: &str) -> Result<(), Failure> {
    use std::io::IsTerminal;
    let refused = || Failure::usage("nothing was removed").hint("--yes answers the question");
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    if answer.map_err(Failure::failed)? { Ok(()) } else { Err(refused()) }
}

/// Waits for the agent, with something that moves where a person watches.
pub(super) fn waiting<T>(
    context: &Context,
    verb: &'static str,
    what: &str,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let progress = Progress::new(&context.terminal, verb);
    context.wait_for(async {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    progress.set(|| what.to_owned());
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> serde_json::Value {
        serde_json::json!({
            "schemaVersion": 1, "name": "gpu-vm", "type": "remote",
            "places": 16, "queued": 3, "running": 2,
            "outOfContact": {
                "target": "gpu-vm", "since": "2026-11-21T11:00:00Z",
                "why": "cannot reach vm.example port 22: timed out", "hint": "is it switched on?",
            },
            "remote": {
                "host": {"address": "vm.example", "port": 2222, "user": "azureuser"},
                "jumps": [{
                    "address": "gate.example", "port": 22, "user": "me",
                    "hostKeyFingerprint": "SHA256:def", "hostKeyAlgorithm": "ssh-rsa",
                }],
                "hostKeyFingerprint": "SHA256:abc", "hostKeyAlgorithm": "ssh-ed25519",
                "credentials": ["key", "agent"], "allowUnsupported": false,
                "attachedTimeUtc": "2026-11-20T12:00:00Z",
                "cleaned": {
                    "timeUtc": "2026-11-21T09:00:00Z", "runs": 2, "runBytes": 1_000_000,
                    "objects": 1, "objectBytes": 200_000, "environments": 0, "environmentBytes": 0,
                },
            },
        })
    }

    #[test]
    fn a_target_is_shown_and_listed() {
        let target: Target = serde_json::from_value(document()).unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let page: Vec<_> = facts(&target, Some(now))
            .into_iter()
            .map(|(label, value)| format!("{label:<10} {value}"))
            .chain([row(&target, None).join(" | ")])
            .collect();

        insta::assert_snapshot!(page.join("\n"), @r#"
        Name       gpu-vm
        Type       remote
        Runs       2 of 16 at once, 3 waiting
        Contact    out of contact for 1h 00m: cannot reach vm.example port 22: timed out
                   is it switched on?
        Address    azureuser@vm.example:2222
        Through    me@gate.example
                   ssh-rsa SHA256:def
        Host key   ssh-ed25519 SHA256:abc
        Login      key, agent
        Attached   1d ago
        Cleaned    3h ago: 1.2 MB: 2 runs, 1 object
        gpu-vm | remote | azureuser@vm.example:2222 | 2 of 16 | out of contact since 2026-11-21T11:00:00Z
        "#);
    }

    #[test]
    fn this_machine_has_no_address() {
        let mut document = document();
        document["name"] = LOCAL.into();
        document["type"] = LOCAL.into();
        document["remote"] = serde_json::Value::Null;
        document["outOfContact"] = serde_json::Value::Null;
        let target: Target = serde_json::from_value(document).unwrap();
        assert_eq!(row(&target, None).join(" | "), "local | local | this machine | 2 of 16 | ");
        assert_eq!(facts(&target, None).len(), 3);
    }
}
