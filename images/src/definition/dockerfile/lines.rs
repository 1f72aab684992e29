//! The instructions of a Dockerfile: lines put together, comments and directives taken out.

use std::collections::BTreeMap;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The line it starts at, counted from 1.
    pub(super) line: usize,
    /// In upper case.
    pub(super) name: String,
    /// All that comes after the name, on one line.
    pub(super) rest: String,
}

/// What a Dockerfile says, without what it does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// `# name=value` at the top, by name in lower case.
    pub(super) directives: BTreeMap<String, String>,
    pub(super) instructions: Vec<Instruction>,
}

impl Lines {
    /// Takes `text` apart.
    pub(super) fn read(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut found = Self { directives: directives(text), instructions: Vec::new() };
        let escape = match found.directives.get("escape") {
            Some(value) if value == "`" => '`',
            _ => '\\',
        };
        let mut lines = text.lines().enumerate();
        while let Some((at, first)) = lines.next() {
            let first = first.trim_start();
            if first.is_empty() || first.starts_with('#') {
                continue;
            }
            let mut whole = String::new();
            let mut more = add(&mut whole, first, escape);
            while more {
                let Some((_, line)) = lines.next() else { break };
                let line = line.trim_start();
                // Neither comments nor empty lines end an instruction.
                if !line.is_empty() && !line.starts_with('#') {
                    more = add(&mut whole, line, escape);
                }
            }
            let (name, rest) = whole.split_once(char::is_whitespace).unwrap_or((&whole, ""));
            let name = name.to_ascii_uppercase();
            for (end, indented) in here_documents(&name, rest) {
                let is_end = |line: &str| {
                    let line = if indented { line.trim_start_matches('\t') } else { line };
                    line == end
                };
                lines.by_ref().find(|(_, line)| is_end(line));
            }
            let rest = rest.trim().to_owned();
            found.instructions.push(Instruction { line: at + 1, name, rest });
        }
        found
    }
}

/// Adds a line to an instruction; whether another belongs to it.
fn add(whole: &mut String, line: &str, escape: char) -> bool {
    match line.trim_end().strip_suffix(escape) {
        Some(line) => {
            whole.push_str(line);
            true
        }
        None => {
            whole.push_str(line.trim_end());
            false
        }
    }
}

/// Returns the directives: nothing else may be above them, not even another comment.
fn directives(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let parts = line.trim_start().strip_prefix('#').and_then(|line| line.split_once('='));
        let Some((name, value)) = parts else { break };
        let name = name.trim().to_ascii_lowercase();
        if !["syntax", "escape", "check"].contains(&&*name) || found.contains_key(&name) {
            break;
        }
        found.insert(name, value.trim().to_owned());
    }
    found
}

/// Returns the ends of the texts that follow an instruction, and whether tabs before them do not
/// count.
fn here_documents(name: &str, rest: &str) -> Vec<(String, bool)> {
    if !["RUN", "COPY", "ADD"].contains(&name) {
        return Vec::new();
    }
    let ends = rest.split_whitespace().filter_map(|word| {
        let (_, after) = word.split_once("<<")?;
        let indented = after.starts_with('-');
        let end = after.trim_start_matches('-').trim_matches(['"', '\'']);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // `<<<` is something else, and so is a shift in arithmetic.
        let starts = end.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        (starts && end.chars().all(plain)).then(|| (end.to_owned(), indented))
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let lines = Lines::read(text);
        let shown = lines
            .instructions
            .iter()
            .map(|one| format!("{}: {} [{}]\n", one.line, one.name, one.rest));
        lines.directives.iter().map(|(k, v)| format!("# {k}={v}\n")).chain(shown).collect()
    }

    #[test]
    fn lines_are_put_together_as_docker_does() {
        insta::assert_snapshot!(read(
            "\u{feff}# Syntax = docker/dockerfile:1\n#escape=`\n# a comment\n# check=skip\n\n\
             from a as `  \n  # within\n\n  b\r\n  run echo \\\nENV X=1 `"
        ), @r"
        # escape=`
        # syntax=docker/dockerfile:1
        6: FROM [a as b]
        10: RUN [echo \]
        11: ENV [X=1]
        ");
    }

    #[test]
    fn texts_within_a_dockerfile_are_not_instructions() {
        insta::assert_snapshot!(read(
            "RUN <<EOF sh\nFROM x\n\tEOF\nEOF\nCOPY <<-\"A\" <<B /d/\nFROM\n\tA\nFROM\nB\n\
             RUN cat <<< x && echo $((1<<2))\nLABEL a=<<C\nUSER me"
        ), @"
        1: RUN [<<EOF sh]
        5: COPY [<<-\"A\" <<B /d/]
        10: RUN [cat <<< x && echo $((1<<2))]
        11: LABEL [a=<<C]
        12: USER [me]
        ");
    }

    #[test]
    fn directives_below_anything_else_are_comments() {
        assert_eq!(Lines::read("\n# escape=`\nRUN a").directives.len(), 0);
        assert_eq!(Lines::read("# note\n# escape=`\nRUN a").directives.len(), 0);
        assert_eq!(Lines::read("").instructions.len(), 0);
    }
}
