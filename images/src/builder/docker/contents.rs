//! What is in an image that was built: its Python and the packages of that.

use std::time::Duration;

use super::super::{BuildError, Watch};
use crate::engine::{ContainerSpec, Engine, EngineError, ImageFacts, ShortRun};
use crate::interpreter::probe::{FACTS, MARK, PACKAGES};

/// How long the image's Python may take to say what it is and has.
const DEADLINE: Duration = Duration::from_secs(120);

/// What Python is called, where nothing else was said.
const USUAL: &[&str] = &["python", "python3"];

/// What an image's Python says of itself. All empty without one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The Python to start: a path or a name.
    pub(super) interpreter: String,
    pub(super) version: Option<String>,
    pub(super) prefix: String,
    pub(super) packages: Vec<String>,
}

/// Asks the Python called `interpreter`, else `python` and `python3`, what it is.
pub(super) fn ask(
    engine: &Engine,
    image: &ImageFacts,
    interpreter: Option<&str>,
    home: &str,
    watch: &mut Watch<'_>,
) -> Result<Contents, BuildError> {
    let names = interpreter.map_or_else(|| USUAL.to_vec(), |name| vec![name]);
    if let Some(contents) = find(engine, &image.id, &names, home)? {
        return Ok(contents);
    }
    let names = names.join(" and no ");
    (watch.log)(format!("the image has no {names} that says what it is\n").as_bytes());
    let interpreter = interpreter.unwrap_or("python").to_owned();
    Ok(Contents { interpreter, ..Contents::default() })
}

/// Returns the Python that is started in the image `id` where none is named, and its version;
/// `None` if it has none.
pub(crate) fn python_of(
    engine: &Engine,
    id: &str,
    home: &str,
) -> Result<Option<(String, Option<String>)>, EngineError> {
    let found = find(engine, id, USUAL, home)?;
    Ok(found.map(|contents| (contents.interpreter, contents.version)))
}

fn find(
    engine: &Engine,
    id: &str,
    names: &[&str],
    home: &str,
) -> Result<Option<Contents>, EngineError> {
    for name in names {
        let spec = ContainerSpec {
            image: id.to_owned(),
            entrypoint: vec![(*name).to_owned()],
            command: vec!["-I".to_owned(), "-c".to_owned(), format!("{FACTS}\n{PACKAGES}")],
            environment: [("LC_ALL".to_owned(), "C.UTF-8".to_owned())].into(),
            network: "none".to_owned(),
            working_directory: "/".to_owned(),
            ..ContainerSpec::default()
        };
        let short = ShortRun { home, purpose: "contents", limit: DEADLINE };
        match engine.run_container(&spec, short) {
            Ok((_, output, _)) => {
                if let Some(contents) = read(name, &String::from_utf8_lossy(&output)) {
                    return Ok(Some(contents));
                }
            }
            Err(EngineError::NoProgram { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads the answer: a marked line, and one for each package behind it.
fn read(name: &str, output: &str) -> Option<Contents> {
    let mut lines = output.lines();
    let facts = lines.find_map(|line| line.strip_prefix(MARK))?;
    let facts: serde_json::Value = serde_json::from_str(facts).ok()?;
    let text = |field: &str| facts[field].as_str().map(str::to_owned);
    Some(Contents {
        interpreter: name.to_owned(),
        version: text("version"),
        prefix: text("prefix").unwrap_or_default(),
        packages: lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_comes_before_it() {
        let output = "hello\n\ntrainyard-probe {\"version\": \"3.11.2\", \"prefix\": \"/usr\"}\n\
                      joblib==1.4\nsix==1.16.0\n";

        let contents = read("python3", output).unwrap();

        assert_eq!(contents.version.as_deref(), Some("3.11.2"));
        assert_eq!((&*contents.interpreter, &*contents.prefix), ("python3", "/usr"));
        assert_eq!(contents.packages, ["joblib==1.4", "six==1.16.0"]);
        assert_eq!(read("python3", "something else"), None);
    }
}
