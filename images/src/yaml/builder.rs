//! From the parser's events to a tree of nodes.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Kind, MAX_DEPTH, MAX_NODES, MAX_TEXT, Node, Problem};

/// Builds the tree from the parser's events, and keeps to the budget.
pub(super) struct Builder<'a> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    /// What each anchor stands for, with its size; `None` while it is being read.
    anchors: HashMap<usize, Option<Sized>>,
    nodes: usize,
    bytes: usize,
}

struct Sized {
    node: Node,
    nodes: usize,
    bytes: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let options = granit_parser::options! { emit_comments: false };
        let events = Parser::new_from_str_with_options(text, options);
        Self { text, events, anchors: HashMap::new(), nodes: 0, bytes: 0 }
    }

    pub(super) fn document(mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::DocumentStart(..) => {}
                Event::StreamEnd => break,
                _ if root.is_some() => return Err(self.problem(&span, "a second document")),
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
        root.ok_or_else(|| Problem::at(self.text, 1, 1, "there is nothing in it"))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let at = error.marker();
                Err(Problem::at(self.text, at.line(), at.col() + 1, error.info()))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(self.problem(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Event::Alias(anchor) = event {
            return self.repeated(anchor, span);
        }
        let before = (self.nodes, self.bytes);
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, text.len(), span)?;
                let plain = self.is_plain(style, tag.as_deref(), span)?;
                (anchor, Kind::Scalar { text: text.into_owned(), plain })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.spend(1, 0, span)?;
                self.check_tag(tag.as_deref(), &["seq"], span)?;
                self.open(anchor);
                (anchor, Kind::Sequence(self.items(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.spend(1, 0, span)?;
                self.check_tag(tag.as_deref(), &["map"], span)?;
                self.open(anchor);
                (anchor, Kind::Mapping(self.entries(depth)?))
            }
            _ => return Err(self.problem(span, "a value was expected")),
        };
        let node = Node { kind, line: span.start.line(), column: span.start.col() + 1 };
        if anchor != 0 {
            let (nodes, bytes) = (self.nodes - before.0, self.bytes - before.1);
            self.anchors.insert(anchor, Some(Sized { node: node.clone(), nodes, bytes }));
        }
        Ok(node)
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, Problem> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, &span, depth + 1)?;
            let Kind::Scalar { text, plain } = &key.kind else {
                return Err(self.problem(&span, "a key that is not a word"));
            };
            if *plain && text == "<<" {
                return Err(self.problem(&span, "merge keys (<<) are not read: write the keys out"));
            }
            if !seen.insert(text.clone()) {
                return Err(self.problem(&span, format!("key {text:?} is there twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth + 1)?;
            entries.push((key, value));
        }
    }

    fn repeated(&mut self, anchor: usize, span: &Span) -> Result<Node, Problem> {
        let (nodes, bytes) = match self.anchors.get(&anchor) {
            Some(Some(known)) => (known.nodes, known.bytes),
            _ => return Err(self.problem(span, "an alias of what it is itself part of")),
        };
        self.spend(nodes, bytes, span)?;
        match &self.anchors[&anchor] {
            Some(known) => Ok(known.node.clone()),
            None => Err(self.problem(span, "an alias of what it is itself part of")),
        }
    }

    fn spend(&mut self, nodes: usize, bytes: usize, span: &Span) -> Result<(), Problem> {
        self.nodes += nodes;
        self.bytes += bytes;
        if self.nodes > MAX_NODES {
            return Err(
                self.problem(span, format!("more than {MAX_NODES} values, aliases counted"))
            );
        }
        if self.bytes > MAX_TEXT {
            return Err(self.problem(span, format!("more than {MAX_TEXT} bytes, aliases counted")));
        }
        Ok(())
    }

    /// Tells whether a scalar may stand for more than its text: a number, a truth value, nothing.
    fn is_plain(
        &self,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<bool, Problem> {
        self.check_tag(tag, &["str", "int", "float", "bool", "null"], span)?;
        let forced = tag.is_some_and(|tag| tag.core_suffix() == Some("str") || is_bare(tag));
        let nothing = tag.is_some_and(|tag| tag.core_suffix() == Some("null"));
        Ok(nothing || style == ScalarStyle::Plain && !forced)
    }

    fn check_tag(&self, tag: Option<&Tag>, known: &[&str], span: &Span) -> Result<(), Problem> {
        match tag {
            Some(tag)
                if !is_bare(tag) && !tag.core_suffix().is_some_and(|s| known.contains(&s)) =>
            {
                Err(self.problem(span, format!("tag {} has no meaning here", tag.original())))
            }
            _ => Ok(()),
        }
    }

    fn problem(&self, span: &Span, text: impl Into<String>) -> Problem {
        Problem::at(self.text, span.start.line(), span.start.col() + 1, text)
    }
}

/// Tells whether a tag is the lone `!`, which makes a scalar a text.
fn is_bare(tag: &Tag) -> bool {
    tag.original() == "!"
}
