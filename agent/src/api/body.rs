//! Reading request bodies: said to be what they are, no longer than allowed.

use axum::body::{self, Body};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// How long a JSON document may be: a run with a git patch of 10 MiB, in base64, fits.
pub(super) const LONGEST_DOCUMENT: usize = 16 << 20;

/// A JSON document.
pub(super) struct Document<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Document<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect(&request, "application/json")?;
        let bytes = body::to_bytes(request.into_body(), LONGEST_DOCUMENT)
            .await
            .map_err(|_| ApiError::TooLarge { limit: LONGEST_DOCUMENT })?;
        let document = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::invalid(format!("the body is not what is expected: {error}"))
        })?;
        Ok(Self(document))
    }
}

/// A stream of bytes, as long as it likes.
pub(super) struct Octets(pub(super) Body);

impl<S: Sync> FromRequest<S> for Octets {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect(&request, "application/octet-stream")?;
        Ok(Self(request.into_body()))
    }
}

fn expect(request: &Request, expected: &'static str) -> Result<(), ApiError> {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.and_then(|said| said.split(';').next()).map(str::trim);
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case(expected)) {
        Ok(())
    } else {
        Err(ApiError::MediaType { expected })
    }
}
