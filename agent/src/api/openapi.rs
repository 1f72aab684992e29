//! The OpenAPI document, made from the routes themselves.

use std::sync::Arc;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::routes::{
    agent, environments, files, gc, health, logs, runs, targets, tokens, transfers,
};
use super::{follow, wire};
use crate::agent::Agent;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trainyard agent",
        description = "The API of a Trainyard agent, on its unix socket and, where it is told to listen, on TCP. At the socket the agent's own user and root are answered, and on a socket of systemd whoever may connect; over TCP whoever shows a token, as the user who made it (`Authorization: Bearer`). Each sees their own runs, snapshots and targets, and root, the agent's own user and its administrators see everybody's. A body must say its Content-Type. An answer that is not a success is a `Problem`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(
        wire::problem::Problem,
        wire::follow::StatusEvent,
        wire::follow::BuildEvent,
        wire::follow::LogEvent,
        wire::follow::AttemptEvent,
        wire::follow::EndEvent,
    ))
)]
struct ApiDocument;

/// Returns the routes, each with its part of the document.
pub(super) fn router() -> OpenApiRouter<Arc<Agent>> {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        .routes(routes!(agent::status))
        .routes(routes!(agent::usage))
        .routes(routes!(agent::stop))
        .routes(routes!(agent::drain, agent::undo_drain))
        .routes(routes!(agent::openapi))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(health::statistics))
        .routes(routes!(runs::list, runs::submit))
        .routes(routes!(runs::show, runs::remove))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::change_waiting))
        .routes(routes!(runs::outputs))
        .routes(routes!(logs::logs))
        .routes(routes!(follow::follow))
        .routes(routes!(files::file))
        .routes(routes!(files::events))
        .routes(routes!(transfers::missing))
        .routes(routes!(transfers::pack))
        .routes(routes!(transfers::finish))
        .routes(routes!(environments::list))
        .routes(routes!(environments::show, environments::remove))
        .routes(routes!(environments::log))
        .routes(routes!(targets::list, targets::attach))
        .routes(routes!(targets::show, targets::detach))
        .routes(routes!(targets::check))
        .routes(routes!(targets::clean))
        .routes(routes!(targets::send))
        .routes(routes!(gc::gc))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
}

/// Returns the document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = router().split_for_parts().1;
    // The router's word for "the rest of the path" is not OpenAPI's, which has none.
    let paths = std::mem::take(&mut document.paths.paths);
    let renamed = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item));
    document.paths.paths = renamed.collect();
    document
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::RefOr;
    use utoipa::openapi::path::ParameterIn;

    use super::*;

    #[test]
    fn the_document_is_held_to_the_routes() {
        let document = document();

        for (path, item) in &document.paths.paths {
            let operations = [&item.get, &item.post, &item.delete, &item.put, &item.patch];
            for operation in operations.into_iter().flatten() {
                assert!(operation.summary.is_some(), "{path} has no summary");
                let successes = operation.responses.responses.keys().filter(|k| k.starts_with('2'));
                assert_eq!(successes.count(), 1, "{path} documents one success");
                for parameter in operation.parameters.iter().flatten() {
                    let RefOr::T(parameter) = parameter else { panic!("{path} refers elsewhere") };
                    let in_path = path.contains(&format!("{{{}}}", parameter.name));
                    let said = parameter.parameter_in == ParameterIn::Path;
                    assert_eq!(said, in_path, "{} of {path}", parameter.name);
                }
            }
        }
        insta::assert_snapshot!("openapi", document.to_pretty_json().unwrap());
    }
}
