//! Runs `holdfast_argocd::fuzzing::argocd_object`, which says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holdfast_argocd::fuzzing::argocd_object(data));
