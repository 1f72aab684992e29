//! Output of an image without a shell: as the engine passes it on.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;

use images::engine::{Attached, Engine};

use super::watch::News;
use crate::supervisor::events::Event;

/// Passes on what comes, into stdout and stderr of `pipes`, until it ends.
pub(super) fn pump(
    attached: Attached,
    engine: Engine,
    news: Arc<News>,
    mut pipes: [File; 2],
) -> io::Result<()> {
    thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut failed = None;
        let ended = attached.follow(&engine, &mut |is_stderr, bytes| {
            if let Err(error) = pipes[usize::from(is_stderr)].write_all(bytes) {
                failed.get_or_insert_with(|| error.to_string());
            }
        });
        if let Some(error) = failed.or_else(|| ended.err().map(|error| error.to_string())) {
            news.tell(Event::LogBytesDropped { error });
        }
        news.end_output();
    })?;
    Ok(())
}
