//! Environments as asked for, self-contained, and as prepared.
