//! Runs as they are shown.

use std::collections::{BTreeMap, BTreeSet};

use runner::run_id::RunId;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use snapshots::digest::Digest;

use super::row::{exit, json, status, time};
use super::{SqlContext, Store, StoreError};
use crate::api::wire::run::{
    Attempt, Exit, MetricPoint, OutputFile, PreparedEnvironment, Run, RunAttempt, RunSummary,
};
use crate::objects::StoreOf;
use crate::peer::Scope;
use crate::run::status::RunStatus;

/// The version of the document of a run.
const SCHEMA_VERSION: u32 = 1;

/// Which runs to list.
#[derive(Clone, Debug)]
pub(crate) struct ListFilter {
    /// Whose.
    pub(crate) scope: Scope,
    /// At most so many.
    pub(crate) limit: Option<u32>,
    /// Only those of this experiment.
    pub(crate) experiment: Option<String>,
    /// Only those that stand there.
    pub(crate) status: Option<RunStatus>,
    /// Only those with this label and, if given, this value.
    pub(crate) tag: Option<(String, Option<String>)>,
    /// Only that which this user handed in under this idempotency key.
    pub(crate) key: Option<(u32, String)>,
}

const SUMMARY_COLUMNS: &str = "number, id, experiment, display_name, status, target, \
    environment_name, command_line, snapshot_id, started_at, ended_at, created_at, exit, \
    priority, attempt, most_attempts, tried_after, uid";

impl Store {
    /// Lists runs, the latest first. Places in the queue are not in it.
    pub(crate) async fn list(&self, filter: ListFilter) -> Result<Vec<RunSummary>, StoreError> {
        self.readers.read(move |connection| list(connection, &filter)).await
    }

    /// Returns all that is known of `run` but for its place in the queue and its directory.
    pub(crate) async fn document(&self, run: &RunId) -> Result<Run, StoreError> {
        let run = run.clone();
        self.readers.read(move |connection| document(connection, &run)).await
    }
}

fn list(connection: &Connection, filter: &ListFilter) -> Result<Vec<RunSummary>, StoreError> {
    let whose = filter.scope.uid();
    let mut sql = format!("select {SUMMARY_COLUMNS} from runs where true");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    if let Some(uid) = &whose {
        sql += " and uid = ?";
        values.push(uid);
    }
    let status = filter.status.map(RunStatus::name);
    if let Some(experiment) = &filter.experiment {
        sql += " and experiment = ?";
        values.push(experiment);
    }
    if let Some(status) = &status {
        sql += " and status = ?";
        values.push(status);
    }
    if let Some((key, value)) = &filter.tag {
        sql += " and exists (select 1 from tags where run = number and key = ?";
        values.push(key);
        if let Some(value) = value {
            sql += " and value = ?";
            values.push(value);
        }
        sql += ")";
    }
    if let Some((uid, key)) = &filter.key {
        sql += " and number = (select run from idempotency_keys where uid = ? and key = ?)";
        values.extend([uid as &dyn ToSql, key]);
    }
    let limit = filter.limit.map_or(-1, i64::from);
    sql += " order by number desc limit ?";
    values.push(&limit);
    let action = "list runs";
    let mut statement = connection.prepare_cached(&sql).doing(action)?;
    let mut rows = statement.query(values.as_slice()).doing(action)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next().doing(action)? {
        let (number, mut summary) = summary(row)?;
        summary.tags = pairs(connection, "tags", number)?;
        runs.push(summary);
    }
    Ok(runs)
}

fn summary(row: &Row) -> Result<(i64, RunSummary), StoreError> {
    let action = "read a run";
    let text = |column| row.get::<_, String>(column).doing(action);
    let moment = |column| row.get::<_, Option<i64>>(column).doing(action);
    let run_id = text(1)?;
    let ended = exit(&run_id, row.get(12).doing(action)?)?;
    let of: u32 = row.get(15).doing(action)?;
    let attempt =
        RunAttempt { number: row.get(14).doing(action)?, of, after: row.get(16).doing(action)? };
    let summary = RunSummary {
        experiment: text(2)?,
        display_name: text(3)?,
        status: status(row, 4)?,
        position: None,
        waits_for: None,
        priority: row.get(13).doing(action)?,
        attempt: (of > 1).then_some(attempt),
        target: text(5)?,
        out_of_contact: None,
        environment: text(6)?,
        command_line: text(7)?,
        snapshot_id: text(8)?,
        start_time_utc: moment(9)?.map(time),
        end_time_utc: moment(10)?.map(time),
        created_time_utc: time(row.get(11).doing(action)?),
        tags: BTreeMap::new(),
        exit: ended.as_ref().map(Exit::from),
        uid: row.get(17).doing(action)?,
        user: None,
        run_id,
    };
    Ok((row.get(0).doing(action)?, summary))
}

