//! Runs `holdfast::fuzzing::plan`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast::fuzzing::plan(data));
