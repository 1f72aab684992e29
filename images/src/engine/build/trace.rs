//! What BuildKit says of a build's steps, as lines for people.

use std::collections::HashMap;

use super::step_line;
use super::wire::{Fields, Value};
use crate::progress::{Progress, Unit};

/// The steps of a build, as far as they are known.
#[derive(Default)]
pub(super) struct Trace {
    /// By digest.
    steps: HashMap<String, Step>,
    /// The step that was announced last.
    shown: String,
    /// The last output did not end its line.
    within_line: bool,
}

#[derive(Default)]
struct Step {
    name: String,
    announced: bool,
    completed: bool,
}

/// One step, as the engine tells of it now.
#[derive(Default)]
struct Vertex {
    digest: String,
    name: String,
    cached: bool,
    started: bool,
    completed: bool,
}

impl Vertex {
    fn read(message: &[u8]) -> Self {
        let mut vertex = Self::default();
        for (number, value) in Fields(message) {
            match (number, value) {
                (1, value) => vertex.digest = value.text(),
                (3, value) => vertex.name = value.text(),
                (4, Value::Number(cached)) => vertex.cached = cached != 0,
                (5, _) => vertex.started = true,
                (6, _) => vertex.completed = true,
                _ => {}
            }
        }
        vertex
    }

    /// Whether it is a step of the Dockerfile and not one of the engine's own.
    fn is_visible(&self) -> bool {
        is_visible(&self.name)
    }
}

fn is_visible(name: &str) -> bool {
    name.starts_with('[') && !name.starts_with("[internal]")
}

impl Trace {
    /// Takes a message of the engine and passes on what it tells.
    pub(super) fn message(&mut self, message: &[u8], log: &mut dyn FnMut(&[u8])) {
        for (number, value) in Fields(message) {
            match number {
                1 => self.vertex(&Vertex::read(value.bytes()), log),
                3 => self.output(value.bytes(), log),
                _ => {}
            }
        }
    }

    fn vertex(&mut self, vertex: &Vertex, log: &mut dyn FnMut(&[u8])) {
        let step = self.steps.entry(vertex.digest.clone()).or_default();
        step.name.clone_from(&vertex.name);
        let news = vertex.started && !step.announced || vertex.completed && !step.completed;
        step.completed |= vertex.completed;
        if news && vertex.is_visible() {
            let announced = std::mem::replace(&mut step.announced, true);
            if !announced {
                let cached = if vertex.cached { " (cached)" } else { "" };
                self.line(&format!("{}{cached}", step_line::of_name(&vertex.name)), log);
                self.shown.clone_from(&vertex.digest);
            }
            self.progress(&vertex.name, log);
        }
    }

    /// Passes on what a step wrote.
    fn output(&mut self, message: &[u8], log: &mut dyn FnMut(&[u8])) {
        let (mut digest, mut bytes) = (String::new(), &[][..]);
        for (number, value) in Fields(message) {
            match number {
                1 => digest = value.text(),
                4 => bytes = value.bytes(),
                _ => {}
            }
        }
        // Steps may run side by side.
        if digest != self.shown
            && let Some(name) = self.steps.get(&digest).map(|step| step.name.clone())
        {
            self.line(&step_line::of_name(&name), log);
            self.shown = digest;
        }
        if let Some(last) = bytes.last() {
            log(bytes);
            self.within_line = *last != b'\n';
        }
    }

    fn progress(&mut self, what: &str, log: &mut dyn FnMut(&[u8])) {
        let visible = self.steps.values().filter(|step| is_visible(&step.name));
        let total = visible.clone().count() as u64;
        let done = visible.filter(|step| step.completed).count() as u64;
        let progress = Progress { what: step_line::of_name(what), done, total, unit: Unit::Steps };
        self.line(&progress.to_string(), log);
    }

    fn line(&mut self, line: &str, log: &mut dyn FnMut(&[u8])) {
        let start = if std::mem::take(&mut self.within_line) { "\n" } else { "" };
        log(format!("{start}{line}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len().to_le_bytes()[0]][..], bytes].concat()
    }

    fn vertex(digest: &str, name: &str, rest: &[u8]) -> Vec<u8> {
        let vertex = [field(1, digest.as_bytes()), field(3, name.as_bytes()), rest.to_vec()];
        field(1, &vertex.concat())
    }

    fn output(digest: &str, text: &str) -> Vec<u8> {
        field(3, &[field(1, digest.as_bytes()), field(4, text.as_bytes())].concat())
    }

    #[test]
    fn steps_and_their_output_become_lines() {
        const STARTED: &[u8] = &[0x2a, 0];
        const COMPLETED: &[u8] = &[0x2a, 0, 0x32, 0];
        let messages = [
            [
                vertex("i", "[internal] load", STARTED),
                vertex("a", "[1/2] FROM x", &[]),
                vertex("b", "[2/2] RUN y", &[]),
            ]
            .concat(),
            vertex("a", "[1/2] FROM x", &[COMPLETED, &[0x20, 1]].concat()),
            vertex("b", "[2/2] RUN y", STARTED),
            output("b", "one\ntw"),
            output("b", "o"),
            vertex("c", "[other 1/1] RUN z", STARTED),
            output("c", "three\n"),
            output("b", "four\n"),
            vertex("b", "[2/2] RUN y", COMPLETED),
            b"\xff\xff".to_vec(),
        ];

        let mut trace = Trace::default();
        let mut log = Vec::new();
        for message in messages {
            trace.message(&message, &mut |bytes| log.extend_from_slice(bytes));
        }

        insta::assert_snapshot!(String::from_utf8(log).unwrap(), @"
        Step 1/2: FROM x (cached)
        progress 1/2 steps: Step 1/2: FROM x
        Step 2/2: RUN y
        progress 1/2 steps: Step 2/2: RUN y
        one
        two
        Step 1/1 of other: RUN z
        progress 1/3 steps: Step 1/1 of other: RUN z
        three
        Step 2/2: RUN y
        four
        progress 2/3 steps: Step 2/2: RUN y
        ");
    }
}
