//! Runs: their configuration, their directory, the supervisor that carries them out, and the
//! compute targets they are carried out on. Knows nothing of the queue, the database or the API.
//!
//! A run is a directory with a supervisor: everything else gets that directory to some machine
//! and starts that supervisor there.

pub mod allocator;
pub mod base_environment;
pub mod build_log;
pub mod cancel_request;
pub mod compute_target;
pub mod container;
mod detached;
pub mod durable_file;
pub mod exit_record;
pub mod gpu;
pub mod installed_packages;
pub mod launch;
pub mod log_index;
pub mod log_reader;
pub mod metrics_line;
pub mod outputs;
pub mod passed_socket;
pub mod plain_file;
pub mod process_identity;
pub mod remote;
pub mod run_configuration;
pub mod run_directory;
pub mod run_id;
pub mod sandbox;
pub mod script_user;
pub mod snapshot_files;
pub mod source;
pub mod ssh;
pub mod supervisor;
