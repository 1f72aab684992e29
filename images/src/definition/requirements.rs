//! requirements.txt and the files it names.
