//! What is known of a run's sandbox, for people and for programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::Style;
use runner::run_configuration::{Network, size};
use runner::sandbox::plan::{Missing, Plan, SandboxRecord, Seen};
use runner::sandbox::policy::SandboxPolicy;
use runner::sandbox::system_calls;
use serde::Serialize;

use super::explained::{Explained, Keeper};
use crate::cli::Context;
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::ending::write_section;
use crate::terminal::Plain;

/// A path that a run sees.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sight {
    path: PathBuf,
    /// `read`, `change`, `device`, `devices`, `processes`, `memory`, `empty` or `link`.
    access: &'static str,
    /// Where it is on the machine, or leads to, where that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<PathBuf>,
    /// How much a directory in memory may hold; half of the machine's memory where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// Returns one JSON document.
pub(super) fn document(explained: &Explained) -> serde_json::Value {
    let limits: serde_json::Map<_, _> = explained
        .limits
        .iter()
        .map(|(name, value)| ((*name).into(), value.as_str().into()))
        .collect();
    let mut document = serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "runId": explained.run_id,
        "target": explained.target,
        "limits": limits,
        "notes": explained.notes,
    });
    let more = match &explained.keeper {
        Keeper::Nobody => serde_json::json!({ "sandbox": "off" }),
        Keeper::Engine(bounds) => {
            let bounds: Vec<_> =
                bounds.iter().map(|(of, to)| serde_json::json!({ "of": of, "to": to })).collect();
            serde_json::json!({ "sandbox": "container", "bounds": bounds })
        }
        Keeper::Sandbox(sandboxed) => {
            let (policy, plan, record) = (&sandboxed.policy, sandboxed.plan(), sandboxed.record());
            let calls: Vec<_> = calls(plan)
                .into_iter()
                .map(|(reason, calls)| serde_json::json!({ "reason": reason, "calls": calls }))
                .collect();
            serde_json::json!({
                "sandbox": policy.mode,
                "minimum": policy.least(),
                "network": policy.network,
                "tier": record.map(|record| record.tier),
                "engine": record.map(|record| &record.engine),
                "missing": record.map(|record| &record.missing),
                "denials": record.map(|record| &record.denials),
                "sees": sights(policy, plan),
                "refusedSystemCalls": calls,
                "willNotStart": sandboxed.refused().map(ToString::to_string),
            })
        }
    };
    if let (Some(document), serde_json::Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}

/// Returns a page.
pub(super) fn text(explained: &Explained, context: &Context) -> String {
    let mut text = String::new();
    let mut facts = vec![("Run", explained.run_id.clone().unwrap_or_default())];
    facts.push(("Target", explained.target.clone()));
    let limits: Vec<_> =
        explained.limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut sections = Vec::new();
    match &explained.keeper {
        Keeper::Nobody => {
            let words = "off: a process like any other, which may see, change and reach all that \
                         its user may";
            facts.push(("Sandbox", words.to_owned()));
        }
        Keeper::Engine(bounds) => {
            facts.push(("Sandbox", "none: its container's engine keeps it to this".to_owned()));
            let line = |(of, to): &(&str, String)| format!("{of:<12} {to}");
            sections.push(("Kept to", bounds.iter().map(line).collect()));
        }
        Keeper::Sandbox(sandboxed) => {
            let (policy, plan, record) = (&sandboxed.policy, sandboxed.plan(), sandboxed.record());
            facts.push(("Sandbox", sandbox(policy, record)));
            facts.push(("Network", network(policy.network, record).to_owned()));
            if let Some(refused) = sandboxed.refused() {
                facts.push(("Not started", refused.to_string()));
            }
            sections.push(("Sees", sights(policy, plan).iter().map(sight).collect()));
            let line = |(why, calls): (&str, Vec<String>)| format!("{}: {why}", calls.join(", "));
            sections.push(("May not call", calls(plan).into_iter().map(line).collect()));
            let missing = record.map(|record| record.missing.as_slice()).unwrap_or_default();
            sections.push(("Missing here", missing.iter().map(lacks).collect()));
            let denials = record.map(|record| record.denials.as_slice()).unwrap_or_default();
            let denials = denials.iter().map(ToString::to_string).collect();
            sections.push(("Kept from it", denials));
        }
    }
    facts.push(("Limits", limits.join(", ")));
    for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        let name = context.terminal.paint(Style::new().bold(), &format!("{name:<12}"));
        writeln!(text, "{name} {}", Plain(&value)).expect("a string takes every text");
    }
    sections.push(("Notes", explained.notes.clone()));
    for (title, lines) in sections {
        write_section(&mut text, context, title, &lines);
    }
    text
}

