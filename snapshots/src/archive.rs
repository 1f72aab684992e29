//! Packs on the wire: objects in one stream, checked one by one.
