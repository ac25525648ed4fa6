//! Runs `holdfast_forge::fuzzing::forge_outbox`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_forge::fuzzing::forge_outbox(data));
