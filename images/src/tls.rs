//! What this process encrypts with.

/// Makes ring what TLS is made with. To be called before an HTTP client is made: where that can do
/// TLS at all, it panics without a provider, even one that speaks to a socket only.
#[cfg(feature = "conda")]
pub fn install_provider() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // An error says that somebody was faster, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default().is_ok();
    });
}

/// There is no TLS in this build.
#[cfg(not(feature = "conda"))]
pub fn install_provider() {}
