//! Built environments by key: found, built once, listed, removed.
