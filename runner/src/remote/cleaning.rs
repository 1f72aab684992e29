//! Removing what nobody needs.
