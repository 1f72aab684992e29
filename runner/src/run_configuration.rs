//! The run configuration: what is to be run, from the command line or a file.

pub mod command_job_v2;
pub mod runconfig_v1;
pub mod yaml;
