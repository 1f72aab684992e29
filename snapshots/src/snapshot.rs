//! Taking a snapshot: walk, index, hash, store.
