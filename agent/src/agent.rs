//! The agent process: one per state directory, from its lock to its last reply.
