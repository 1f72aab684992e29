//! SSH connections to a real sshd, in a container that stands for a VM.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what helps them")]

mod agent;
mod aliases;
mod ciphers;
mod cuts;
mod host_keys;
mod jumps;
mod logins;
mod machine;
mod support;
#[path = "../../../tests/src/vm.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a module of the crate `tests` too")]
mod vm;
mod wires;
