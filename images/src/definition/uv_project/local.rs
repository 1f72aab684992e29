//! What a project refers to in its own directory or elsewhere on the disk: it would not be there
//! where the environment is built.

use toml::{Table, Value};

use super::{DefinitionError, LOCK, PYPROJECT, table, wrong};

const HINT: &str = "Put the code into the source directory, or install it from an index or an \
                    https:// URL.";

/// Refuses dependencies that are local.
pub(super) fn check(
    pyproject: &Table,
    lock: Option<&Table>,
    dependencies: &[String],
) -> Result<(), DefinitionError> {
    if let Some(one) = dependencies.iter().find(|one| one.contains("file:")) {
        return Err(wrong(PYPROJECT, format!("{one:?} is on the local disk"), HINT));
    }
    let sources = table(pyproject, &["tool", "uv", "sources"]);
    for (name, source) in sources.into_iter().flatten() {
        // One, or one for each marker.
        let several = source.as_array().map_or_else(|| std::slice::from_ref(source), Vec::as_slice);
        for key in ["path", "workspace"] {
            if several.iter().any(|source| source.get(key).is_some()) {
                return Err(wrong(
                    PYPROJECT,
                    format!("{name:?} comes from a {key}, which is local"),
                    HINT,
                ));
            }
        }
    }
    let indexes = table(pyproject, &["tool", "uv"]).and_then(|uv| uv.get("index")?.as_array());
    for index in indexes.into_iter().flatten() {
        if let Some(url) = index.get("url").and_then(Value::as_str).filter(|url| is_relative(url)) {
            return Err(wrong(PYPROJECT, format!("index {url:?} is a relative path"), HINT));
        }
    }
    let packages = lock.and_then(|lock| lock.get("package")?.as_array());
    packages.into_iter().flatten().filter(|package| !is_root(package)).try_for_each(of_package)
}

fn of_package(package: &Value) -> Result<(), DefinitionError> {
    let name = package.get("name").and_then(Value::as_str).unwrap_or_default();
    let Some(source) = package.get("source") else { return Ok(()) };
    let local = ["path", "directory", "editable", "virtual"];
    if let Some(key) = local.iter().find(|key| source.get(key).is_some()) {
        return Err(wrong(LOCK, format!("{name:?} has a local source ({key})"), HINT));
    }
    let registry = source.get("registry").and_then(Value::as_str);
    if registry.is_some_and(is_relative) {
        return Err(wrong(LOCK, format!("{name:?} comes from a relative path"), HINT));
    }
    Ok(())
}

/// Whether a package of a lock is the project itself, which is never installed.
pub(super) fn is_root(package: &Value) -> bool {
    let source = package.get("source");
    ["virtual", "editable"].iter().any(|key| {
        source.and_then(|source| source.get(key)?.as_str()).is_some_and(|path| path == ".")
    })
}

fn is_relative(url: &str) -> bool {
    !url.contains("://") && !url.starts_with('/')
}
