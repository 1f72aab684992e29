//! What a run left in outputs/ and logs/, without following a link.