fn document(connection: &Connection, run: &RunId) -> Result<Run, StoreError> {
    let action = "read a run";
    let sql =
        format!("select {SUMMARY_COLUMNS}, request, environment, packages from runs where id = ?1");
    let mut statement = connection.prepare_cached(&sql).doing(action)?;
    let mut rows = statement.query([run.as_str()]).doing(action)?;
    let row = rows
        .next()
        .doing(action)?
        .ok_or_else(|| StoreError::NoSuchRun { reference: run.to_string() })?;
    let (number, mut summary) = summary(row)?;
    summary.tags = pairs(connection, "tags", number)?;
    let request = json(run.as_str(), Some(row.get(18).doing(action)?))?;
    let packages = json(run.as_str(), row.get(20).doing(action)?)?;
    let environment: Option<images::environment::PreparedEnvironment> =
        json(run.as_str(), row.get(19).doing(action)?)?;
    Ok(Run {
        schema_version: SCHEMA_VERSION,
        properties: pairs(connection, "properties", number)?,
        metrics: metrics(connection, number)?,
        attempts: attempts(connection, run, number)?,
        log_files: Vec::new(),
        output_files: outputs(connection, number)?,
        prepared_environment: environment
            .map(|environment| PreparedEnvironment::new(environment, packages.unwrap_or_default())),
        warnings: warnings(connection, number)?,
        engine_away_since_time_utc: None,
        run_directory: String::new(),
        request: request.ok_or(StoreError::Closed)?,
        summary,
    })
}

fn pairs(
    connection: &Connection,
    table: &'static str,
    run: i64,
) -> Result<BTreeMap<String, String>, StoreError> {
    let action = "read what a run is labelled with";
    let sql = format!("select key, value from {table} where run = ?1");
    let mut statement = connection.prepare_cached(&sql).doing(action)?;
    statement
        .query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .doing(action)
}

fn warnings(connection: &Connection, run: i64) -> Result<Vec<String>, StoreError> {
    let action = "read the warnings of a run";
    let mut statement = connection
        .prepare_cached("select text from warnings where run = ?1 order by number")
        .doing(action)?;
    statement.query_map([run], |row| row.get(0)).and_then(Iterator::collect).doing(action)
}

fn metrics(
    connection: &Connection,
    run: i64,
) -> Result<BTreeMap<String, Vec<MetricPoint>>, StoreError> {
    let action = "read the metrics of a run";
    let mut statement = connection
        .prepare_cached(
            "select name, step, value, reported_at from metrics where run = ?1 order by number",
        )
        .doing(action)?;
    let mut rows = statement.query([run]).doing(action)?;
    let mut metrics: BTreeMap<String, Vec<MetricPoint>> = BTreeMap::new();
    while let Some(row) = rows.next().doing(action)? {
        let point = MetricPoint {
            step: row.get(1).doing(action)?,
            value: row.get(2).doing(action)?,
            time_utc: time(row.get(3).doing(action)?),
        };
        metrics.entry(row.get(0).doing(action)?).or_default().push(point);
    }
    Ok(metrics)
}

fn attempts(connection: &Connection, run: &RunId, number: i64) -> Result<Vec<Attempt>, StoreError> {
    let action = "read the attempts of a run";
    let mut statement = connection
        .prepare_cached(
            "select attempt, reason, begun_at, ended_at, exit from attempts
             where run = ?1 order by number",
        )
        .doing(action)?;
    let mut rows = statement.query([number]).doing(action)?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next().doing(action)? {
        let ended = exit(run.as_str(), row.get(4).doing(action)?)?;
        attempts.push(Attempt {
            number: row.get(0).doing(action)?,
            reason: row.get(1).doing(action)?,
            start_time_utc: time(row.get(2).doing(action)?),
            end_time_utc: row.get::<_, Option<i64>>(3).doing(action)?.map(time),
            exit: ended.as_ref().map(Exit::from),
            output_files: Vec::new(),
        });
    }
    add_outputs_of(&mut attempts, connection, number)?;
    Ok(attempts)
}

