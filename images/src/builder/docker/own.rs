//! The user's own Dockerfile.

use super::super::{BuildError, Watch};
use super::bases::{ResolvedBases, is_dockers, proxies};
use super::{Builder, given};
use crate::engine::ImageFacts;
use crate::environment::{DockerBase, DockerEnvironment};

impl Builder<'_> {
    /// Builds the user's Dockerfile as `name`.
    pub(super) fn own(
        &self,
        docker: &DockerEnvironment,
        bases: &ResolvedBases,
        name: &str,
        watch: &mut Watch<'_>,
    ) -> Result<ImageFacts, BuildError> {
        let DockerBase::Dockerfile { name: file, text, context, build_arguments, target } =
            &docker.base
        else {
            unreachable!("only called for a Dockerfile");
        };
        let mut build = self.image_build(name);
        let path = path_in_context(file);
        build.dockerfile.clone_from(&path);
        build.target.clone_from(target);
        if self.workshop.settings.index_settings {
            build.arguments = proxies(self.workshop.host);
        }
        build.arguments.extend(build_arguments.clone());
        build.secrets = self.given.secrets([given::PIP_CONF, given::CA_BUNDLE]);
        let text = without_missing_frontend(text, bases);
        self.run(
            &build,
            |writer| {
                // From here, so that a snapshot without it, or with an older one, does not matter.
                writer.file(&path, text.as_bytes())?;
                if let (Some(root), Some(objects)) = (context, self.workshop.objects) {
                    writer.tree(objects, root, Some(&path))?;
                }
                Ok(())
            },
            watch,
        )
    }
}

/// Returns where the Dockerfile called `name` is put: one outside of the context gets a place there.
fn path_in_context(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !["", "."].contains(part)).collect();
    if name.starts_with('/') || parts.contains(&"..") || parts.is_empty() {
        return format!("{}.trainyard", parts.last().unwrap_or(&"Dockerfile"));
    }
    parts.join("/")
}

/// Leaves out the `# syntax=` line of a frontend that could not be had; lines keep their numbers.
fn without_missing_frontend(text: &str, bases: &ResolvedBases) -> String {
    let missing = |line: &str| {
        let directive = line.trim_start_matches('\u{feff}').trim_start().strip_prefix('#');
        let parts = directive.and_then(|line| line.split_once('='));
        parts.is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("syntax")
                && is_dockers(value.trim())
                && !bases.images.iter().any(|(image, _)| image == value.trim())
        })
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_comment = |line: &&&str| line.trim_start_matches('\u{feff}').starts_with('#');
    let top = lines.iter().take_while(is_comment).count();
    let Some(at) = lines[..top].iter().position(|line| missing(line)) else {
        return text.to_owned();
    };
    // A comment in its place would make comments of the directives below it.
    let kept = [&lines[..at], &lines[at + 1..top], &["#"], &lines[top..]].concat();
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_has_a_place_in_the_context() {
        for (name, path) in [
            ("Dockerfile", "Dockerfile"),
            ("./docker//train.Dockerfile", "docker/train.Dockerfile"),
            ("../Dockerfile", "Dockerfile.trainyard"),
            ("/home/me/Dockerfile", "Dockerfile.trainyard"),
            ("", "Dockerfile.trainyard"),
        ] {
            assert_eq!(path_in_context(name), path, "{name}");
        }
    }

    #[test]
    fn only_the_line_of_a_missing_frontend_is_left_out() {
        let mut bases = ResolvedBases { images: Vec::new(), platform: String::new(), base: None };
        let text = "# escape=`\n# syntax=docker/dockerfile:1\nFROM a\n# syntax=docker/dockerfile:1";

        let left = without_missing_frontend(text, &bases);

        assert_eq!(left, "# escape=`\n#\nFROM a\n# syntax=docker/dockerfile:1\n");
        let first = "# syntax=docker/dockerfile:1\n# escape=`\nFROM a";
        assert_eq!(without_missing_frontend(first, &bases), "# escape=`\n#\nFROM a\n");
        let other = "# syntax=me/frontend:1\nFROM a";
        assert_eq!(without_missing_frontend(other, &bases), other);
        bases.images.push(("docker/dockerfile:1".to_owned(), "sha256:1".to_owned()));
        assert_eq!(without_missing_frontend(text, &bases), text);
    }
}
