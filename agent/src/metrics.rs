//! Picks up the metrics a script writes or prints, while it runs.
