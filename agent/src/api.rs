//! The HTTP API on the agent's socket: routes, OpenAPI, errors.

pub(crate) mod wire;
