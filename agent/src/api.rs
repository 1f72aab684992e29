//! The HTTP API at the agent's doors: routes, OpenAPI, errors.
//!
//! Handlers translate: they read a request, ask the agent, and write the answer.

mod asked;
mod body;
mod error;
mod follow;
mod openapi;
mod routes;
pub(crate) mod server;
pub(crate) mod wire;

pub(crate) use routes::gc::collect_garbage;
