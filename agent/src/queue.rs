//! Which run starts next: first in, first out, within the limit.