/// Adds what the attempts before the last left.
fn add_outputs_of(
    attempts: &mut [Attempt],
    connection: &Connection,
    run: i64,
) -> Result<(), StoreError> {
    let action = "read what an attempt left";
    let mut statement = connection
        .prepare_cached(
            "select path, size, sha256 from attempt_outputs where run = ?1 and attempt = ?2
             order by path",
        )
        .doing(action)?;
    for attempt in attempts.iter_mut().filter(|attempt| attempt.exit.is_some()) {
        let files = statement.query_map(params![run, attempt.number], output);
        attempt.output_files = files.and_then(Iterator::collect).doing(action)?;
    }
    Ok(())
}

fn outputs(connection: &Connection, run: i64) -> Result<Vec<OutputFile>, StoreError> {
    let action = "read what a run left";
    let mut statement = connection
        .prepare_cached("select path, size, sha256 from outputs where run = ?1 order by path")
        .doing(action)?;
    let files = statement.query_map(params![run], output);
    files.and_then(Iterator::collect).doing(action)
}

fn output(row: &Row) -> rusqlite::Result<OutputFile> {
    let path: Vec<u8> = row.get(0)?;
    let size: i64 = row.get(1)?;
    Ok(OutputFile::new(&path, u64::try_from(size).unwrap_or_default(), row.get(2)?))
}

/// The source of each run, and the build context of its Dockerfile, if it has one.
const IN_USE: &str = "select id, snapshot_id,
    json_extract(request, '$.environment.docker.base.context') from runs where store is ?1";

impl Store {
    /// Returns the snapshots of the store `of` that runs other than `but` were made of, and those
    /// that their images are built from.
    pub(crate) async fn snapshots_in_use(
        &self,
        of: StoreOf,
        but: Vec<RunId>,
    ) -> Result<BTreeSet<String>, StoreError> {
        self.readers
            .read(move |connection| {
                let but: BTreeSet<_> = but.iter().map(RunId::as_str).collect();
                let action = "list the snapshots in use";
                let mut statement = connection.prepare_cached(IN_USE).doing(action)?;
                let mut rows = statement.query([of.uid()]).doing(action)?;
                let mut snapshots = BTreeSet::new();
                while let Some(row) = rows.next().doing(action)? {
                    if !but.contains(row.get::<_, String>(0).doing(action)?.as_str()) {
                        snapshots.insert(row.get(1).doing(action)?);
                        snapshots.extend(row.get::<_, Option<String>>(2).doing(action)?);
                    }
                }
                Ok(snapshots)
            })
            .await
    }

    /// Returns the stores that hold what a run in `scope` was made of: the source `snapshot`, and
    /// `context` to build its image from, or none.
    pub(crate) async fn stores_of(
        &self,
        snapshot: Digest,
        context: Option<Digest>,
        scope: Scope,
    ) -> Result<BTreeSet<StoreOf>, StoreError> {
        self.readers
            .read(move |connection| {
                let action = "look up a snapshot";
                let context = context.map(|context| context.to_string());
                let mut statement = connection
                    .prepare_cached(
                        "select distinct store from runs
                         where snapshot_id = ?1 and (?3 is null or uid = ?3) and
                             json_extract(request, '$.environment.docker.base.context') is ?2",
                    )
                    .doing(action)?;
                let stores = statement
                    .query_map(params![snapshot.to_string(), context, scope.uid()], |row| {
                        row.get(0)
                    });
                let stores: Vec<Option<u32>> = stores.and_then(Iterator::collect).doing(action)?;
                Ok(stores.into_iter().map(StoreOf::from_uid).collect())
            })
            .await
    }

    /// Says whether a transaction can be read: what a service asks before it says it is well.
    pub(crate) async fn answers(&self) -> Result<(), StoreError> {
        self.readers
            .read(|connection| {
                let one = connection.query_row("select 1", [], |row| row.get::<_, i64>(0));
                one.optional().doing("read").map(drop)
            })
            .await
    }
}
