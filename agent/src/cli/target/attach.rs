//! `trainyard target attach remote`: a machine that is reached over SSH.

use std::path::PathBuf;

use runner::ssh::config;

use super::address::{self, Typed};
use super::login::{self, Ask, Asking};
use super::{said, say_keys, tell, waiting};
use crate::api::wire::target::{AttachRequest, CheckedTarget};
use crate::cli::{Context, Failure, Outcome};
use crate::client::Start;

/// Attaches an Ubuntu machine that is reached over SSH
///
/// Connects, shows the host key and pins it, puts this program into ~/.trainyard there and says
/// what the machine has. Nothing needs root there, and nothing needs to be installed first.
/// Attaching again under the same name replaces how it is logged in to. Passwords and passphrases
/// are read from standard input or asked for, never taken from the command line; they are kept in
/// a file that only this user can read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard target attach remote -n gpu-vm -a vm.example.com -u azureuser
  trainyard target attach remote -n gpu-vm -a ssh://azureuser@10.0.0.4:2222 --private-key-file ~/.ssh/vm
  trainyard target attach remote -n gpu-vm -a alias-of-ssh-config --strict
  trainyard target attach remote -n gpu-vm -a 10.0.0.4 -u me --password-stdin < password.txt")]
pub(in crate::cli) struct Args {
    /// What runs will call it: 3 to 24 letters, digits and -, as gpu-vm
    #[arg(short, long, value_name = "NAME")]
    name: String,
    /// Its address, an alias of ~/.ssh/config, or ssh://user@host:port
    #[arg(short, long, value_name = "HOST", value_hint = clap::ValueHint::Hostname)]
    address: String,
    /// Who logs in [default: what ~/.ssh/config says, else your name here]
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Port of its SSH server [default: what ~/.ssh/config says, else 22]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: Option<u16>,
    #[command(flatten)]
    login: login::Login,
    /// Takes only the host key that a known_hosts file has
    #[arg(long, help_heading = "Host")]
    strict: bool,
    /// That file [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE", requires = "strict", help_heading = "Host",
        value_hint = clap::ValueHint::FilePath)]
    known_hosts: Option<PathBuf>,
    /// Takes a machine that is not Ubuntu 20.04 or later
    #[arg(long, help_heading = "Host")]
    allow_unsupported: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Attaches a machine.
pub(super) fn attach(args: &Args, context: &Context) -> Outcome {
    let request = request(args)?;
    let (client, _) = context.agent(Start::IfNone)?;
    let segments = ["targets"];
    let attaching = client.post::<CheckedTarget>(&segments, &request, "attach the machine");
    let address = said(&request.host);
    let checked = waiting(context, "Connecting", &address, async { Ok(attaching.await?) })?;
    say_keys(context, &checked.target, if args.strict { "Known" } else { "Pinned" });
    context.terminal.status("Attached", format!("{} ({address})", args.name));
    let exit = tell(context, &checked, args.json)?;
    context.terminal.help(format!("`trainyard run --target {} train.py` runs there", args.name));
    Ok(exit)
}

/// Makes of what was typed, and of the configuration of SSH, what the agent is asked.
fn request(args: &Args) -> Result<AttachRequest, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let typed = typed(args)?;
    let ssh = home.as_ref().map(|home| home.join(".ssh"));
    let look_up = |host: &str| match &ssh {
        Some(ssh) => config::look_up(&ssh.join("config"), host).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).maybe_hint(hint)
        }),
        None => Ok(config::HostConfig::default()),
    };
    let me = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let me = me.map_or_else(|| "root".to_owned(), |user| user.name);
    let way = address::complete(&typed, &me, &look_up)?;
    let person: Ask<'_> = &login::ask;
    let mut asking = Asking {
        stdin: &mut std::io::stdin(),
        person: login::is_person().then_some(person),
        home,
        has_agent: std::env::var_os("SSH_AUTH_SOCK").is_some_and(|socket| !socket.is_empty()),
    };
    let known_hosts = args.known_hosts.clone().or_else(|| ssh.map(|ssh| ssh.join("known_hosts")));
    let known_hosts = known_hosts.filter(|_| args.strict).map(std::path::absolute).transpose();
    Ok(AttachRequest {
        name: args.name.clone(),
        host: way.host,
        jumps: way.jumps,
        credentials: args.login.credentials(&way.identity_files, &mut asking)?,
        credential_from_systemd: args.login.credential_from_systemd,
        known_hosts: known_hosts.map_err(Failure::usage)?,
        allow_unsupported: args.allow_unsupported,
    })
}

/// Puts the address and the options beside it together.
fn typed(args: &Args) -> Result<Typed, Failure> {
    let mut typed = address::parse(&args.address)?;
    let twice = |option: &str| {
        Failure::usage(format!("{} and {option} say different things", args.address))
            .hint("leave one of them out")
    };
    if let Some(user) = &args.username {
        if typed.user.as_ref().is_some_and(|other| other != user) {
            return Err(twice("-u"));
        }
        typed.user = Some(user.clone());
    }
    if let Some(port) = args.ssh_port {
        if typed.port.is_some_and(|other| other != port) {
            return Err(twice("--ssh-port"));
        }
        typed.port = Some(port);
    }
    Ok(typed)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn options_complete_an_address_and_do_not_contradict_it() {
        let typed = |words: &[&str]| {
            let line = Line::try_parse_from([&["x", "-n", "vm1"], words].concat()).unwrap();
            match typed(&line.args) {
                Ok(Typed { host, port, user }) => format!("{host} {port:?} {user:?}"),
                Err(failure) => failure.message().unwrap(),
            }
        };
        assert_eq!(
            typed(&["-a", "vm", "-u", "me", "--ssh-port", "24"]),
            r#"vm Some(24) Some("me")"#
        );
        assert_eq!(typed(&["-a", "me@vm:24", "-u", "me"]), r#"vm Some(24) Some("me")"#);
        assert_eq!(typed(&["-a", "me@vm", "-u", "you"]), "me@vm and -u say different things");
        assert_eq!(
            typed(&["-a", "vm:22", "--ssh-port", "24"]),
            "vm:22 and --ssh-port say different things"
        );
    }
}
