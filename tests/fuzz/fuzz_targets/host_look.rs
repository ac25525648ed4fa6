//! Runs `holdfast_host::fuzzing::host_look`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_host::fuzzing::host_look(data));
