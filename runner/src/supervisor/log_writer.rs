//! Writes the log: every byte, which stream it came from, and when.
