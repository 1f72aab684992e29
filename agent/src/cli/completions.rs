//! `trainyard completions`: for bash, zsh and fish.

use std::io::Write;

use clap_complete::env::{CompleteEnv, Shells};

use super::{Exit, Failure, Outcome};

/// Prints a script that completes commands, options and runs in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bash:  echo 'source <(trainyard completions bash)' >> ~/.bashrc
  zsh:   echo 'source <(trainyard completions zsh)' >> ~/.zshrc
  fish:  trainyard completions fish > ~/.config/fish/completions/trainyard.fish")]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The variable by which the shell's script says that it wants completions.
const VARIABLE: &str = "TRAINYARD_COMPLETE";

/// Answers a shell that asks what may come next, and ends; does nothing otherwise.
pub(super) fn answer_shell(command: fn() -> clap::Command) {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(command).var(VARIABLE).bin("trainyard").complete();
    }
}

/// Prints a completion script.
pub(super) fn completions(args: &Args) -> Outcome {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or_else(|| Failure::failed("no such shell"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "trainyard", "trainyard", "trainyard", &mut script)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::OK)
}
