//! Where runs are carried out: the border, and the local target.

pub mod local;
