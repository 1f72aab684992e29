//! What of freed memory a process that lives for months keeps.

/// How many pools memory is taken from. The C library's own rule is eight for each core, and each
/// keeps what its busiest moment took: an agent that answered a long list on every thread once
/// would have the room for sixteen of them for good.
#[cfg(target_env = "gnu")]
const POOLS: i32 = 2;

/// Blocks of so many bytes and more are the system's again as soon as they are freed. Left alone,
/// the C library raises this to the largest block that it ever saw freed.
#[cfg(target_env = "gnu")]
const OWN_BLOCK: i32 = 256 << 10;

/// Keeps little of what is freed, from now on. To be called before there are threads.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(nix::libc::M_ARENA_MAX, POOLS), (nix::libc::M_MMAP_THRESHOLD, OWN_BLOCK)]
    {
        // SAFETY: it sets a number in the C library, under a lock of its own.
        // That it did not is no harm: then it is as before.
        let _was_set = unsafe { nix::libc::mallopt(parameter, value) };
    }
}
