//! The fuzzer, on the target that `TRAINYARD_FUZZ_TARGET` names.
#![no_main]

use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TRAINYARD_FUZZ_TARGET").unwrap_or_default();
    fuzz::target(&name).unwrap_or_else(|| panic!("TRAINYARD_FUZZ_TARGET is {name:?}"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.read)(bytes));
