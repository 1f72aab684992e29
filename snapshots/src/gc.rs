//! Frees the objects that nothing refers to.
