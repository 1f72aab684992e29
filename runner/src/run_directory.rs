//! The run directory: which file is where, and how each is written.
