//! The GPUs of this machine.

/// Why there are no GPUs to give.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There are fewer than were asked for.
    #[error("the run asks for {wanted} GPUs and this machine has {found}")]
    TooFew {
        /// How many were asked for.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
}

/// Returns the UUIDs of the first `count` GPUs of this machine.
///
/// # Errors
///
/// There are not as many.
pub fn choose(count: u32) -> Result<Vec<String>, GpuError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    todo!()
}
