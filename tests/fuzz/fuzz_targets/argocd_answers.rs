//! Runs `holdfast_argocd::fuzzing::argocd_answers`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_argocd::fuzzing::argocd_answers(data));
