//! What determines an image.

use super::Parts;
use crate::definition::DefinitionError;
use crate::definition::requirements::CanonicalLine;
use crate::environment::{DockerBase, DockerEnvironment, DockerPackages};

/// How images are put together. A new number makes those with packages be built again: to be
/// raised when the generated Dockerfile does something else.
const GENERATED_VERSION: &str = "2";

/// Adds the parts of `docker`. False for an image that is used as it is.
pub(super) fn put(
    parts: &mut Parts<'_>,
    docker: &DockerEnvironment,
) -> Result<bool, DefinitionError> {
    if docker.packages.is_none() && matches!(docker.base, DockerBase::Image { .. }) {
        return Ok(false);
    }
    if let Some(bases) = parts.basis.bases {
        parts.put("platform", &bases.platform);
        for (_, digest) in &bases.images {
            // Which of its names an image was asked for by does not count.
            let digest = digest.rsplit_once('@').map_or(digest.as_str(), |(_, digest)| digest);
            parts.put("base image", digest);
        }
    }
    parts.index_settings();
    if let DockerBase::Dockerfile { text, context, build_arguments, target, .. } = &docker.base {
        parts.line("dockerfile", dockerfile(text));
        if let Some(context) = context {
            parts.put("context", &context.to_string());
        }
        for (name, value) in build_arguments {
            parts.put("build argument", &format!("{name}={value}"));
        }
        if let Some(target) = target {
            parts.put("target", target);
        }
    }
    let Some(packages) = &docker.packages else { return Ok(true) };
    parts.put("generated dockerfile", GENERATED_VERSION);
    if let Some(interpreter) = &docker.interpreter {
        parts.put("interpreter", interpreter);
    }
    match packages {
        DockerPackages::Requirements { files } => {
            parts.put("packages", "venv");
            parts.requirements(files)?;
        }
        DockerPackages::UvProject { project } => {
            parts.put("packages", "uv project");
            parts.uv_project(project)?;
        }
        DockerPackages::Conda { packages } => {
            parts.put("packages", "conda");
            parts.conda(packages)?;
        }
    }
    Ok(true)
}

/// Returns the text of a Dockerfile without comments and blank lines, where it is certain that they
/// are that: a here-document may have lines that only look so.
fn dockerfile(text: &str) -> CanonicalLine {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    if !text.contains("<<") {
        let mut directives = true;
        lines.retain(|line| {
            let comment = line.trim_start().strip_prefix('#');
            directives &= comment.is_some_and(is_directive);
            directives || comment.is_none() && !line.is_empty()
        });
    }
    CanonicalLine::digest(&lines.join("\n"), lines)
}

/// Whether a comment on top of a Dockerfile says how it is to be read.
fn is_directive(comment: &str) -> bool {
    comment.split_once('=').is_some_and(|(name, _)| {
        ["syntax", "escape", "check"].contains(&name.trim().to_ascii_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_dockerfiles_do_not_count_and_what_only_looks_so_does() {
        let plain = dockerfile("# syntax=docker/dockerfile:1\nFROM x\nRUN a \\\n  b\n");

        assert_eq!(
            dockerfile(
                "# syntax=docker/dockerfile:1\n# note=1\n\nFROM x  \nRUN a \\\n # why\n  b\n"
            ),
            plain
        );
        assert_ne!(dockerfile("# syntax=other\nFROM x\nRUN a \\\n  b\n"), plain);
        assert_ne!(
            dockerfile("FROM x\nRUN <<E\n# a\nE\n"),
            dockerfile("FROM x\nRUN <<E\n# b\nE\n")
        );
    }
}
