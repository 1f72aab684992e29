//! Moving a snapshot to another store: only what that store lacks travels.
