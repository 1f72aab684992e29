//! What every command gets: streams, settings, paths and, if it asks, a runtime.

use std::cell::{Cell, OnceCell};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use tokio::runtime::Runtime;

use super::Failure;
use crate::api::wire::agent::AgentStatus;
use crate::client::{Client, Start};
use crate::config::{Files, Key, Settings};
use crate::terminal::{ColorWhen, Terminal};
use crate::workspace::{Workspace, server};

/// The process a command runs in.
pub(crate) struct Context {
    /// The streams.
    pub terminal: Terminal,
    /// The settings, flags of the command not yet among them.
    pub settings: Settings,
    runtime: OnceCell<Runtime>,
}

/// The version of every JSON document on standard output.
pub(crate) const SCHEMA_VERSION: u32 = 1;

impl Context {
    /// Reads the settings.
    pub(super) fn new(color: Option<ColorWhen>, quiet: bool) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var_os(name);
        let mut settings = Settings::load(&Files::of_this_process(variable), variable)?;
        if let Some(color) = color {
            let word = match color {
                ColorWhen::Auto => "auto",
                ColorWhen::Always => "always",
                ColorWhen::Never => "never",
            };
            settings.set_flag(Key::Color, word);
        }
        let color = match settings.text(Key::Color).as_deref() {
            Some("always") => ColorWhen::Always,
            Some("never") => ColorWhen::Never,
            _ => ColorWhen::Auto,
        };
        let terminal = Terminal::new(color, quiet);
        Ok(Self { terminal, settings, runtime: OnceCell::new() })
    }

    /// Finds the state directory and the agent's socket: as the settings say, else as the agent
    /// does.
    ///
    /// # Errors
    ///
    /// Nothing says where they are.
    pub(crate) fn workspace(&self) -> Result<Workspace, Failure> {
        let setting = |name: &str| {
            let key = match name {
                "TRAINYARD_HOME" => Key::Home,
                "TRAINYARD_SOCKET" => {
                    let url = self.settings.text(Key::Socket).filter(|text| server::is_url(text));
                    if let Some(url) = url {
                        return Some(url.into());
                    }
                    Key::Socket
                }
                "TRAINYARD_TOKEN_FILE" => Key::TokenFile,
                "TRAINYARD_CA_FILE" => Key::CaFile,
                name => return std::env::var_os(name),
            };
            let path = self.settings.path(key)?;
            std::path::absolute(path).ok().map(PathBuf::into_os_string)
        };
        Workspace::locate(&setting).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).maybe_hint(hint)
        })
    }

    /// Says whether the agent that is asked is this machine's, so that it sees what we see.
    ///
    /// # Errors
    ///
    /// Nothing says where it is.
    pub(crate) fn is_here(&self) -> Result<bool, Failure> {
        Ok(self.workspace()?.server().is_none())
    }

    /// Connects to the agent, starting one if `start` says so, which is said once.
    ///
    /// # Errors
    ///
    /// No agent answers and none could be started.
    pub(crate) fn agent(&self, start: Start) -> Result<(Client, AgentStatus), Failure> {
        let workspace = self.workspace()?;
        let announced = Cell::new(false);
        let announce = || {
            if !announced.replace(true) {
                let home = workspace.home().display();
                self.terminal.status("Starting", format!("agent (state in {home})"));
            }
        };
        self.wait_for(async { Ok(Client::connect(&workspace, start, announce).await?) })
    }

    /// Returns the runtime; it is made by the first command that needs one.
    ///
    /// # Errors
    ///
    /// The system has no room for one.
    pub(crate) fn runtime(&self) -> Result<&Runtime, Failure> {
        if self.runtime.get().is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Failure::failed)?;
            self.runtime.set(runtime).ok();
        }
        Ok(self.runtime.get().expect("it was just set"))
    }

    /// Runs `future` to its end.
    ///
    /// # Errors
    ///
    /// The future's, or the system has no room for a runtime.
    pub(crate) fn wait_for<T>(
        &self,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.runtime()?.block_on(future)
    }

    /// Prints one JSON document on standard output.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(crate) fn print_json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = if self.terminal.out_is_terminal() {
            serde_json::to_string_pretty(document)
        } else {
            serde_json::to_string(document)
        }
        .map_err(Failure::failed)?;
        text.push('\n');
        self.print(text)
    }

    /// Prints one line of JSON on standard output, one of several.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(crate) fn print_line(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(Failure::failed)?;
        self.print(text + "\n")
    }

    /// Prints bytes on standard output.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub(crate) fn print(&self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_ref())?;
        out.flush()?;
        Ok(())
    }
}
