//! Why a path is in a snapshot or not, and what makes a snapshot big.
