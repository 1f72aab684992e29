//! `trainyard token`: what others show who ask the agent over TCP.

use jiff::Timestamp;
use runner::run_configuration::duration::parse_seconds;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome, reference};
use crate::api::wire::token::{TokenDocument, TokenMade, TokenRequest};
use crate::client::Start;
use crate::terminal::measure;
use crate::terminal::table::{self, Align};
use crate::token::{TokenScope, check_name};

/// Makes, lists and revokes tokens, with which the agent can be asked over TCP
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Create(Create),
    /// Lists your tokens
    #[command(after_help = "Example:\n  trainyard token list")]
    List {
        /// Lists those of all users, and whose they are; for who looks after the agent
        #[arg(long)]
        all_users: bool,
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revokes a token: whoever shows it is turned away from now on
    #[command(after_help = "Example:\n  trainyard token revoke laptop")]
    Revoke {
        /// A token's name or id
        #[arg(value_name = "NAME|ID", value_parser = named, add = reference::tokens())]
        token: String,
    },
}

/// Makes a token and prints it, this once
///
/// Whoever shows it acts as you do, within its scope. Tokens are made on the agent's own machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard token create laptop > ~/.config/trainyard/token
  trainyard token create prometheus --scope read --expires never")]
pub(super) struct Create {
    /// What to call it: letters, digits and -_.@
    #[arg(value_name = "NAME", value_parser = named)]
    name: String,
    /// What it is good for
    #[arg(long, value_enum, default_value_t = TokenScope::Write)]
    scope: TokenScope,
    /// For how long it is good, as in 12h or 30d, or never
    #[arg(long, value_name = "DURATION", value_parser = lifetime, default_value = "90d")]
    expires: Lifetime,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// How long a token is good for, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    Seconds(u64),
    Never,
}

fn named(typed: &str) -> Result<String, String> {
    check_name(typed).map(|()| typed.to_owned())
}

fn lifetime(typed: &str) -> Result<Lifetime, String> {
    if typed == "never" {
        return Ok(Lifetime::Never);
    }
    parse_seconds(typed).map(Lifetime::Seconds).map_err(|error| format!("{error}, nor never"))
}

/// Carries out one of the commands.
pub(super) fn token(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Create(args) => create(args, context),
        Command::List { all_users, json } => list(*all_users, *json, context),
        Command::Revoke { token } => revoke(token, context),
    }
}

fn create(args: &Create, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let request = TokenRequest {
        name: args.name.clone(),
        scope: args.scope,
        lifetime_seconds: match args.expires {
            Lifetime::Seconds(seconds) => Some(seconds),
            Lifetime::Never => None,
        },
    };
    let made: TokenMade = context
        .wait_for(async { Ok(client.post(&["tokens"], &request, "make a token").await?) })?;
    if args.json {
        let mut document = serde_json::to_value(&made).map_err(Failure::failed)?;
        document["schemaVersion"] = SCHEMA_VERSION.into();
        context.print_json(&document)?;
    } else {
        let TokenDocument { name, scope, expires_time_utc, .. } = &made.about;
        let until = match expires_time_utc {
            Some(at) => format!("until {}", measure::rfc3339(*at)),
            None => "until it is revoked".to_owned(),
        };
        let line = format!("{name} ({}), {until}; it is shown this once", scope.name());
        context.terminal.status("Token", line);
        context.print(format!("{}\n", made.token))?;
    }
    Ok(Exit::OK)
}

fn list(all_users: bool, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let query = all_users.then_some([("allUsers", true)]);
    let tokens: Vec<TokenDocument> =
        context.wait_for(async { Ok(client.get(&["tokens"], &query).await?) })?;
    if json {
        context.print_json(&tokens)?;
    } else if tokens.is_empty() && context.terminal.out_is_terminal() {
        context.terminal.help("`trainyard token create NAME` makes the first");
    } else {
        let now = context.terminal.out_is_terminal().then(Timestamp::now);
        let mut head = HEAD.to_vec();
        let mut rows: Vec<_> = tokens.iter().map(|token| row(token, now)).collect();
        if all_users {
            head.push(("user", Align::Left));
            rows.iter_mut().zip(&tokens).for_each(|(row, token)| row.push(user(token)));
        }
        context.print(table::render(&context.terminal, &head, &rows))?;
    }
    Ok(Exit::OK)
}

fn revoke(token: &str, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    context.wait_for(async { Ok(client.delete(&["tokens", token]).await?) })?;
    context.terminal.status("Revoked", token);
    Ok(Exit::OK)
}

const HEAD: &[(&str, Align)] = &[
    ("id", Align::Left),
    ("name", Align::Left),
    ("scope", Align::Left),
    ("created", Align::Left),
    ("expires", Align::Left),
    ("last used", Align::Left),
];

/// Returns a token's cells; for people, who have a `now`, with relative times.
fn row(token: &TokenDocument, now: Option<Timestamp>) -> Vec<String> {
    let past = |moment| match now {
        Some(now) => measure::ago(moment, now),
        None => measure::rfc3339(moment),
    };
    let expires = match (token.expires_time_utc, now) {
        (None, _) => "never".to_owned(),
        (Some(at), Some(now)) if at <= now => "EXPIRED".to_owned(),
        (Some(at), _) => measure::rfc3339(at),
    };
    vec![
        token.id.clone(),
        token.name.clone(),
        token.scope.name().to_owned(),
        past(token.created_time_utc),
        expires,
        token.last_used_time_utc.map_or_else(|| "never".to_owned(), past),
    ]
}

fn user(token: &TokenDocument) -> String {
    token.user.clone().unwrap_or_else(|| token.uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_duration_or_never() {
        assert_eq!(lifetime("30d"), Ok(Lifetime::Seconds(30 * 86_400)));
        assert_eq!(lifetime("never"), Ok(Lifetime::Never));
        assert_eq!(
            lifetime("soon").unwrap_err(),
            "\"soon\" is not a duration, such as 90s, 15m, 2h or 1d12h, nor never"
        );
    }

    #[test]
    fn a_token_is_a_row() {
        let token: TokenDocument = serde_json::from_value(serde_json::json!({
            "id": "0a1b2c3d", "name": "laptop", "uid": 1000, "user": null, "scope": "write",
            "createdTimeUtc": "2026-11-21T12:00:00Z", "expiresTimeUtc": "2026-11-22T12:00:00Z",
            "lastUsedTimeUtc": null
        }))
        .unwrap();
        let at = |text: &str| Some(text.parse().unwrap());
        let shown = [None, at("2026-11-21T13:00:00Z"), at("2026-11-23T12:00:00Z")]
            .map(|now| row(&token, now).join(" | "));

        insta::assert_snapshot!(shown.join("\n"), @r"
        0a1b2c3d | laptop | write | 2026-11-21T12:00:00Z | 2026-11-22T12:00:00Z | never
        0a1b2c3d | laptop | write | 1h ago | 2026-11-22T12:00:00Z | never
        0a1b2c3d | laptop | write | 2d ago | EXPIRED | never
        ");
        assert_eq!(user(&token), "1000");
    }
}
