//! Every process that a run started, and ending them all.
