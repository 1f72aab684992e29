//! The command line's side of the API, and starting an agent where none answers.
