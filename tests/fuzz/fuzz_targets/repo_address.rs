//! Runs `holdfast_repo::fuzzing::repo_address`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_repo::fuzzing::repo_address(data));
