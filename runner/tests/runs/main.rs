//! Runs carried out for real: Python scripts under a supervisor, from start to exit record.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what helps them")]

mod contract;
mod ends;
mod inheritance;
mod kills;
mod output;
mod process_tree;
mod support;
