//! What attached machines may be called.

use super::error::RegistryError;

/// Names that mean something already: here, or in run configurations of Azure ML.
const RESERVED: [&str; 3] = ["local", "amlcompute", "containerinstance"];

/// Checks a name by Azure ML's rule: 3 to 24 letters, digits and `-`, a letter first, and a letter
/// somewhere after each `-`.
///
/// # Errors
///
/// It is another one, or means something already.
pub(super) fn check(name: &str) -> Result<(), RegistryError> {
    let wrong = |message: String| {
        let hint = "a target's name has 3 to 24 letters, digits and `-`, begins with a letter, and \
                    has a letter somewhere after each `-`, as gpu-vm";
        Err(RegistryError::Invalid { message, hint: Some(hint.to_owned()) })
    };
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return wrong(format!("the name {name:?} is taken for something else"));
    }
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let letter_first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let letter_last = match name.rsplit_once('-') {
        Some((_, rest)) => rest.contains(|c: char| c.is_ascii_alphabetic()),
        None => true,
    };
    if plain && letter_first && letter_last && (3..=24).contains(&name.len()) {
        return Ok(());
    }
    wrong(format!("{name:?} cannot be a target's name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_azures() {
        for good in ["vm1", "gpu-vm", "gpu-1-vm", "GPU-vm-2b", "a--b", &"a".repeat(24)] {
            check(good).unwrap();
        }
        for bad in [
            "",
            "vm",
            "1vm",
            "-vm",
            "gpu-",
            "gpu-1",
            "a-b-2",
            "gpu_vm",
            "gpu.vm",
            "gpü-vm",
            "../x",
            "a b",
            "local",
            "Local",
            "amlcompute",
            "containerinstance",
            &"a".repeat(25),
        ] {
            assert!(matches!(check(bad), Err(RegistryError::Invalid { .. })), "{bad}");
        }
    }
}
