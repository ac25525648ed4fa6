//! Runs `holdfast_forge::fuzzing::forge_answers`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_forge::fuzzing::forge_answers(data));
