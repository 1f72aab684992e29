//! The session of a BuildKit build: the engine calls back and asks for secrets.
//!
//! The connection of one request is turned around and speaks gRPC, of which three answers are all
//! that is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretSlice};
use tokio::task::JoinSet;

use super::wire::{Fields, message};

/// What steps can mount, by id.
pub(super) type Secrets = Arc<BTreeMap<String, SecretSlice<u8>>>;

const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Of gRPC.
const OK: &str = "0";
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";

/// `SERVING`.
const HEALTHY: &[u8] = &[0x08, 1];

/// Returns the request that starts a session called `id`.
pub(super) fn request(id: &str, path: &str) -> http::Result<Request<super::Body>> {
    Request::post(path)
        .header("Host", "docker")
        .header("Connection", "Upgrade")
        .header("Upgrade", "h2c")
        .header("X-Docker-Expose-Session-Uuid", id)
        .header("X-Docker-Expose-Session-Name", "trainyard")
        .header("X-Docker-Expose-Session-Sharedkey", "")
        .header("X-Docker-Expose-Session-Grpc-Method", GET_SECRET)
        .body(super::empty())
}

/// Answers the engine's questions until it hangs up.
pub(super) async fn serve(answer: Response<Incoming>, secrets: Secrets) {
    let Ok(upgraded) = hyper::upgrade::on(answer).await else { return };
    let Ok(mut connection) = h2::server::handshake(TokioIo::new(upgraded)).await else { return };
    let mut calls = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        calls.spawn(call(request, respond, secrets.clone()));
        while calls.try_join_next().is_some() {}
    }
}

async fn call(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    secrets: Secrets,
) {
    let path = request.uri().path().to_owned();
    let asked = read(request.into_body()).await;
    let (status, answer) = match path.as_str() {
        HEALTH => (OK, Some(HEALTHY.to_vec())),
        GET_SECRET => {
            let id = Fields(&asked).find(|(number, _)| *number == 1);
            let id = id.map(|(_, value)| value.text()).unwrap_or_default();
            match secrets.get(&id) {
                Some(secret) => (OK, Some(message(secret.expose_secret()))),
                None => (NOT_FOUND, None),
            }
        }
        _ => (UNIMPLEMENTED, None),
    };
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Some(answer) = answer else {
        head.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
        let _sent = respond.send_response(head, true);
        return;
    };
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let mut framed = BytesMut::with_capacity(answer.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(answer.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(&answer);
    // Nobody there any more is nobody to tell.
    let _sent = stream.send_data(framed.freeze(), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let _sent = stream.send_trailers(trailers);
}

/// Reads one message, of which more than a few bytes is nothing that we answer.
async fn read(mut body: h2::RecvStream) -> Vec<u8> {
    const MOST: usize = 64 << 10;
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        let _released = body.flow_control().release_capacity(piece.len());
        if bytes.len() + piece.len() <= MOST {
            bytes.extend_from_slice(&piece);
        }
    }
    // Uncompressed, and its length.
    bytes.split_off(bytes.len().min(5))
}
