//! Where a symbolic link leads: inside the tree or out of it.
//!
//! A link is resolved as the system would, name by name, with every link on the way put in
//! place, but inside the tree only: the first step above its top leads out, even when a later one
//! would come back, because the way back has the name that the tree happens to have here. What
//! does not exist counts as a directory, so that `missing/../../x` is not taken for harmless.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As many links as the system follows on one way.
const MOST_LINKS: usize = 40;

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// Inside the tree, to something that may or may not exist, or round in a circle there.
    Inside {
        /// What to keep as the link's target: its own text, or the relative way to where an
        /// absolute one leads, so that the link means the same wherever the tree is laid out.
        target: Vec<u8>,
    },
    /// Out of the tree.
    Out,
}

/// Returns where a link to `target` in the directory `place` leads, in a tree whose top is `top`.
///
/// `read_link` returns the target of the link at some names from the top, and nothing for
/// anything else.
pub(crate) fn leads(
    top: &Path,
    place: &[&[u8]],
    target: &[u8],
    mut read_link: impl FnMut(&[Vec<u8>]) -> Option<Vec<u8>>,
) -> Leads {
    let Some(relative) = below(top, target) else { return Leads::Out };
    let absolute = target.starts_with(b"/");
    let mut at: Vec<Vec<u8>> = if absolute { vec![] } else { owned(place) };
    let mut ahead: VecDeque<Vec<u8>> = names(relative).map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == b".." {
            if at.pop().is_none() {
                return Leads::Out;
            }
            continue;
        }
        at.push(name);
        let Some(next) = read_link(&at) else { continue };
        links += 1;
        if links > MOST_LINKS {
            break;
        }
        let Some(relative) = below(top, &next) else { return Leads::Out };
        if next.starts_with(b"/") {
            at.clear();
        } else {
            at.pop();
        }
        for name in names(relative).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(name.to_vec());
        }
    }
    let target = if absolute { upwards(place.len(), relative) } else { target.to_vec() };
    Leads::Inside { target }
}

/// Returns the part of an absolute `target` below `top`; a relative one as it is.
fn below<'a>(top: &Path, target: &'a [u8]) -> Option<&'a [u8]> {
    if !target.starts_with(b"/") {
        return Some(target);
    }
    let rest = target.strip_prefix(top.as_os_str().as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/") || top == Path::new("/")).then_some(rest)
}

/// Returns the way from a directory `depth` below the top to `target`, relative to the top.
fn upwards(depth: usize, target: &[u8]) -> Vec<u8> {
    let mut way: Vec<&[u8]> = vec![b".."; depth];
    way.extend(names(target));
    if way.is_empty() { b".".to_vec() } else { way.join(&b'/') }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

fn owned(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree at `/src` with these links, each as `(path, target)`.
    fn resolve(links: &[(&str, &str)], place: &str, target: &str) -> Leads {
        let place: Vec<&[u8]> = names(place.as_bytes()).collect();
        leads(Path::new("/src"), &place, target.as_bytes(), |at| {
            let path = at.join(&b'/');
            let found = links.iter().find(|(from, _)| from.as_bytes() == path)?;
            Some(found.1.as_bytes().to_vec())
        })
    }

    fn inside(target: &str) -> Leads {
        Leads::Inside { target: target.as_bytes().to_vec() }
    }

    #[test]
    fn relative_links_stay_as_they_are_up_to_the_top() {
        assert_eq!(resolve(&[], "a/b", "../../x"), inside("../../x"));
        assert_eq!(resolve(&[], "a/b", "../../../x"), Leads::Out);
        assert_eq!(resolve(&[], "", "a/./b//c"), inside("a/./b//c"));
        assert_eq!(resolve(&[], "", "a/../.."), Leads::Out);
    }

    #[test]
    fn leaving_and_coming_back_leads_out() {
        assert_eq!(resolve(&[], "a", "../../src/x"), Leads::Out);
    }

    #[test]
    fn what_is_missing_cannot_hide_a_step_out() {
        assert_eq!(resolve(&[], "", "missing/../../etc/passwd"), Leads::Out);
    }

    #[test]
    fn absolute_links_into_the_tree_become_relative() {
        assert_eq!(resolve(&[], "a/b", "/src/c/d"), inside("../../c/d"));
        assert_eq!(resolve(&[], "", "/src"), inside("."));
        assert_eq!(resolve(&[], "", "/src/../etc"), Leads::Out);
        assert_eq!(resolve(&[], "", "/srcs/x"), Leads::Out);
        assert_eq!(resolve(&[], "", "/etc/passwd"), Leads::Out);
    }

    #[test]
    fn links_on_the_way_count() {
        let links = [("up", ".."), ("sub", "a/b"), ("abs", "/src/a"), ("etc", "/etc")];
        assert_eq!(resolve(&links, "", "up/x"), Leads::Out);
        assert_eq!(resolve(&links, "", "etc/passwd"), Leads::Out);
        // Through the link, not by the text: a/b/../.. is the top.
        assert_eq!(resolve(&links, "", "sub/../../x"), inside("sub/../../x"));
        assert_eq!(resolve(&links, "", "sub/../../../x"), Leads::Out);
        assert_eq!(resolve(&links, "", "abs/../x"), inside("abs/../x"));
        assert_eq!(resolve(&links, "", "abs/../../x"), Leads::Out);
    }

    #[test]
    fn circles_stay_inside() {
        let links = [("self", "self"), ("a", "b"), ("b", "a")];
        assert_eq!(resolve(&links, "", "self"), inside("self"));
        assert_eq!(resolve(&links, "", "a/x"), inside("a/x"));
    }
}
