//! Where the agent keeps its state.
