//! `trainyard snapshot files`

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use snapshots::walk::ListedFile;

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};
use crate::terminal::measure;

/// Lists the files that a snapshot would hold, and takes none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot files . | head")]
pub(in crate::cli) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Takes in what symbolic links lead to, in place of the links
    #[arg(long)]
    follow_links: bool,
    /// Also checks that this script and the modules it imports are not ignored
    #[arg(long, value_name = "SCRIPT")]
    script: Option<PathBuf>,
    /// Ends every path with a NUL byte instead of a newline
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lists files.
pub(super) fn files(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let options = snapshotting::options(context, &workspace, &args.source, args.follow_links);
    let listing = snapshots::walk::list(&args.source, &options)?;
    let mut warnings: Vec<_> = listing.warnings.iter().map(ToString::to_string).collect();
    if let Some(script) = &args.script {
        let ignored = snapshots::explain::check_imports(&args.source, script, &options)?;
        warnings.extend(ignored.iter().map(ToString::to_string));
    }
    if args.json {
        context.print_json(&Document {
            schema_version: SCHEMA_VERSION,
            files: listing.files.iter().map(File::of).collect(),
            total_bytes: listing.total_bytes,
            file_count: listing.files.len(),
            warnings,
        })?;
        return Ok(Exit::OK);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    for file in &listing.files {
        if args.null {
            out.write_all(&file.path)?;
            out.write_all(b"\0")?;
        } else {
            out.write_all(&context.terminal.name(&file.path))?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    drop(out);
    for warning in &warnings {
        context.terminal.warning(warning);
    }
    let files = measure::count(listing.files.len() as u64, "file");
    context.terminal.status("Total", format!("{files}, {}", measure::size(listing.total_bytes)));
    Ok(Exit::OK)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    files: Vec<File>,
    total_bytes: u64,
    file_count: usize,
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    path: String,
    /// The path's bytes where they are not UTF-8, since JSON has no other way to say them.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    size: u64,
}

impl File {
    fn of(file: &ListedFile) -> Self {
        let path = String::from_utf8_lossy(&file.path).into_owned();
        let is_exact = path.as_bytes() == file.path;
        let path_base64 = (!is_exact).then(|| BASE64_STANDARD.encode(&file.path));
        Self { path, path_base64, size: file.size }
    }
}

#[cfg(test)]
mod tests {
    use snapshots::walk::ListedKind;

    use super::*;

    #[test]
    fn the_json_of_a_list_of_files() {
        let file = |path: &[u8]| {
            let kind = ListedKind::File { executable: false };
            File::of(&ListedFile { path: path.to_vec(), size: 7, kind })
        };
        let document = Document {
            schema_version: SCHEMA_VERSION,
            files: vec![file(b"train.py"), file(b"a\xff\n")],
            total_bytes: 14,
            file_count: 2,
            warnings: vec!["odd".to_owned()],
        };
        insta::assert_snapshot!(serde_json::to_string(&document).unwrap(), @r#"{"schemaVersion":1,"files":[{"path":"train.py","size":7},{"path":"a�\n","pathBase64":"Yf8K","size":7}],"totalBytes":14,"fileCount":2,"warnings":["odd"]}"#);
    }
}
