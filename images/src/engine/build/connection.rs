//! A plain connection to an engine, for what bollard has no words for.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::engine::EngineError;

/// Both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the engine at `address`.
pub(super) async fn connect(address: &str) -> Result<Box<dyn Stream>, EngineError> {
    let gone = |source: std::io::Error| EngineError::Gone {
        address: address.to_owned(),
        source: Box::new(source),
    };
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(Box::new(UnixStream::connect(path).await.map_err(gone)?));
    }
    let plain = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("http://"));
    match plain {
        Some(host) => Ok(Box::new(TcpStream::connect(host).await.map_err(gone)?)),
        None => Err(EngineError::Unable {
            what: format!("build images over {address}: only over its socket or plain TCP"),
        }),
    }
}
