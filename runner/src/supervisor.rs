//! The supervisor: one small process per run that owns its pipes, its log files, its end.

pub mod log_writer;
pub mod process_tree;
