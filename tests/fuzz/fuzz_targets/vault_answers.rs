//! Runs `holdfast_vault::fuzzing::vault_answers`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_vault::fuzzing::vault_answers(data));
