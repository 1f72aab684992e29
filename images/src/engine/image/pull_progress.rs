//! How far a pull is: the sum of its layers.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

use crate::progress::{Progress, Unit};

/// The layers of one pull.
#[derive(Debug, Default)]
pub(super) struct PullProgress {
    layers: BTreeMap<String, Layer>,
    digest: Option<String>,
}

#[derive(Debug, Default)]
struct Layer {
    bytes: u64,
    total: u64,
    finished: bool,
}

impl PullProgress {
    /// Takes in one message of the engine.
    pub(super) fn take(&mut self, message: &CreateImageInfo) {
        let status = message.status.as_deref().unwrap_or_default();
        if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest = Some(digest.to_owned());
        }
        // `Pulling from library/python` has the tag for an id.
        let Some(id) = message.id.as_ref().filter(|_| !status.starts_with("Pulling from")) else {
            return;
        };
        let layer = self.layers.entry(id.clone()).or_default();
        let detail = message.progress_detail.clone().unwrap_or_default();
        let [current, total] =
            [detail.current, detail.total].map(|n| n.and_then(|n| u64::try_from(n).ok()));
        match status {
            "Downloading" => {
                layer.bytes = current.unwrap_or(layer.bytes);
                layer.total = total.unwrap_or(layer.total).max(layer.bytes);
            }
            "Verifying Checksum" | "Download complete" | "Extracting" => layer.bytes = layer.total,
            "Pull complete" | "Already exists" => {
                layer.bytes = layer.total;
                layer.finished = true;
            }
            _ => {}
        }
    }

    /// Returns the digest that the registry knows the image by, once it is said.
    pub(super) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Sums it up.
    pub(super) fn progress(&self, reference: &str) -> Progress {
        let finished = self.layers.values().filter(|layer| layer.finished).count();
        Progress {
            what: format!("Pulling {reference} ({finished} of {} layers)", self.layers.len()),
            done: self.layers.values().map(|layer| layer.bytes).sum(),
            total: self.layers.values().map(|layer| layer.total).sum(),
            unit: Unit::Bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(messages: &[&str]) -> PullProgress {
        let mut progress = PullProgress::default();
        for message in messages {
            progress.take(&serde_json::from_str(message).unwrap());
        }
        progress
    }

    #[test]
    fn layers_are_summed() {
        let mut messages = vec![
            r#"{"status": "Pulling from library/python", "id": "3.11"}"#,
            r#"{"status": "Already exists", "progressDetail": {}, "id": "a"}"#,
            r#"{"status": "Pulling fs layer", "progressDetail": {}, "id": "b"}"#,
            r#"{"status": "Downloading", "progressDetail": {"current": 5, "total": 100}, "id": "b"}"#,
            r#"{"status": "Downloading", "progressDetail": {"current": 30, "total": 50}, "id": "c"}"#,
        ];
        let so_far = |messages: &[&str]| taken(messages).progress("python:3.11").to_string();
        insta::assert_snapshot!(so_far(&messages), @"progress 35/150 bytes: Pulling python:3.11 (1 of 3 layers)");
        messages.push(r#"{"status": "Download complete", "progressDetail": {}, "id": "b"}"#);
        messages.push(r#"{"status": "Extracting", "progressDetail": {"current": 7, "total": 100}, "id": "b"}"#);
        insta::assert_snapshot!(so_far(&messages), @"progress 130/150 bytes: Pulling python:3.11 (1 of 3 layers)");
        messages.push(r#"{"status": "Pull complete", "progressDetail": {}, "id": "b"}"#);
        insta::assert_snapshot!(so_far(&messages), @"progress 130/150 bytes: Pulling python:3.11 (2 of 3 layers)");
    }

    #[test]
    fn the_digest_is_kept() {
        assert_eq!(taken(&[r#"{"status": "Digest: sha256:aa"}"#]).digest(), Some("sha256:aa"));
        assert_eq!(taken(&[]).digest(), None);
    }

    #[test]
    fn nonsense_does_no_harm() {
        let progress = taken(&[
            "{}",
            r#"{"id": "a"}"#,
            r#"{"status": "Downloading", "progressDetail": {"current": -5, "total": -1}, "id": "b"}"#,
            r#"{"status": "Downloading", "progressDetail": {"current": 5, "total": 1}, "id": "b"}"#,
        ]);
        assert_eq!((progress.progress("x").done, progress.progress("x").total), (5, 5));
    }
}
