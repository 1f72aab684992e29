//! Runs on a machine that is reached over SSH: a real sshd in a container that stands for a VM.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what helps them")]

mod attaching;
mod cuts;
mod ends;
mod following;
mod support;
#[path = "../runs/target_contract.rs"]
mod target_contract;
#[path = "../../../tests/src/vm.rs"]
#[expect(dead_code, unreachable_pub, reason = "it is a module of the crate `tests` too")]
mod vm;
mod whole;
