//! What git knows of a source directory, read without running anything.
