//! The environment key: the SHA-256 of what determines an environment.
