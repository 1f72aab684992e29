//! An error and its causes, on one line.

use std::error::Error;

/// Returns `error` and its causes, each after a colon.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = error.source().into_iter().flat_map(causes);
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Returns `error`, its cause, the cause of that, and so on.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::path_error::{IoContext as _, PathError};

    #[test]
    fn causes_follow_what_they_caused() {
        let refused: io::Result<()> = Err(io::ErrorKind::PermissionDenied.into());
        let error: PathError = refused.context("open", "/x").unwrap_err();

        assert_eq!(chain(&error), r#"cannot open "/x": permission denied"#);
        assert_eq!(causes(&error).count(), 2);
        assert_eq!(chain(&io::Error::from(io::ErrorKind::NotFound)), "entity not found");
    }
}
