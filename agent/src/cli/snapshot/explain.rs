//! `trainyard snapshot explain`

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use snapshots::explain::{Explanation, PathExplanation, Reason};

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};
use crate::terminal::{Plain, measure, plain_bytes};

/// Says which rule lets a path into a snapshot or keeps it out
///
/// Without paths: what is kept out at the top and what contributes most. Takes no snapshot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot explain . data/train.csv")]
pub(in crate::cli) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Paths in the source directory
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also checks that this script and the modules it imports are not ignored
    #[arg(long, value_name = "SCRIPT")]
    script: Option<PathBuf>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains paths.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let options = snapshotting::options(context, &workspace, &args.source, false);
    let explanation = snapshots::explain::explain(&args.source, &args.paths, &options)?;
    let imports = match &args.script {
        Some(script) => snapshots::explain::check_imports(&args.source, script, &options)?,
        None => Vec::new(),
    };
    let mut warnings: Vec<_> = explanation.notes.iter().map(ToString::to_string).collect();
    warnings.extend(imports.iter().map(ToString::to_string));
    if args.json {
        context.print_json(&document(&explanation, &warnings))?;
        return Ok(Exit::OK);
    }
    let mut text = Vec::new();
    for path in &explanation.paths {
        text.extend_from_slice(&line(context, path));
    }
    if args.paths.is_empty() {
        text.extend_from_slice(contributors(&explanation).as_bytes());
    }
    context.print(text)?;
    for warning in &warnings {
        context.terminal.warning(warning);
    }
    Ok(Exit::OK)
}

fn line(context: &Context, path: &PathExplanation) -> Vec<u8> {
    let verdict = if path.included { "in " } else { "out" };
    let mut line = format!("{verdict}  ").into_bytes();
    line.extend_from_slice(&context.terminal.name(path.path.as_os_str().as_bytes()));
    line.extend_from_slice(format!("  ({})", Plain(&path.reason.to_string())).as_bytes());
    if let Some(azure) = &path.azure {
        line.extend_from_slice(format!("\n     Azure ML: {}", Plain(azure)).as_bytes());
    }
    line.push(b'\n');
    line
}

/// Returns what makes the snapshot as large as it is.
fn contributors(explanation: &Explanation) -> String {
    let mut text = String::new();
    let total = explanation.total;
    let files = measure::count(total.files, "file");
    writeln!(text, "\n{files}, {} would be in the snapshot", measure::size(total.bytes))
        .expect("a string takes every text");
    if !explanation.largest_directories.is_empty() {
        text.push_str("\nLargest directories\n");
    }
    for (path, size) in &explanation.largest_directories {
        let files = measure::count(size.files, "file");
        let path = plain_bytes(path.as_os_str().as_bytes());
        writeln!(text, "{:>9}  {path}/  ({files})", measure::size(size.bytes))
            .expect("a string takes every text");
    }
    if !explanation.largest_files.is_empty() {
        text.push_str("\nLargest files\n");
    }
    for (path, bytes) in &explanation.largest_files {
        let path = plain_bytes(path.as_os_str().as_bytes());
        writeln!(text, "{:>9}  {path}", measure::size(*bytes)).expect("a string takes every text");
    }
    text
}

fn document(explanation: &Explanation, warnings: &[String]) -> serde_json::Value {
    let paths: Vec<_> = explanation
        .paths
        .iter()
        .map(|path| {
            serde_json::json!({
                "path": path.path.to_string_lossy(),
                "included": path.included,
                "reason": path.reason.to_string(),
                "rule": rule(&path.reason),
                "azure": path.azure,
            })
        })
        .collect();
    let directories: Vec<_> = explanation
        .largest_directories
        .iter()
        .map(|(path, size)| {
            serde_json::json!({
                "path": path.to_string_lossy(), "bytes": size.bytes, "files": size.files,
            })
        })
        .collect();
    serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "paths": paths,
        "fileCount": explanation.total.files,
        "totalBytes": explanation.total.bytes,
        "largestDirectories": directories,
        "largestFiles": explanation
            .largest_files
            .iter()
            .map(|(path, bytes)| serde_json::json!({"path": path.to_string_lossy(), "size": bytes}))
            .collect::<Vec<_>>(),
        "warnings": warnings,
    })
}

/// Returns the rule that decides, also through a directory.
fn rule(reason: &Reason) -> Option<serde_json::Value> {
    match reason {
        Reason::Rule(rule) => Some(serde_json::json!({
            "file": rule.file.to_string_lossy(),
            "line": rule.line,
            "pattern": String::from_utf8_lossy(&rule.pattern),
        })),
        Reason::Inside { reason, .. } => self::rule(reason),
        _ => None,
    }
}
