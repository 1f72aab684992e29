//! Files of a run directory.

use std::fs::File;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use runner::plain_file::open_beneath;
use runner::run_directory::RunDirectory;
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::super::asked::NamedRun;
use super::super::error::ApiError;

use super::super::wire::problem::Problem;
use super::attempt::Attempt;
use crate::agent::Agent;
use crate::peer::Peer;
use crate::task;

/// Whose file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct FileQuery {
    /// Of which attempt, from 1. Default: the latest that has begun.
    attempt: Option<u32>,
}

/// Returns a file that a run left in `outputs/` or `logs/`, or one of its logs.
#[utoipa::path(get, path = "/v1/runs/{ref}/files/{*path}", operation_id = "runFile", tag = "runs",
    params(
        ("ref" = String, Path, description = "Which run."),
        ("path" = String, Path, description = "One of the paths that the run names, slashes and all. Its bytes, percent-encoded; they need not be UTF-8."),
        FileQuery,
    ),
    responses(
        (status = 200, description = "The file's bytes.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 404, description = "There is no such run or file.", body = Problem),
    ))]
pub(in super::super) async fn file(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    query: Result<Query<FileQuery>, QueryRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let (reference, path) =
        named(&uri).ok_or_else(|| ApiError::NoRoute { path: uri.path().to_owned() })?;
    let run = agent.store.resolve(&reference, peer).await?;
    let missing = ApiError::NoFile { run: run.to_string(), path: lossy(&path) };
    let Attempt { run, number, .. } = Attempt::of(&agent, &run, query.attempt).await?;
    let opened = task::blocking(move || run.read_attempt(number, |place| open(place, &path))).await;
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
    NamedRun(run): NamedRun,
) -> Result<Response, ApiError> {
    let directory = agent.workspace.run_directory(&run);
    let opened = task::blocking(move || open_beneath(directory.path(), b"events")).await;
    match opened.map_err(ApiError::internal("open the events"))? {
        Some(file) => answer(file),
        // Nothing has happened on the target yet.
        None => Ok(([(CONTENT_TYPE, "application/jsonl")], "").into_response()),
    }
}

/// Reads the run and the path in the URL of a file. The framework's own way takes only UTF-8.
fn named(uri: &Uri) -> Option<(String, Vec<u8>)> {
    let (reference, path) = uri.path().strip_prefix("/v1/runs/")?.split_once("/files/")?;
    let reference: Vec<u8> = percent_decode_str(reference).collect();
    Some((String::from_utf8(reference).ok()?, percent_decode_str(path).collect()))
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Opens what `path` means to a client: what the script left, or a log beside it.
fn open(directory: &RunDirectory, path: &[u8]) -> std::io::Result<Option<File>> {
    let root = match path.split(|byte| *byte == b'/').next() {
        Some(b"outputs" | b"logs") => directory.work(),
        Some(b"user_logs" | b"system_logs") => directory.path().to_owned(),
        _ => return Ok(None),
    };
    open_beneath(&root, path)
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
