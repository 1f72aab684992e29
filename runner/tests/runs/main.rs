//! Runs carried out for real: Python scripts under a supervisor, from start to exit record.

mod contract;
mod ends;
mod inheritance;
mod kills;
mod output;
mod process_tree;
mod support;
