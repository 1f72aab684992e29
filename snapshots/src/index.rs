//! The stat cache: which files were read before and have not changed since.
