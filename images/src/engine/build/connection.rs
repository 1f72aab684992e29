//! A plain connection to an engine, for what bollard has no words for.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::engine::EngineError;
use crate::engine::address::Address;
use crate::engine::tls_files::TlsFiles;

/// Both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the engine at `address`, which is called `name`.
pub(super) async fn connect(name: &str, address: &Address) -> Result<Box<dyn Stream>, EngineError> {
    let gone = |source: io::Error| EngineError::gone(name, source);
    match address {
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(gone)?)),
        Address::Tcp { host, tls } => {
            let stream = TcpStream::connect(host).await.map_err(gone)?;
            match tls {
                None => Ok(Box::new(stream)),
                Some(files) => secured(stream, host, files, gone).await,
            }
        }
        Address::Unknown(text) => Err(EngineError::UnknownAddress { address: text.clone() }),
    }
}

/// Speaks TLS with whoever is at the other end; it has to be `host`.
async fn secured(
    stream: TcpStream,
    host: &str,
    files: &TlsFiles,
    gone: impl Fn(io::Error) -> EngineError,
) -> Result<Box<dyn Stream>, EngineError> {
    // The certificate is of the machine, whatever the port.
    let machine = host.rsplit_once(':').map_or(host, |(machine, _)| machine);
    let machine = machine.trim_start_matches('[').trim_end_matches(']').to_owned();
    let machine = ServerName::try_from(machine).map_err(|error| gone(io::Error::other(error)))?;
    let connector = TlsConnector::from(files.client()?);
    Ok(Box::new(connector.connect(machine, stream).await.map_err(gone)?))
}
