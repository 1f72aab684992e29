//! Python interpreters: finding one, and what it says of itself.
