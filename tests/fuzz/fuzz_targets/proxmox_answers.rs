//! Runs `holdfast_proxmox::fuzzing::proxmox_answers`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_proxmox::fuzzing::proxmox_answers(data));
