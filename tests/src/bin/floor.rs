//! Reads and hashes every file of a directory on all cores and keeps nothing: the least work
//! that a first snapshot can be. The benchmark measures beside it, in the same run.
//!
//! ```text
//! floor DIR        prints files, bytes and seconds
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ignore::{WalkBuilder, WalkState};
use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let root = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: floor DIR"))?;
    let threads = std::thread::available_parallelism()?.get();
    let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let walk = WalkBuilder::new(&root)
        .hidden(false)
        .git_global(false)
        .require_git(false)
        .threads(threads)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build_parallel();
    walk.run(|| {
        let mut buffer = vec![0; 256 << 10];
        let (files, bytes) = (&files, &bytes);
        Box::new(move |entry| {
            let Ok(entry) = entry else { return WalkState::Continue };
            if entry.file_type().is_some_and(|kind| kind.is_file())
                && let Ok(read) = hash(entry.path(), &mut buffer)
            {
                files.fetch_add(1, Ordering::Relaxed);
                bytes.fetch_add(read, Ordering::Relaxed);
            }
            WalkState::Continue
        })
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("files={} bytes={} seconds={seconds:.3}", files.into_inner(), bytes.into_inner());
    Ok(())
}

fn hash(path: &Path, buffer: &mut [u8]) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut hasher, mut total) = (Sha256::new(), 0);
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            std::hint::black_box(hasher.finalize());
            return Ok(total);
        }
        hasher.update(&buffer[..read]);
        total += read as u64;
    }
}
