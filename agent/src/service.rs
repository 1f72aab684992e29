//! Being a service: signals, readiness, stopping.
