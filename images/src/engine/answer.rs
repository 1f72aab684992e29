//! What an engine's refusals mean.

use bollard::errors::Error;

use super::EngineError;

/// Translates what came of a call to the engine at `address`.
pub(super) fn error(address: &str, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => refusal(status_code, message),
        Error::DockerStreamError { error } => refusal(500, error),
        Error::JsonDataError { .. }
        | Error::JsonSerdeError { .. }
        | Error::StrParseError { .. } => EngineError::strange(address, error),
        other => EngineError::gone(address, other),
    }
}

fn refusal(status: u16, message: String) -> EngineError {
    let message = message.trim().to_owned();
    if message.contains("no space left on device") || message.contains("disk quota exceeded") {
        return EngineError::DiskFull { message };
    }
    EngineError::Refused { status, message }
}

/// Why `reference` could not be pulled. Engines answer 500 to most of it, or 200 and then an error:
/// the words say more.
pub(super) fn pull(reference: &str, error: EngineError) -> EngineError {
    let EngineError::Refused { status, message } = error else { return error };
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let reference = reference.to_owned();
    if says(DENIED) || status == 401 || status == 403 {
        EngineError::Denied { reference, message }
    } else if says(UNREACHABLE) {
        EngineError::Unreachable { reference, message }
    } else if says(NOT_FOUND) || status == 404 {
        EngineError::NoImage { reference, message }
    } else {
        EngineError::Refused { status, message }
    }
}

const DENIED: &[&str] = &[
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "access denied",
    "access to the resource is denied",
    "denied:",
    "incorrect username or password",
];

const UNREACHABLE: &[&str] = &[
    "no such host",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "timeout exceeded",
    "deadline exceeded",
    "request canceled",
    "handshake",
    "x509:",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "http response to https client",
    "service unavailable",
    "bad gateway",
    "temporary failure",
    ": eof",
];

const NOT_FOUND: &[&str] = &[
    "manifest unknown",
    "name unknown",
    "not found",
    "does not exist",
    "no such image",
    "no matching manifest",
    "invalid reference",
    "no image found",
];

/// Why no container of `image` could be made.
pub(super) fn create(image: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Refused { status: 404, message }
            if message.to_lowercase().contains("no such image") =>
        {
            EngineError::NoImage { reference: image.to_owned(), message }
        }
        other => other,
    }
}

/// Why a container did not start: whether its image lacks the program.
pub(super) fn start(error: EngineError) -> EngineError {
    let EngineError::Refused { status, message } = error else { return error };
    match missing_program(&message) {
        Some((program, said)) => EngineError::NoProgram { program, message: said },
        None => EngineError::Refused { status, message },
    }
}

/// The program in runc's `… exec: "program": what is wrong: unknown`, or in crun's
/// ``… executable file `program` not found``, and what is wrong with it. A mount that is not there
/// is called by its path too, but not so.
fn missing_program(message: &str) -> Option<(String, String)> {
    let (program, said) = if let Some((_, rest)) = message.split_once("exec: \"") {
        let (program, said) = rest.split_once('"')?;
        (program, said.trim_start_matches(": ").trim_end_matches(": unknown"))
    } else {
        let (_, rest) = message.split_once("executable file `")?;
        let (program, said) = rest.split_once('`')?;
        (program, said.trim())
    };
    let is_missing = said.contains("not found") || said.contains("no such file or directory");
    is_missing.then(|| (program.to_owned(), said.to_owned()))
}

#[cfg(test)]
mod tests;
