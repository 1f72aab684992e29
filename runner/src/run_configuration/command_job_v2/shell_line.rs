//! Putting values into a shell line so that each arrives as the text it is.
//!
//! Azure ML replaces a `${{…}}` by its value as text, so that a space splits it and a `;` ends the
//! command. Here a value is quoted for the place it stands in: bare, inside `"…"`, inside `'…'` or
//! inside `$(…)`. Where the shell's reading of the place cannot be known for sure, or quotes would
//! be read as text, the placeholder is refused.

/// What stands in a shell line where a placeholder is not to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The placeholder, as written.
    pub(super) placeholder: String,
    /// Why.
    pub(super) why: String,
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, known now.
    Text(String),
    /// A path below the run's outputs, whose place only the run knows: letters, digits and `_`.
    InOutputs(String),
}

/// The variable that every run has with the absolute path of its outputs.
pub(super) const OUTPUTS_VARIABLE: &str = "TRAINYARD_OUTPUT_DIR";

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Returns `line` with every `${{…}}` replaced by the shell's writing of its value.
///
/// # Errors
///
/// `value_of` refuses the placeholder's name, or the place is none that a value can stand in.
pub(super) fn fill_in(
    line: &str,
    mut value_of: impl FnMut(&str) -> Result<Value, String>,
) -> Result<String, Refused> {
    let mut shell = Shell { stack: vec![Place::Bare], unsure: None, escapes: false };
    let mut out = String::with_capacity(line.len());
    let mut last = String::new();
    let mut rest = line;
    while let Some(next) = rest.chars().next() {
        let Some(inside) = rest.strip_prefix(OPEN) else {
            let taken = shell.step(&line[..line.len() - rest.len()], rest, next);
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        };
        let refused =
            |placeholder: &str, why: String| Refused { placeholder: placeholder.to_owned(), why };
        let Some(end) = inside.find(CLOSE) else {
            return Err(refused(OPEN, "it is never closed with }}".to_owned()));
        };
        let whole = &rest[..OPEN.len() + end + CLOSE.len()];
        let before = &line[..line.len() - rest.len()];
        let after = &rest[whole.len()..];
        let value = value_of(inside[..end].trim()).map_err(|why| refused(whole, why))?;
        let quoted = shell.quoted(before, after, &value).map_err(|why| refused(whole, why))?;
        out.push_str(&quoted);
        whole.clone_into(&mut last);
        rest = after;
    }
    let open = shell.stack.iter().any(|place| !matches!(place, Place::Bare | Place::Comment));
    if !last.is_empty() && open {
        let why = "a quote or bracket of the command is never closed".to_owned();
        return Err(Refused { placeholder: last, why });
    }
    Ok(out)
}

/// Where in its grammar the shell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bare,
    /// Bare, up to the `)` that closes it.
    Bracket,
    Double,
    Single,
    /// `` `…` ``, whose text the shell reads twice.
    Backtick,
    /// `${…}`, whose text has rules of its own.
    Brace,
    Comment,
}

struct Shell {
    stack: Vec<Place>,
    /// Why it is not known where in its grammar the shell is from here on.
    unsure: Option<&'static str>,
    /// Whether a backslash stands before what comes next.
    escapes: bool,
}

impl Shell {
    fn place(&self) -> Place {
        self.stack.last().copied().unwrap_or(Place::Bare)
    }

