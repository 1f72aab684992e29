//! Finds the import statements of a Python file by its text alone.
//!
//! Nothing is run and nothing is parsed in full: strings and comments are taken out, lines that
//! belong together are joined, and what then starts with `import` or `from` is looked at.

/// A module that a file imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// How many dots are in front: 0 for an absolute import, 1 for the file's own package.
    pub(super) dots: usize,
    /// The parts of the dotted name; empty in `from . import x`.
    pub(super) module: Vec<String>,
    /// What is taken from the module, each of which may itself be a module.
    pub(super) names: Vec<String>,
    /// The line of the statement, counted from 1.
    pub(super) line: u32,
}

/// Returns what `text` imports, wherever in the file it does.
pub(super) fn imports(text: &[u8]) -> Vec<Import> {
    statements(text).iter().flat_map(|(line, text)| import(*line, text)).collect()
}

fn import(line: u32, statement: &str) -> Vec<Import> {
    let words = statement.trim();
    if let Some(modules) = words.strip_prefix("import").filter(|rest| rest.starts_with(BLANK)) {
        return listed(modules)
            .map(|name| Import { dots: 0, module: dotted(name), names: Vec::new(), line })
            .filter(|import| !import.module.is_empty())
            .collect();
    }
    let from = words.strip_prefix("from").filter(|rest| rest.starts_with([' ', '\t', '.']));
    let Some((module, names)) = from.and_then(split_import) else { return Vec::new() };
    let module = module.trim();
    let name = module.trim_start_matches(['.', ' ', '\t']);
    let dots = module[..module.len() - name.len()].matches('.').count();
    let names = names.trim().trim_start_matches('(').trim_end_matches(')');
    let names = listed(names).filter(|name| *name != "*").map(str::to_owned).collect();
    let import = Import { dots, module: dotted(name), names, line };
    if import.dots == 0 && import.module.is_empty() { Vec::new() } else { vec![import] }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Splits `a.b import c` at its `import`, which `from .import c` has no space in front of.
fn split_import(text: &str) -> Option<(&str, &str)> {
    text.match_indices("import").find_map(|(at, word)| {
        let (module, names) = (&text[..at], &text[at + word.len()..]);
        let alone = module.ends_with([' ', '\t', '.']) && names.starts_with([' ', '\t', '(', '*']);
        alone.then_some((module, names))
    })
}

/// Returns the names of a list, without what they are called `as`.
fn listed(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').filter_map(|name| name.split_whitespace().next())
}

fn dotted(name: &str) -> Vec<String> {
    name.split('.').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Splits a file into statements, each with the line it starts at. What is left of them is enough
/// to recognise imports: strings are gone, and a colon ends a statement too.
fn statements(text: &[u8]) -> Vec<(u32, String)> {
    let text = String::from_utf8_lossy(text);
    let mut scan = Scan {
        rest: &text,
        line: 1,
        depth: 0,
        started: 1,
        statement: String::new(),
        found: Vec::new(),
    };
    while let Some(c) = scan.take() {
        match c {
            '#' => scan.skip_comment(),
            '"' | '\'' => scan.skip_string(c),
            '\\' if scan.rest.starts_with('\n') => drop(scan.take()),
            '\\' if scan.rest.starts_with("\r\n") => drop((scan.take(), scan.take())),
            '(' | '[' | '{' => {
                scan.depth += 1;
                scan.statement.push(c);
            }
            ')' | ']' | '}' => {
                scan.depth = scan.depth.saturating_sub(1);
                scan.statement.push(c);
            }
            '\n' | '\r' if scan.depth > 0 => scan.statement.push(' '),
            '\n' | '\r' | ';' | ':' if scan.depth == 0 => scan.end(),
            c => scan.push(c),
        }
    }
    scan.end();
    scan.found
}

struct Scan<'a> {
    rest: &'a str,
    line: u32,
    /// How many brackets are open.
    depth: usize,
    /// The line that the statement starts at.
    started: u32,
    statement: String,
    found: Vec<(u32, String)>,
}

impl Scan<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn push(&mut self, c: char) {
        if self.statement.is_empty() {
            if c.is_whitespace() {
                return;
            }
            self.started = self.line;
        }
        self.statement.push(c);
    }

    fn end(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        if statement.starts_with("import") || statement.starts_with("from") {
            self.found.push((self.started, statement));
        }
    }

    fn skip_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    /// Goes to the end of a string whose first quote has been taken. A string on one line that
    /// does not end there ends with the line.
    fn skip_string(&mut self, quote: char) {
        let triple = [quote; 3].iter().collect::<String>();
        let long = self.rest.starts_with(&triple[1..]);
        if long {
            self.rest = &self.rest[2..];
        }
        // Whatever starts with a string is no import.
        self.push('"');
        loop {
            if long && self.rest.starts_with(&triple) {
                self.rest = &self.rest[3..];
                return;
            }
            if !long && self.rest.starts_with('\n') {
                return;
            }
            match self.take() {
                None => return,
                Some('\\') => drop(self.take()),
                Some(c) if c == quote && !long => return,
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_wherever_they_are() {
        let text = r#"
"""import in_a_string
from x import y"""
import a
import b.c as d, e ; import f
from . import g
from .h import i as j, k
from ..l.m import (n,
    o,  # import comment
    p as q,
)
from .import r
from s import*
try: import t
except ImportError: import u as v
if x:
    import w, \
        x.y
def f(a: int = {"import": 1}) -> None: from z import zz
x = 'it''s'; print("import no\"import no")
importlib.import_module("no")
from_ = 1
importer = 2
# import no
    from aa.bb import cc
f"{import_}" ; import dd
s = r'\'; import no'
yield_from = [
import_in_brackets]
import
from
from q
raise X from e
from ee import (ff)
import gg
"#;
        let found: String = imports(text.as_bytes())
            .iter()
            .map(|i| {
                let dots = ".".repeat(i.dots);
                format!("{}: {dots}{} {}\n", i.line, i.module.join("."), i.names.join(","))
            })
            .collect();
        insta::assert_snapshot!(found, @r#"
        4: a 
        5: b.c 
        5: e 
        5: f 
        6: . g
        7: .h i,k
        8: ..l.m n,o,p
        12: . r
        13: s 
        14: t 
        15: u 
        17: w 
        17: x.y 
        19: z zz
        25: aa.bb cc
        26: dd 
        34: ee ff
        35: gg
        "#);
    }

    #[test]
    fn line_ends_and_odd_bytes_do_no_harm() {
        let modules =
            |text: &[u8]| imports(text).iter().map(|i| i.module.join(".")).collect::<Vec<_>>();
        assert_eq!(modules(b"import a\r\nimport b\r\n"), ["a", "b"]);
        assert_eq!(modules(b"import a, \\\r\n b\r\n"), ["a", "b"]);
        assert_eq!(modules(b"\xff\xfe\0import"), Vec::<String>::new());
        assert_eq!(modules("s = 'ä\nimport a".as_bytes()), ["a"]);
        assert_eq!(modules(b"'''never ends\nimport a"), Vec::<String>::new());
        assert_eq!(modules(b"((((\nimport a"), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a .,*()'\"\\\\\n\r#:;ä]{0,40}(import|from)?[a .,*()'\"\\\\\n]{0,20}") {
            imports(text.as_bytes());
        }
    }
}
