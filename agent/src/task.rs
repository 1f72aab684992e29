//! Tasks that end with their owner: the one door to the runtime.
