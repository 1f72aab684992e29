//! Reads a run's log by offset, by stream, while it is written.
