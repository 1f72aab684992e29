//! What an engine answers while it builds: a line of JSON for each thing it has to say.

use base64::Engine as _;
use serde::Deserialize;

use super::trace::Trace;

/// Reads the answer, in pieces of any size.
#[derive(Default)]
pub(super) struct Messages {
    rest: Vec<u8>,
    trace: Trace,
    /// The id of what was built.
    pub(super) image: Option<String>,
    /// Why it was not built.
    pub(super) error: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    stream: String,
    id: String,
    aux: serde_json::Value,
    error: String,
    #[serde(rename = "errorDetail")]
    error_detail: ErrorDetail,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

impl Messages {
    /// Takes the next piece and passes on what people want to see.
    pub(super) fn take(&mut self, bytes: &[u8], log: &mut dyn FnMut(&[u8])) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(&line, log);
        }
    }

    /// Takes what is left at the end.
    pub(super) fn finish(&mut self, log: &mut dyn FnMut(&[u8])) {
        let line = std::mem::take(&mut self.rest);
        self.line(&line, log);
    }

    fn line(&mut self, line: &[u8], log: &mut dyn FnMut(&[u8])) {
        let Ok(message) = serde_json::from_slice::<Message>(line) else { return };
        if message.id == "moby.buildkit.trace" {
            let text = message.aux.as_str().unwrap_or_default();
            if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) {
                self.trace.message(&bytes, log);
            }
            return;
        }
        if let Some(id) = message.aux["ID"].as_str() {
            self.image = Some(id.to_owned());
        }
        // What the engine itself adds: which name the image got.
        log(message.stream.as_bytes());
        let error = [message.error_detail.message, message.error];
        if let Some(error) = error.into_iter().find(|error| !error.is_empty()) {
            let error = plain(&error);
            log(format!("{error}\n").as_bytes());
            self.error = Some(error);
        }
    }
}

/// Says in short why a build failed: engines repeat whole commands.
fn plain(message: &str) -> String {
    let code = message.rsplit_once("exit code: ").map(|(_, code)| code.trim());
    match code.filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()) && !code.is_empty()) {
        Some(code) => format!("a step ended with exit code {code}"),
        None => message.lines().next().unwrap_or_default().chars().take(300).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_engines_are_short() {
        let long = "executor failed running [/bin/sh -c set -e; exit 3]: exit code: 3";
        assert_eq!(plain(long), "a step ended with exit code 3");
        let newer = "process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3";
        assert_eq!(plain(newer), "a step ended with exit code 3");
        assert_eq!(plain("pull access denied\nmore"), "pull access denied");
    }

    #[test]
    fn an_answer_is_read_in_pieces() {
        let answer = r#"{"id":"moby.buildkit.trace","aux":"ChMKAWEaDFsxLzFdIEZST00geCoA"}
{"id":"moby.buildkit.trace","aux":"not base64"}
not json
{"stream":"Successfully tagged a:1\n"}
{"id":"moby.image.id","aux":{"ID":"sha256:333"}}"#;
        let mut messages = Messages::default();
        let mut log = Vec::new();

        for piece in answer.as_bytes().chunks(7) {
            messages.take(piece, &mut |bytes| log.extend_from_slice(bytes));
        }
        messages.finish(&mut |bytes| log.extend_from_slice(bytes));

        assert_eq!(messages.image.as_deref(), Some("sha256:333"));
        assert_eq!(messages.error, None);
        insta::assert_snapshot!(String::from_utf8(log).unwrap(), @"
        Step 1/1: FROM x
        progress 0/1 steps: Step 1/1: FROM x
        Successfully tagged a:1
        ");
    }

    #[test]
    fn an_error_is_kept_and_shown() {
        let mut messages = Messages::default();
        let mut log = Vec::new();

        let answer = br#"{"errorDetail":{"code":1,"message":"no space"},"error":"no space"}"#;
        messages.take(answer, &mut |bytes| log.extend_from_slice(bytes));
        messages.finish(&mut |bytes| log.extend_from_slice(bytes));

        assert_eq!(messages.error.as_deref(), Some("no space"));
        assert_eq!(log, b"no space\n");
    }
}
