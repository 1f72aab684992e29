//! What a supervisor is asked to do: program, environment, limits.
