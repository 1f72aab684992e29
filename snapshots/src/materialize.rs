//! Lays a snapshot out in a directory.
