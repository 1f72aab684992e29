//! The answering side: `trainyard remote serve`.

use std::io::{Read, Write};

use super::files::RemoteHome;

/// Answers requests on `from` and `to` until `from` ends. Runs and preparations that were begun go
/// on. `program` is this program: what supervises and prepares.
///
/// # Errors
///
/// The state directory cannot be used, or the connection breaks.
pub fn serve(
    home: &RemoteHome,
    program: std::path::PathBuf,
    from: &mut (dyn Read + Send),
    to: &mut (dyn Write + Send),
) -> std::io::Result<()> {
    let _unused = (home, program, from, to);
    todo!()
}
