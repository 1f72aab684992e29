//! Metrics as a script writes or prints them: one JSON object a line.

use jiff::Timestamp;
use serde::Deserialize;

/// Longer lines are output, not metrics.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// What was measured.
    pub name: String,
    /// The value; not necessarily finite.
    pub value: f64,
    /// Where in the training it was measured, if said.
    pub step: Option<i64>,
    /// When it was measured, if said.
    pub time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    value: Value,
    #[serde(default)]
    step: Option<i64>,
    #[serde(default, rename = "timeUtc")]
    time_utc: Option<Timestamp>,
}

/// JSON has no word for these three; the texts are what Python's and JavaScript's own use.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Word(NotFinite),
}

#[derive(Deserialize)]
enum NotFinite {
    #[serde(rename = "NaN")]
    Nan,
    #[serde(rename = "Infinity")]
    Infinity,
    #[serde(rename = "-Infinity")]
    MinusInfinity,
}

/// Reads a line as a metric: a JSON object with `name` (a text that is not empty), `value` (a
/// number, `"NaN"`, `"Infinity"` or `"-Infinity"`), optionally `step` (a whole number) and
/// `timeUtc` (RFC 3339), and nothing else. Anything else is not a metric.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Metric> {
    let line = line.trim_ascii();
    // Cheap first: nearly every line of a log is no metric.
    if line.first() != Some(&b'{') || line.last() != Some(&b'}') || line.len() > MAX_LINE_BYTES {
        return None;
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    if line.name.is_empty() {
        return None;
    }
    let value = match line.value {
        Value::Number(number) => number,
        Value::Word(NotFinite::Nan) => f64::NAN,
        Value::Word(NotFinite::Infinity) => f64::INFINITY,
        Value::Word(NotFinite::MinusInfinity) => f64::NEG_INFINITY,
    };
    Some(Metric { name: line.name, value, step: line.step, time: line.time_utc })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_metric_is_exactly_the_documented_object() {
        let metric = |name: &str, value, step| {
            Some(Metric { name: name.to_owned(), value, step, time: None })
        };
        for (line, expected) in [
            (r#"{"name":"loss","value":0.5}"#, metric("loss", 0.5, None)),
            (r#" {"step":3,"value":-1,"name":"a b"} "#, metric("a b", -1.0, Some(3))),
            ("{\"name\":\"x\",\"value\":1e3}\r", metric("x", 1000.0, None)),
            (r#"{"name":"x","value":"Infinity"}"#, metric("x", f64::INFINITY, None)),
            (r#"{"name":"x","value":"-Infinity"}"#, metric("x", f64::NEG_INFINITY, None)),
            (r#"{"name":"x","value":1,"step":null}"#, metric("x", 1.0, None)),
            (r#"{"name":"","value":1}"#, None),
            (r#"{"name":"x"}"#, None),
            (r#"{"value":1}"#, None),
            (r#"{"name":"x","value":"high"}"#, None),
            (r#"{"name":"x","value":true}"#, None),
            (r#"{"name":"x","value":null}"#, None),
            (r#"{"name":"x","value":[1]}"#, None),
            (r#"{"name":7,"value":1}"#, None),
            (r#"{"name":"x","value":1,"step":1.5}"#, None),
            (r#"{"name":"x","value":1,"colour":"red"}"#, None),
            (r#"{"name":"x","value":1}{"name":"y","value":1}"#, None),
            (r#"[{"name":"x","value":1}]"#, None),
            (r#"loss {"name":"x","value":1}"#, None),
            (r#"{"name":"x","value":NaN}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn not_a_number_is_a_value() {
        assert!(parse(br#"{"name":"x","value":"NaN"}"#).unwrap().value.is_nan());
    }

    #[test]
    fn the_time_is_kept() {
        let metric = parse(br#"{"name":"x","value":1,"timeUtc":"2026-01-02T03:04:05Z"}"#).unwrap();
        assert_eq!(metric.time.unwrap().to_string(), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn a_line_that_is_too_long_is_output() {
        let line = format!(r#"{{"name":"{}","value":1}}"#, "x".repeat(MAX_LINE_BYTES));
        assert_eq!(parse(line.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(line: Vec<u8>) {
            drop(parse(&line));
        }

        #[test]
        fn every_finite_value_comes_back(name in ".+", value in proptest::num::f64::NORMAL) {
            let line = serde_json::json!({ "name": name, "value": value }).to_string();
            let metric = parse(line.as_bytes()).unwrap();
            prop_assert_eq!(metric.name, name);
            prop_assert_eq!(metric.value, value);
        }
    }
}