    /// Follows the shell over the next character or token and returns its length in bytes.
    fn step(&mut self, before: &str, rest: &str, next: char) -> usize {
        match (self.place(), next) {
            (Place::Single, '\'') | (Place::Double, '"') | (Place::Backtick, '`') => self.leave(),
            (Place::Brace, '}') | (Place::Bracket, ')') | (Place::Comment, '\n') => self.leave(),
            (Place::Single | Place::Comment, _) => {}
            (_, '\\') if rest[1..].starts_with(OPEN) => self.escapes = true,
            (_, '\\') => return 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (Place::Backtick | Place::Brace, '"' | '\'') => {
                self.unsure = Some("it comes after quotes inside `…` or ${…}");
            }
            (_, '`') => self.stack.push(Place::Backtick),
            (_, '$') if rest.starts_with("${") => return self.enter(Place::Brace, 2),
            (_, '$') if rest.starts_with("$(") => return self.enter(Place::Bracket, 2),
            (Place::Double, _) => {}
            (_, '"') => self.stack.push(Place::Double),
            (_, '\'') => {
                if before.ends_with('$') {
                    self.unsure = Some("it comes after a $'…', which shells read differently");
                }
                self.stack.push(Place::Single);
            }
            (Place::Bare | Place::Bracket, '(') => self.stack.push(Place::Bracket),
            (Place::Bare | Place::Bracket, '<') if rest.starts_with("<<") => {
                self.unsure = Some("it comes after a <<, where a document may begin");
            }
            (Place::Bare | Place::Bracket, '#') if begins_word(before) => {
                self.stack.push(Place::Comment);
            }
            _ => {}
        }
        self.note_case(before, next);
        next.len_utf8()
    }

    fn leave(&mut self) {
        self.stack.pop();
    }

    fn enter(&mut self, place: Place, taken: usize) -> usize {
        self.stack.push(place);
        taken
    }

    /// The `)` of a `case` pattern closes no bracket, so nothing after a `case` is sure.
    fn note_case(&mut self, before: &str, next: char) {
        let ended = next.is_whitespace() && matches!(self.place(), Place::Bare | Place::Bracket);
        if ended && before.strip_suffix("case").is_some_and(begins_word) {
            self.unsure = Some("it comes after a case");
        }
    }

    /// Writes `value` for where the shell is between `before` and `after`.
    fn quoted(&self, before: &str, after: &str, value: &Value) -> Result<String, String> {
        if let Some(why) = self.unsure {
            return Err(why.to_owned());
        }
        if self.escapes || (before.ends_with('$') && self.place() != Place::Single) {
            return Err("the character before it changes what the shell makes of it".to_owned());
        }
        match value {
            Value::Text(text) => self.quoted_text(before, after, text),
            Value::InOutputs(name) => self.quoted_path(name),
        }
    }

    fn quoted_path(&self, name: &str) -> Result<String, String> {
        match self.place() {
            Place::Single => Ok(format!("'\"${OUTPUTS_VARIABLE}\"'/{name}")),
            Place::Double => Ok(format!("${{{OUTPUTS_VARIABLE}}}/{name}")),
            Place::Bare | Place::Bracket => Ok(format!("\"${OUTPUTS_VARIABLE}\"/{name}")),
            other => Err(other.refusal()),
        }
    }

    fn quoted_text(&self, before: &str, after: &str, value: &str) -> Result<String, String> {
        if value.contains('\0') {
            return Err("its value has a NUL character in it".to_owned());
        }
        let joins_name = ends_in_variable(before);
        match self.place() {
            Place::Single => Ok(value.replace('\'', r"'\''")),
            Place::Double if is_plain(value) && !joins_name => Ok(value.to_owned()),
            // Out of the quotes, in quotes of its own, and back.
            Place::Double => Ok(format!("\"{}\"", single_quoted(value))),
            Place::Bare | Place::Bracket => {
                let alone = !joins_name && !after.starts_with(['<', '>']);
                let bare = alone && is_plain(value) && !RESERVED.contains(&value);
                Ok(if bare { value.to_owned() } else { single_quoted(value) })
            }
            other => Err(other.refusal()),
        }
    }
}

impl Place {
    /// Says why no value can stand here.
    fn refusal(self) -> String {
        match self {
            Self::Backtick => "it is inside `…`: write $(…)",
            Self::Brace => "it is inside ${…}",
            Self::Comment => "it is in a comment",
            Self::Bare | Self::Bracket | Self::Double | Self::Single => "it cannot stand here",
        }
        .to_owned()
    }
}

