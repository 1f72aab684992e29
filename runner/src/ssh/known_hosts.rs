//! `known_hosts` files.
