//! The command line: what was typed, and which file carries it out.
