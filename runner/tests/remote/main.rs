//! The two sides of an attached machine: a server in a process of its own, over pipes, with a real
//! store, a real supervisor and real scripts.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what helps them")]

mod cleaning;
mod conversation;
mod cuts;
mod hostile;
mod machine;
mod preparing;
mod runs;
