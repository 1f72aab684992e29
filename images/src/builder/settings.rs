//! What the administrator lets builds have of this machine.

use std::path::PathBuf;

/// The `[build]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSettings {
    /// Certificates that builds in containers trust besides their image's own; they are not in the
    /// image that is built.
    pub ca_bundle: Option<PathBuf>,
    /// Whether builds in containers use this machine's package index settings (`PIP_*`, `UV_*`,
    /// pip.conf) and proxies; they are not in the image that is built.
    pub index_settings: bool,
    /// The network of builds in containers: `default`, `host` or `none`.
    pub network: String,
    /// How many bytes built environments may take before the least recently used are removed by
    /// `gc`. `None`: without limit.
    pub max_bytes: Option<u64>,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self {
            ca_bundle: None,
            index_settings: true,
            network: "default".to_owned(),
            max_bytes: None,
        }
    }
}
