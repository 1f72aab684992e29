//! Logs as they are now, byte for byte.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use runner::log_reader::{LogReader, StreamFilter};
use runner::run_directory::RunDirectory;
use serde::Deserialize;
use snapshots::path_error::PathError;
use utoipa::IntoParams;

use super::super::asked::NamedRun;
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::attempt::Attempt;
use crate::agent::Agent;
use crate::task;

/// The most that one answer holds.
const LARGEST: usize = 4 << 20;

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct LogQuery {
    /// From which byte of `std_log.txt` on. Default: 0.
    #[serde(default)]
    offset: u64,
    /// At most so many bytes; never more than 4 MiB, which is also the default.
    limit: Option<usize>,
    /// `stdout`, `stderr` or `all`, the default.
    stream: Option<String>,
    /// The last so many lines, instead of from an offset.
    tail: Option<u64>,
    /// Of which attempt, from 1. Default: the latest that has begun.
    attempt: Option<u32>,
}

/// Reads the streams that `name` means.
pub(in super::super) fn stream(name: Option<&str>) -> Result<StreamFilter, ApiError> {
    match name {
        None | Some("all") => Ok(StreamFilter::All),
        Some("stdout") => Ok(StreamFilter::Stdout),
        Some("stderr") => Ok(StreamFilter::Stderr),
        Some(other) => {
            Err(ApiError::invalid(format!("{other:?} is no stream; they are stdout, stderr, all")))
        }
    }
}

/// Returns a part of a run's log. Ask again from `trainyard-next-offset` for what follows; when
/// that equals `trainyard-offset`, there is no more yet, or none at all if `trainyard-ended`.
#[utoipa::path(get, path = "/v1/runs/{ref}/logs", operation_id = "runLogs", tag = "runs",
    params(("ref" = String, Path, description = "Which run."), LogQuery),
    responses(
        (status = 200, description = "Bytes of the log.", body = Vec<u8>,
            content_type = "application/octet-stream",
            headers(
                ("trainyard-offset" = u64, description = "Where the bytes begin."),
                ("trainyard-next-offset" = u64, description = "Where to go on."),
                ("trainyard-attempt" = u32, description = "Which attempt's they are."),
                ("trainyard-ended" = bool, description = "Whether that attempt is over."),
            )),
        (status = 404, description = "There is no such run.", body = Problem),
    ))]
pub(in super::super) async fn logs(
    State(agent): State<Arc<Agent>>,
    NamedRun(run): NamedRun,
    query: Result<Query<LogQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let filter = stream(query.stream.as_deref())?;
    // Asked before the log is read, so that `ended` never comes with half a log.
    let Attempt { run, number, has_ended } = Attempt::of(&agent, &run, query.attempt).await?;
    let limit = query.limit.unwrap_or(LARGEST).min(LARGEST);
    let part = move |place: &RunDirectory| {
        let mut reader = LogReader::open(place)?;
        let offset = match query.tail {
            Some(lines) => reader.tail(lines, filter)?,
            None => query.offset,
        };
        let (segments, next) = reader.read(offset, limit, filter)?;
        let bytes = segments.into_iter().flat_map(|segment| segment.bytes).collect::<Vec<u8>>();
        Ok::<_, PathError>((offset, next, bytes))
    };
    let read = task::blocking(move || run.read_attempt(number, part));
    let (offset, next, bytes) = read.await.map_err(ApiError::internal("read the log"))?;
    let headers = [
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        ("trainyard-offset", offset.to_string()),
        ("trainyard-next-offset", next.to_string()),
        ("trainyard-attempt", number.to_string()),
        ("trainyard-ended", has_ended.to_string()),
    ];
    Ok((headers, bytes).into_response())
}
