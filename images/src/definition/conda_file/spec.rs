//! Match specs: `channel::name>=1,<2`, `name=1.3=build`, `name[version='>=1']`.

use std::fmt;

/// What a conda file asks for of one package, taken apart as far as the key and pip need it. The
/// solver reads [`text`](Self::text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CondaSpec {
    /// The whole, as written.
    pub text: String,
    /// Where it is to come from, if that is said.
    pub channel: Option<String>,
    /// The package, in lower case.
    pub name: String,
    /// The versions, without spaces: `>=1,<2`, `=1.3`, `==1.3`; `1.3` alone is that version.
    pub version: Option<String>,
    /// The build string.
    pub build: Option<String>,
    /// What stands in brackets, without spaces: `[subdir=linux-64]`. Version and build are taken
    /// out of it.
    pub other: Option<String>,
}

impl CondaSpec {
    /// Takes a spec apart; what cannot be one is told in words.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("a package is one line");
        }
        // A comment is part of the text where it stands in quotation marks.
        let plain = text.split_once(" #").map_or(text, |(plain, _)| plain.trim());
        let (plain, brackets) = match plain.split_once('[') {
            Some((plain, rest)) => {
                let inner = rest.trim_end().strip_suffix(']').ok_or("a bracket is open")?;
                (plain.trim(), Some(inner))
            }
            None => (plain, None),
        };
        let (channel, rest) = match plain.rsplit_once("::") {
            Some((channel, rest)) => (Some(channel.trim().to_owned()), rest.trim()),
            None => (None, plain),
        };
        let name_end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        let (name, rest) = rest.split_at(name_end.unwrap_or(rest.len()));
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return Err("a package begins with its name");
        }
        if !rest.is_empty() && !rest.starts_with(|c: char| c == ' ' || "=<>!~".contains(c)) {
            return Err("after a package's name comes its version");
        }
        let (version, build) = version_and_build(rest);
        let mut spec = Self {
            text: plain_text(plain, brackets),
            channel: channel.filter(|channel| !channel.is_empty()),
            name: name.to_ascii_lowercase(),
            version,
            build,
            other: None,
        };
        if let Some(brackets) = brackets {
            spec.take_brackets(brackets);
        }
        Ok(spec)
    }

    /// Returns the text without the channel in front.
    pub(crate) fn without_channel(&self) -> &str {
        let plain = self.text.split('[').next().unwrap_or_default();
        plain.rfind("::").map_or(&self.text, |at| self.text[at + 2..].trim_start())
    }

    fn take_brackets(&mut self, brackets: &str) {
        let mut others = Vec::new();
        for part in split_outside_quotes(brackets) {
            let (key, value) = part.split_once('=').unwrap_or((&part, ""));
            let value = value.trim().trim_matches(['"', '\'']);
            let bare: String = value.split_whitespace().collect();
            match key.trim() {
                "version" => self.version = Some(bare),
                "build" => self.build = Some(bare),
                "channel" => self.channel = Some(bare),
                key => others.push(format!("{key}={bare}")),
            }
        }
        others.sort_unstable();
        self.other = Some(others.join(",")).filter(|others| !others.is_empty());
    }
}

/// The one form: no spaces, so that it can be compared.
impl fmt::Display for CondaSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = &self.channel {
            write!(f, "{channel}::")?;
        }
        write!(f, "{}", self.name)?;
        if let Some(version) = &self.version {
            let bare = version.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
            write!(f, "{}{version}", if bare { "==" } else { "" })?;
        }
        if let Some(build) = &self.build {
            write!(f, "@{build}")?;
        }
        match &self.other {
            Some(other) => write!(f, "[{other}]"),
            None => Ok(()),
        }
    }
}

fn plain_text(plain: &str, brackets: Option<&str>) -> String {
    match brackets {
        Some(brackets) => format!("{plain}[{brackets}]"),
        None => plain.to_owned(),
    }
}

