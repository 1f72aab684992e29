//! Which process this is, across restarts: boot id, pid and start time together.
