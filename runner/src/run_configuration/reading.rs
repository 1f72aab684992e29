//! What the readers of both file formats share.
