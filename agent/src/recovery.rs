//! Finds every run again after the agent was away.
