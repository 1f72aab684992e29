//! Files of a run directory.

use std::fs::File;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use runner::run_directory::RunDirectory;
use tokio_util::io::ReaderStream;

use super::super::error::ApiError;
use super::super::files::open_beneath;
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::task;

/// Returns a file that a run left in `outputs/` or `logs/`, or one of its logs.
#[utoipa::path(get, path = "/v1/runs/{ref}/files/{*path}", operation_id = "runFile", tag = "runs",
    params(
        ("ref" = String, Path, description = "Which run."),
        ("path" = String, Path, description = "One of the paths that the run names, slashes and all."),
    ),
    responses(
        (status = 200, description = "The file's bytes.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 404, description = "There is no such run or file.", body = Problem),
    ))]
pub(in super::super) async fn file(
    State(agent): State<Arc<Agent>>,
    Path((reference, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let run = agent.store.resolve(&reference).await?;
    let directory = agent.workspace.run_directory(&run);
    let missing = ApiError::NoFile { run: run.to_string(), path: path.clone() };
    let opened = task::blocking(move || open(&directory, &path)).await;
    answer(opened.map_err(ApiError::internal("open the file"))?.ok_or(missing)?)
}

/// Returns what happened to a run, one JSON object a line.
#[utoipa::path(get, path = "/v1/runs/{ref}/events", operation_id = "runEvents", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    responses(
        (status = 200, description = "The events so far.", body = String,
            content_type = "application/jsonl"),
        (status = 404, description = "There is no such run.", body = Problem),
    ))]
pub(in super::super) async fn events(
    State(agent): State<Arc<Agent>>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    let run = agent.store.resolve(&reference).await?;
    let directory = agent.workspace.run_directory(&run);
    let opened = task::blocking(move || open_beneath(directory.path(), b"events")).await;
    match opened.map_err(ApiError::internal("open the events"))? {
        Some(file) => answer(file),
        // Nothing has happened on the target yet.
        None => Ok(([(CONTENT_TYPE, "application/jsonl")], "").into_response()),
    }
}

/// Opens what `path` means to a client: what the script left, or a log beside it.
fn open(directory: &RunDirectory, path: &str) -> std::io::Result<Option<File>> {
    let root = match path.split_once('/') {
        Some(("outputs" | "logs", _)) => directory.work(),
        Some(("user_logs" | "system_logs", _)) => directory.path().to_owned(),
        _ => return Ok(None),
    };
    open_beneath(&root, path.as_bytes())
}

fn answer(file: File) -> Result<Response, ApiError> {
    use tokio::io::AsyncReadExt;
    let length = file.metadata().map_err(ApiError::internal("examine the file"))?.len();
    // A file that grows meanwhile must not outgrow what was said of it.
    let bytes = tokio::fs::File::from_std(file).take(length);
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(bytes, 256 << 10))).into_response())
}