/// Says how much of a sandbox there is, and how much there must be.
fn sandbox(policy: &SandboxPolicy, record: Option<&SandboxRecord>) -> String {
    let had = record.map(|record| format!(", {} by {}", record.tier, record.engine));
    let least = policy.least();
    format!("{}{}; at least {least}, or it does not start", policy.mode, had.unwrap_or_default())
}

fn network(asked: Network, record: Option<&SandboxRecord>) -> &'static str {
    let is_machines =
        record.is_some_and(|record| record.missing.iter().any(|one| one.layer == "network"));
    match asked {
        Network::Full if is_machines => "full: the machine's own",
        Network::Full => {
            "full: one of its own; of the machine neither the loopback nor abstract sockets, nor \
             the addresses at which clouds give credentials"
        }
        Network::Loopback => "loopback: one of its own, and nothing else",
        Network::None => "none: nothing but a loopback of its own",
    }
}

/// Returns what may not be called, by the reason.
fn calls(plan: Option<&Plan>) -> Vec<(&'static str, Vec<String>)> {
    if plan.is_some_and(|plan| plan.filter) { system_calls::by_reason() } else { Vec::new() }
}

fn lacks(missing: &Missing) -> String {
    format!("{}: {}\n→ {}", missing.layer, missing.why, missing.advice)
}

/// Lists what is seen; without a plan what was asked for.
fn sights(policy: &SandboxPolicy, plan: Option<&Plan>) -> Vec<Sight> {
    let plain =
        |path: &Path, access| Sight { path: path.to_owned(), access, source: None, bytes: None };
    let of = |path: &Path, access, source: &Path| {
        let source = (source != path).then(|| source.to_owned());
        Sight { source, ..plain(path, access) }
    };
    let Some(plan) = plan else {
        let mounts = policy.mounts.iter();
        return mounts
            .map(|it| of(&it.at, if it.writable { "change" } else { "read" }, &it.source))
            .collect();
    };
    if let Some(rooms) = &plan.rooms {
        let sight = |at: &Path, what: &Seen| match what {
            Seen::Shown(source) => of(at, "read", source),
            Seen::Given(source) => of(at, "change", source),
            Seen::Device => plain(at, "device"),
            Seen::Link(to) => of(at, "link", to),
            Seen::Empty => plain(at, "empty"),
            Seen::Memory(bytes) => Sight { bytes: *bytes, ..plain(at, "memory") },
            Seen::Processes => plain(at, "processes"),
            Seen::Devices => plain(at, "devices"),
        };
        return rooms.views.iter().map(|view| sight(&view.at, &view.what)).collect();
    }
    let Some(fence) = &plan.fence else { return Vec::new() };
    let kinds = [(&fence.write, "change"), (&fence.devices, "device"), (&fence.read, "read")];
    let each =
        kinds.into_iter().flat_map(|(paths, access)| paths.iter().map(move |it| (it, access)));
    let mut sights: Vec<_> = each.map(|(path, access)| plain(path, access)).collect();
    // What may be changed is first, and may be read.
    sights.sort_by(|a, b| a.path.cmp(&b.path));
    sights.dedup_by(|later, first| later.path == first.path);
    sights
}

fn sight(sight: &Sight) -> String {
    let Sight { path, access, source, bytes } = sight;
    let more = match (*access, source) {
        ("link", Some(to)) => format!(" to {}", to.display()),
        (_, Some(source)) => format!(", which is {}", source.display()),
        ("memory", None) => match bytes {
            Some(bytes) => format!(", at most {}", size::print_bytes(*bytes)),
            None => ", at most half of the machine's memory".to_owned(),
        },
        ("devices", None) => ", those that do no harm".to_owned(),
        ("processes", None) => ", its own".to_owned(),
        _ => String::new(),
    };
    format!("{access:<10} {}{more}", path.display())
}
