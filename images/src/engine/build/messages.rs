//! What an engine answers while it builds: a line of JSON for each thing it has to say.

use base64::Engine as _;
use serde::Deserialize;

use super::step_line::step_line;
use super::trace::Trace;
use crate::progress::{Progress, Unit};

/// Reads the answer, in pieces of any size.
#[derive(Default)]
pub(super) struct Messages {
    rest: Vec<u8>,
    trace: Trace,
    /// The id of what was built.
    pub(super) image: Option<String>,
    /// Why it was not built.
    pub(super) error: Option<String>,
    /// The images that earlier stages of the classic builder ended with.
    pub(super) stages: Vec<String>,
    /// The image that its last step ended with, unless that was there before.
    last: Option<String>,
    cached: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    stream: String,
    status: String,
    id: String,
    aux: serde_json::Value,
    #[serde(rename = "progressDetail")]
    progress: serde_json::Value,
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
        if !message.stream.is_empty() {
            self.classic(&message.stream, log);
        }
        // A pull: only what is not a bar.
        if !message.status.is_empty() && message.progress["total"].is_null() {
            let id = if message.id.is_empty() { String::new() } else { message.id + ": " };
            log(format!("{id}{}\n", message.status).as_bytes());
        }
        let error = [message.error_detail.message, message.error];
        if let Some(error) = error.into_iter().find(|error| !error.is_empty()) {
            let error = plain(&error);
            log(format!("{error}\n").as_bytes());
            self.error = Some(error);
        }
    }

    /// The classic builder says all in words.
    fn classic(&mut self, stream: &str, log: &mut dyn FnMut(&[u8])) {
        if let Some((done, total, what)) = step(stream) {
            if what.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("from ")) {
                self.stages.extend(self.last.take());
            }
            self.cached = false;
            let line = step_line(&done.to_string(), &total.to_string(), "", what.trim_end());
            let what = line.clone();
            let progress = Progress { what, done: done - 1, total, unit: Unit::Steps };
            log(format!("{progress}\n{line}").as_bytes());
            let rest = stream.trim_end_matches('\n').len();
            log(&stream.as_bytes()[rest..]);
            return;
        } else if let Some(id) = stream.strip_prefix(" ---> ") {
            let id = id.trim();
            if id == "Using cache" {
                self.cached = true;
            } else if id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                self.last = (!self.cached).then(|| id.to_owned());
            }
        }
        log(stream.as_bytes());
    }
}

/// Reads `Step 2/5 : RUN x`.
fn step(stream: &str) -> Option<(u64, u64, &str)> {
    let (numbers, what) = stream.strip_prefix("Step ")?.split_once(" : ")?;
    let (at, total) = numbers.split_once('/')?;
    Some((at.parse().ok().filter(|at| *at > 0)?, total.parse().ok()?, what))
}

/// Says in short why a build failed: engines repeat whole commands.
fn plain(message: &str) -> String {
    let after = |words: &str| Some(message.rsplit_once(words)?.1.trim());
    let code = after("exit code: ").or_else(|| after("returned a non-zero code: "));
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
        let classic = "The command '/bin/sh -c exit 3' returned a non-zero code: 3";
        assert_eq!(plain(classic), "a step ended with exit code 3");
        assert_eq!(plain("pull access denied\nmore"), "pull access denied");
    }

    #[test]
    fn the_classic_builder_is_followed() {
        let answer = r#"{"stream":"Step 1/4 : FROM a AS one"}
{"stream":"\n"}
{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}
{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abc"}
{"stream":" ---\u003e 111111111111\n"}
{"stream":"Step 2/4 : RUN x"}
{"stream":"\n"}
{"stream":" ---\u003e 222222222222\n"}
{"stream":"Step 3/4 : FROM a"}
{"stream":" ---\u003e 111111111111\n"}
{"stream":"Step 4/4 : COPY --from=one / /"}
{"stream":" ---\u003e Using cache\n"}
{"stream":" ---\u003e 333333333333\n"}
{"aux":{"ID":"sha256:333"}}
not json
{"stream":"Successfully built 333333333333\n"}"#;
        let mut messages = Messages::default();
        let mut log = Vec::new();

        for piece in answer.as_bytes().chunks(7) {
            messages.take(piece, &mut |bytes| log.extend_from_slice(bytes));
        }
        messages.finish(&mut |bytes| log.extend_from_slice(bytes));

        assert_eq!(messages.image.as_deref(), Some("sha256:333"));
        assert_eq!(messages.stages, ["222222222222"]);
        assert_eq!(messages.error, None);
        insta::assert_snapshot!(String::from_utf8(log).unwrap(), @"
        progress 0/4 steps: Step 1/4: FROM a AS one
        Step 1/4: FROM a AS one
        abc: Pulling fs layer
         ---> 111111111111
        progress 1/4 steps: Step 2/4: RUN x
        Step 2/4: RUN x
         ---> 222222222222
        progress 2/4 steps: Step 3/4: FROM a
        Step 3/4: FROM a ---> 111111111111
        progress 3/4 steps: Step 4/4: COPY --from=one / /
        Step 4/4: COPY --from=one / / ---> Using cache
         ---> 333333333333
        Successfully built 333333333333
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
