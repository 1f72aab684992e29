//! Matches one ignore pattern against one path, as git's wildmatch does.
