//! Which paths are ignored, to the letter of git's rules.
