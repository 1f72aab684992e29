//! `trainyard doctor`: what works on this machine, and what to install.

mod checks;
mod engine;
mod limits;
mod listening;
mod sandbox;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome};
use crate::api::wire::target::Target;
use crate::client::Start;
use crate::terminal::Plain;

/// Checks what works on this machine and says what to install
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard doctor")]
pub(super) struct Args {
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Checks the machine.
pub(super) fn doctor(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let min_free = context.settings.disk_policy().min_free;
    let mut findings = checks::machine(&workspace, min_free);
    findings.push(limits::look(context));
    findings.push(sandbox::look());
    findings.extend(engine::look());
    findings.extend(agent(context));
    findings.extend(targets(context));
    let is_fit = findings.iter().all(|finding| finding.state != State::Bad);
    if args.json {
        let documents: Vec<_> = findings.iter().map(Finding::document).collect();
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION, "fit": is_fit, "checks": documents,
        }))?;
    } else {
        print(context, &findings)?;
    }
    Ok(if is_fit { Exit::OK } else { Exit::FAILED })
}

/// Prints what was found, each with what to do.
pub(super) fn print(context: &Context, findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        let mark = context.terminal.paint(finding.state.style(), finding.state.mark());
        let about = Plain(&finding.found);
        context.print(format!("{mark:<4} {:<16} {about}\n", finding.name))?;
        if let Some(advice) = &finding.advice {
            context.print(format!("{:<22}→ {}\n", "", Plain(advice)))?;
        }
    }
    Ok(())
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It does.
    Good,
    /// It does not, and runs do without.
    Missing,
    /// It does not, and nothing runs until it does.
    Bad,
}

impl State {
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Missing => "-",
            Self::Bad => "BAD",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Missing => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// What one check found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) found: String,
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Good, found: found.into(), advice: None }
    }

    pub(super) fn missing(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (found, advice) = (found.into(), Some(advice.into()));
        Self { name, state: State::Missing, found, advice }
    }

    pub(super) fn bad(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { state: State::Bad, ..Self::missing(name, found, advice) }
    }

    pub(super) fn document(&self) -> serde_json::Value {
        let state = match self.state {
            State::Good => "ok",
            State::Missing => "missing",
            State::Bad => "bad",
        };
        serde_json::json!({
            "name": self.name, "state": state, "found": self.found, "advice": self.advice,
        })
    }
}

/// Says which agent answers, and how it is reached over TCP.
fn agent(context: &Context) -> Vec<Finding> {
    const NAME: &str = "agent";
    let server = context.workspace().ok().and_then(|workspace| workspace.server().cloned());
    let status = match (context.agent(Start::Never), &server) {
        (Ok((_, status)), _) => status,
        (Err(failure), Some(server)) => {
            let found = failure.message().unwrap_or_else(|| format!("{} is silent", server.name()));
            let advice = failure.next_step().unwrap_or("see whether that machine is up");
            return vec![Finding::bad(NAME, found, advice)];
        }
        (Err(_), None) => {
            let found = "none answers; the next command that needs one starts it";
            return vec![Finding::good(NAME, found)];
        }
    };
    let version = &status.version;
    let place = match &server {
        Some(server) => format!("at {}", server.name()),
        None => format!("(pid {})", status.pid),
    };
    let answers = if version == env!("CARGO_PKG_VERSION") {
        Finding::good(NAME, format!("version {version} answers {place}"))
    } else {
        let found =
            format!("version {version} answers {place}, this is {}", env!("CARGO_PKG_VERSION"));
        Finding::missing(
            NAME,
            found,
            "`trainyard agent stop` ends it; its runs go on, and the next command starts this version",
        )
    };
    let listens = status.listening.as_ref().map(|it| listening::look(it, Timestamp::now()));
    std::iter::once(answers).chain(listens).collect()
}

/// Says which machines are attached, and which of them cannot be reached. Connects to none.
fn targets(context: &Context) -> Vec<Finding> {
    const NAME: &str = "target";
    // Without an agent nobody knows, and that is said already.
    let Ok((client, _)) = context.agent(Start::Never) else { return Vec::new() };
    let found = context.wait_for(async { Ok(client.get::<Vec<Target>>(&["targets"], &()).await?) });
    let remote = found.unwrap_or_default().into_iter().filter(|target| target.remote.is_some());
    remote
        .map(|target| match &target.out_of_contact {
            Some(contact) => {
                let away = super::target::away(contact, None);
                let hint = format!("`trainyard target check {}` tries again", target.name);
                let advice = contact.hint.clone().unwrap_or(hint);
                let found = format!("{} {away}: {}", target.name, contact.why);
                Finding::missing(NAME, found, advice)
            }
            None => {
                let check = format!("`trainyard target check {}` looks at it", target.name);
                Finding::good(NAME, format!("{} is attached; {check}", target.name))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_good_comes_with_advice() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = crate::workspace::Workspace::at(dir.path().join("state"));

        let findings = checks::machine(&workspace, 0);

        assert!(findings.len() >= 7, "{findings:?}");
        for finding in &findings {
            assert_eq!(finding.state == State::Good, finding.advice.is_none(), "{finding:?}");
        }
    }
}