/// Splits ` >=1, <2 build`, `=1.3=build` and `==1.3`.
fn version_and_build(rest: &str) -> (Option<String>, Option<String>) {
    let mut words: Vec<String> = Vec::new();
    for word in rest.split_whitespace() {
        // An operator or a comma binds what follows it.
        let open =
            words.last().is_some_and(|last| last.ends_with(|c: char| ",|=<>!~(".contains(c)));
        match words.last_mut() {
            Some(last) if open || word.starts_with([',', '|', ')']) => *last += word,
            _ => words.push(word.to_owned()),
        }
    }
    let mut words = words.into_iter();
    let (Some(version), build) = (words.next(), words.next()) else { return (None, None) };
    // `=1.3=build`: the second sign, where it is no part of an operator.
    let start = version.find(|c: char| !"=<>!~".contains(c)).unwrap_or(version.len());
    let split = version[start..].find('=').map(|at| at + start);
    match (split, build) {
        (Some(at), None)
            if !version[..at].ends_with([',', '|', '<', '>', '!', '~'])
                && !version[at + 1..].starts_with('=') =>
        {
            let exact = version[..at].strip_prefix('=').unwrap_or(&version[..at]);
            (
                Some(format!("=={}", exact.trim_start_matches('='))),
                Some(version[at + 1..].to_owned()),
            )
        }
        (_, build) => (Some(version), build),
    }
}

fn split_outside_quotes(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, ',') => parts.push(String::new()),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (_, _) => {}
        }
        if (c != ',' || quote.is_some())
            && let Some(last) = parts.last_mut()
        {
            last.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_have_one_form_without_spaces() {
        let table: Vec<String> = [
            "Python",
            "python=3.10",
            "python = 3.10",
            "python==3.10.1",
            "python 3.10.1",
            "python 3.10.*",
            "numpy >=1.2, <2",
            "numpy>=1.2,<2",
            "numpy=1.11.1=py35_0",
            "numpy 1.11.1 py35_0",
            "numpy ==1.11.1 py35_0",
            "numpy=1.11|1.12",
            "conda-forge::blas=*=openblas",
            "https://host/channel::six",
            "six[version='>=1, <2', build=py_0, subdir=noarch]",
            "six ~=1.3 # for old code",
        ]
        .iter()
        .map(|text| format!("{text}  →  {}", CondaSpec::parse(text).unwrap()))
        .collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
        Python  →  python
        python=3.10  →  python=3.10
        python = 3.10  →  python=3.10
        python==3.10.1  →  python==3.10.1
        python 3.10.1  →  python==3.10.1
        python 3.10.*  →  python==3.10.*
        numpy >=1.2, <2  →  numpy>=1.2,<2
        numpy>=1.2,<2  →  numpy>=1.2,<2
        numpy=1.11.1=py35_0  →  numpy==1.11.1@py35_0
        numpy 1.11.1 py35_0  →  numpy==1.11.1@py35_0
        numpy ==1.11.1 py35_0  →  numpy==1.11.1@py35_0
        numpy=1.11|1.12  →  numpy=1.11|1.12
        conda-forge::blas=*=openblas  →  conda-forge::blas==*@openblas
        https://host/channel::six  →  https://host/channel::six
        six[version='>=1, <2', build=py_0, subdir=noarch]  →  six>=1,<2@py_0[subdir=noarch]
        six ~=1.3 # for old code  →  six~=1.3
        "#);
    }

    #[test]
    fn what_is_no_package_is_told_in_words() {
        let table: Vec<String> =
            ["", "-c evil", "==1.0", "six[version=1", "six;x", "a\nb", "six(1)"]
                .iter()
                .map(|text| format!("{text:?}  {}", CondaSpec::parse(text).unwrap_err()))
                .collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
        ""  a package begins with its name
        "-c evil"  a package begins with its name
        "==1.0"  a package begins with its name
        "six[version=1"  a bracket is open
        "six;x"  after a package's name comes its version
        "a\nb"  a package is one line
        "six(1)"  after a package's name comes its version
        "#);
    }
}
