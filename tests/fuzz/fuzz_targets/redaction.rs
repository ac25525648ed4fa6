//! Runs `holdfast_core::fuzzing::redaction`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_core::fuzzing::redaction(data));
