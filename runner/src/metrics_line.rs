//! Metrics as a script writes or prints them: one JSON object a line.
