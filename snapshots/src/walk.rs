//! Lists what a snapshot of a directory holds, without following a link out of it.
