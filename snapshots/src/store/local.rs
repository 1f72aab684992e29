//! The object store on a local disk.
