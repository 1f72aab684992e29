//! Settings: flag, environment, files, default, each with its origin.