/// Words that are the shell's own where a command may begin.
const RESERVED: [&str; 17] = [
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for",
    "in", "function", "select", "time", "coproc",
];

fn begins_word(before: &str) -> bool {
    before.is_empty() || before.ends_with(|c: char| c.is_whitespace() || ";&|()`".contains(c))
}

/// Tells whether a text ends in `$name`, which a letter after it would make another name.
fn ends_in_variable(before: &str) -> bool {
    before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').ends_with('$')
}

/// Tells whether a value means itself to the shell, wherever in a word it stands.
fn is_plain(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:,@%".contains(c);
    !value.is_empty() && value.chars().all(plain)
}

fn single_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(line: &str, value: &str) -> Result<String, String> {
        fill_in(line, |name| match name {
            "inputs.x" => Ok(Value::Text(value.to_owned())),
            "outputs.x" => Ok(Value::InOutputs("x".to_owned())),
            _ => Err(format!("unknown {name}")),
        })
        .map_err(|refused| refused.why)
    }

    #[test]
    fn a_value_is_quoted_for_where_it_stands() {
        let lines = [
            "a --lr=${{inputs.x}} b",
            "a ${{ inputs.x }}",
            "a \"<${{inputs.x}}>\"",
            "a '<${{inputs.x}}>'",
            "a $(b ${{inputs.x}})",
            "a \"$(b \"${{inputs.x}}\")\"",
            "a $HOME${{inputs.x}} \"$HOME${{inputs.x}}\"",
            "a ${{inputs.x}}>file",
            "(a ${{inputs.x}}) # ${not} {{it}}",
        ];
        let mut table = String::new();
        for line in lines {
            for value in ["0.01", "a b", "it's;", ""] {
                table += &format!("{line:36} {value:6} {}\n", filled(line, value).unwrap());
            }
        }
        insta::assert_snapshot!(table, @r#"
        a --lr=${{inputs.x}} b               0.01   a --lr=0.01 b
        a --lr=${{inputs.x}} b               a b    a --lr='a b' b
        a --lr=${{inputs.x}} b               it's;  a --lr='it'\''s;' b
        a --lr=${{inputs.x}} b                      a --lr='' b
        a ${{ inputs.x }}                    0.01   a 0.01
        a ${{ inputs.x }}                    a b    a 'a b'
        a ${{ inputs.x }}                    it's;  a 'it'\''s;'
        a ${{ inputs.x }}                           a ''
        a "<${{inputs.x}}>"                  0.01   a "<0.01>"
        a "<${{inputs.x}}>"                  a b    a "<"'a b'">"
        a "<${{inputs.x}}>"                  it's;  a "<"'it'\''s;'">"
        a "<${{inputs.x}}>"                         a "<"''">"
        a '<${{inputs.x}}>'                  0.01   a '<0.01>'
        a '<${{inputs.x}}>'                  a b    a '<a b>'
        a '<${{inputs.x}}>'                  it's;  a '<it'\''s;>'
        a '<${{inputs.x}}>'                         a '<>'
        a $(b ${{inputs.x}})                 0.01   a $(b 0.01)
        a $(b ${{inputs.x}})                 a b    a $(b 'a b')
        a $(b ${{inputs.x}})                 it's;  a $(b 'it'\''s;')
        a $(b ${{inputs.x}})                        a $(b '')
        a "$(b "${{inputs.x}}")"             0.01   a "$(b "0.01")"
        a "$(b "${{inputs.x}}")"             a b    a "$(b ""'a b'"")"
        a "$(b "${{inputs.x}}")"             it's;  a "$(b ""'it'\''s;'"")"
        a "$(b "${{inputs.x}}")"                    a "$(b ""''"")"
        a $HOME${{inputs.x}} "$HOME${{inputs.x}}" 0.01   a $HOME'0.01' "$HOME"'0.01'""
        a $HOME${{inputs.x}} "$HOME${{inputs.x}}" a b    a $HOME'a b' "$HOME"'a b'""
        a $HOME${{inputs.x}} "$HOME${{inputs.x}}" it's;  a $HOME'it'\''s;' "$HOME"'it'\''s;'""
        a $HOME${{inputs.x}} "$HOME${{inputs.x}}"        a $HOME'' "$HOME"''""
        a ${{inputs.x}}>file                 0.01   a '0.01'>file
        a ${{inputs.x}}>file                 a b    a 'a b'>file
        a ${{inputs.x}}>file                 it's;  a 'it'\''s;'>file
        a ${{inputs.x}}>file                        a ''>file
        (a ${{inputs.x}}) # ${not} {{it}}    0.01   (a 0.01) # ${not} {{it}}
        (a ${{inputs.x}}) # ${not} {{it}}    a b    (a 'a b') # ${not} {{it}}
        (a ${{inputs.x}}) # ${not} {{it}}    it's;  (a 'it'\''s;') # ${not} {{it}}
        (a ${{inputs.x}}) # ${not} {{it}}           (a '') # ${not} {{it}}
        "#);
    }

    #[test]
    fn an_output_is_a_path_of_the_run_wherever_it_stands() {
        let line = "a ${{outputs.x}}/y \"$B${{outputs.x}}\" '${{outputs.x}} c'";
        insta::assert_snapshot!(filled(line, "").unwrap(), @r#"a "$TRAINYARD_OUTPUT_DIR"/x/y "$B${TRAINYARD_OUTPUT_DIR}/x" ''"$TRAINYARD_OUTPUT_DIR"'/x c'"#);
    }

    #[test]
    fn where_a_value_cannot_stand_it_is_refused() {
        let lines = [
            "a `b ${{inputs.x}}`",
            "a ${B:-${{inputs.x}}}",
            "a # ${{inputs.x}}",
            "a \\${{inputs.x}}",
            "a $${{inputs.x}}",
            "a \"$${{inputs.x}}\"",
            "cat <<E\n${{inputs.x}}\nE",
            "a $'b' ${{inputs.x}}",
            "case a in a) b ${{inputs.x}};; esac",
            "a \"${{inputs.x}}",
            "a $(b ${{inputs.x}}",
            "a ${{inputs.x",
            "a ${{inputs.y}}",
            "a ${{}}",
        ];
        let mut table = String::new();
        for line in lines {
            table += &format!("{line:40?} {}\n", filled(line, "v").unwrap_err());
        }
        insta::assert_snapshot!(table, @r#"
        "a `b ${{inputs.x}}`" it is inside `…`: write $(…)
        "a ${B:-${{inputs.x}}}" it is inside ${…}
        "a # ${{inputs.x}}" it is in a comment
        "a \\${{inputs.x}}" the character before it changes what the shell makes of it
        "a $${{inputs.x}}" the character before it changes what the shell makes of it
        "a \"$${{inputs.x}}\"" the character before it changes what the shell makes of it
        "cat <<E\n${{inputs.x}}\nE" it comes after a <<, where a document may begin
        "a $'b' ${{inputs.x}}" it comes after a $'…', which shells read differently
        "case a in a) b ${{inputs.x}};; esac" it comes after a case
        "a \"${{inputs.x}}" a quote or bracket of the command is never closed
        "a $(b ${{inputs.x}}" a quote or bracket of the command is never closed
        "a ${{inputs.x" it is never closed with }}
        "a ${{inputs.y}}" unknown inputs.y
        "a ${{}}" unknown
        "#);
    }

    #[test]
    fn a_line_without_placeholders_stays_as_it_is() {
        for line in ["", "a 'b", "cat <<E\n$X\nE", "a ${B} \\", "é '\u{1f600}", "a `b` # '"] {
            assert_eq!(filled(line, "v").as_deref(), Ok(line));
        }
    }

    #[test]
    fn a_nul_is_refused() {
        assert_eq!(
            filled("a ${{inputs.x}}", "\0"),
            Err("its value has a NUL character in it".into())
        );
    }
}
