//! A run as the agent keeps it.
