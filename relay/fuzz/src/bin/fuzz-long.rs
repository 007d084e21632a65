//! One target under libFuzzer, named by `PARAMANT_FUZZ_TARGET`; its arguments are libFuzzer's. Started by `cargo xtask fuzz`.
#![no_main]
// The macro exports the C entry points that libFuzzer calls.
#![allow(unsafe_code, missing_docs, unreachable_pub)]

use std::sync::OnceLock;

use paramant_fuzz::{Target, named, run};

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("PARAMANT_FUZZ_TARGET").unwrap_or_default();
        named(&name).unwrap_or_else(|| panic!("PARAMANT_FUZZ_TARGET is {name:?}, which is no target"))
    })
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| run::once(target(), input));
