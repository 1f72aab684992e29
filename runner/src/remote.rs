//! The other side of an SSH target: this program on a virtual machine, asked in frames over its
//! stdin and stdout.
//!
//! ```text
//! agent ── SSH, one exec channel ──▶ `trainyard remote serve` ──▶ store, environments, runs
//!                                         │ starts, detached
//!                                         ├──▶ `trainyard remote prepare RUN_DIR`
//!                                         └──▶ `trainyard supervise RUN_DIR`
//! ```
//!
//! The server keeps nothing between two requests: what was asked for is in files, and whoever was
//! cut off asks again. Everything that takes long is done by a process that does not depend on the
//! connection, and every request may come twice.

pub mod client;
pub mod files;
pub mod frame;
pub mod message;
pub mod report;
pub mod server;

mod cleaning;
mod preparing;

pub use preparing::prepare;
