//! `trainyard rerun`: the same snapshot in the same environment, once more.

use std::io::{Read, stdin};

use images::environment::Environment;

use super::context::SCHEMA_VERSION;
use super::following::follow_to_exit;
use super::run::configuration::check_display_name;
use super::run::environment::moved;
use super::run::sending::warn_if_draining;
use super::{Context, Exit, Failure, Outcome, reference, target, variables};
use crate::api::wire::submission::{Hidden, Submitted, Variables};
use crate::client::{Client, Start};

/// Runs a run again: same snapshot, same environment, same arguments
///
/// Secrets were not kept and have to be given again. The same goes for the password for a registry,
/// where the image has to be pulled again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard rerun @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    run: String,
    /// Name of the new run, shown to people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Sets a secret variable from FILE, or from your own value
    #[arg(long = "secret", value_name = "K[=FILE]")]
    secrets: Vec<String>,
    /// Reads the password for the registry of its image from standard input; it was not kept
    #[arg(long)]
    registry_password_stdin: bool,
    /// Compute target [default: that of the run]
    #[arg(long, value_name = "NAME", add = reference::targets())]
    target: Option<String>,
    /// Resolves the environment again, and pulls its image again, whatever was built before
    #[arg(long)]
    fresh: bool,
    /// Returns as soon as the run is accepted, and prints its id
    #[arg(short, long)]
    detach: bool,
    /// Shows the script's output as it is, control sequences included
    #[arg(long)]
    raw: bool,
    /// With --detach: prints one JSON document
    #[arg(long, requires = "detach")]
    json: bool,
}

/// Runs a run again.
pub(super) fn rerun(args: &Args, context: &Context) -> Outcome {
    let secrets = variables::secrets(&args.secrets, &variables::of_this_process)?;
    if let Some(name) = &args.name {
        check_display_name(name)?;
    }
    let (client, agent) = context.agent(Start::IfNone)?;
    let original = context.wait_for(async { Ok(client.run(&args.run).await?) })?;
    let mut request = original.request;
    if let Some(name) = request.secrets.0.keys().find(|name| !secrets.contains_key(*name)) {
        return Err(Failure::usage(format!("the secret {name} was not kept"))
            .hint(format!("give it again: --secret {name}")));
    }
    request.secrets = Variables(secrets);
    if args.registry_password_stdin {
        request.registry_password = Some(registry_password(&request.environment, &mut stdin())?);
    }
    if let Some(target) = &args.target
        && *target != request.target
    {
        target::check_known(context, &client, target)?;
        let notes = moved(&mut request, (target, context.is_here()?), &context.settings)?;
        notes.iter().for_each(|note| context.terminal.warning(note));
    }
    request.display_name.clone_from(&args.name);
    request.fresh_environment = args.fresh;
    request.rerun_of = Some(original.summary.run_id);
    let submitted = context.wait_for(async { Ok(client.submit(&request, None).await?) })?;
    warn_if_draining(context, &agent);
    let Submitted { run_id, display_name, .. } = &submitted;
    if args.detach {
        return say_submitted(context, &client, &submitted, args.json);
    }
    context
        .terminal
        .status("Rerun", format!("of {} as {display_name}", original.summary.display_name));
    follow_to_exit(context, &client, run_id, display_name, args.raw)
}

/// Reads the password for the registry that `environment` comes from: the text without its last
/// newline, as `docker login --password-stdin` does.
fn registry_password(environment: &Environment, from: &mut dyn Read) -> Result<Hidden, Failure> {
    let registry = match environment {
        Environment::Docker { docker } => docker.registry.as_ref(),
        _ => None,
    };
    let Some(registry) = registry else {
        return Err(Failure::usage("the run's environment names no user of a registry")
            .hint("leave --registry-password-stdin out; `docker login` serves such images"));
    };
    let password = variables::secret_line(from)?.ok_or_else(|| {
        Failure::usage("there is no password on standard input").hint(format!(
            "send that of {} at {}, as in `trainyard rerun RUN --registry-password-stdin < FILE`",
            registry.username, registry.address
        ))
    })?;
    Ok(Hidden(password))
}

/// Says that a run was accepted: its id on standard output, how to return on standard error.
pub(super) fn say_submitted(
    context: &Context,
    client: &Client,
    submitted: &Submitted,
    json: bool,
) -> Outcome {
    let Submitted { run_id, display_name, existing } = submitted;
    if json {
        context.print_json(&submitted_document(submitted))?;
    } else {
        let typed = reference::to_type(context, client, run_id, display_name);
        let line = format!("{display_name} · trainyard logs -f {typed}");
        context.terminal.status(if *existing { "Found" } else { "Submitted" }, line);
        context.print(format!("{run_id}\n"))?;
    }
    Ok(Exit::OK)
}

/// Returns what `run -d --json` prints.
pub(super) fn submitted_document(submitted: &Submitted) -> serde_json::Value {
    let Submitted { run_id, display_name, existing } = submitted;
    serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "runId": run_id,
        "displayName": display_name,
        "existing": existing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_asked_for_where_the_image_has_a_registry_with_a_user() {
        let read = |registry: serde_json::Value, mut text: &[u8]| {
            let environment = serde_json::from_value(serde_json::json!({
                "kind": "docker",
                "docker": {"base": {"from": "image", "reference": "x"}, "registry": registry},
            }));
            match registry_password(&environment.unwrap(), &mut text) {
                Ok(Hidden(password)) => format!("{password:?}"),
                Err(failure) => format!("{:?} {:?}", failure.message(), failure.next_step()),
            }
        };
        let user = || serde_json::json!({"address": "r:1", "username": "ana"});

        insta::assert_snapshot!([
            read(user(), b"two words \r\n"),
            read(user(), b"no end of line"),
            read(user(), b"\n"),
            read(serde_json::Value::Null, b"secret\n"),
        ].join("\n"), @r#"
        "two words "
        "no end of line"
        Some("there is no password on standard input") Some("send that of ana at r:1, as in `trainyard rerun RUN --registry-password-stdin < FILE`")
        Some("the run's environment names no user of a registry") Some("leave --registry-password-stdin out; `docker login` serves such images")
        "#);
    }

    #[test]
    fn the_json_of_a_submission() {
        let submitted =
            Submitted { run_id: "x_1_2".to_owned(), display_name: "y".to_owned(), existing: false };
        let document = submitted_document(&submitted).to_string();
        insta::assert_snapshot!(document, @r#"{"schemaVersion":1,"runId":"x_1_2","displayName":"y","existing":false}"#);
    }
}
