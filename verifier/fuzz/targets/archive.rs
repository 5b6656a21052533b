//! A zip, tar or compressed file; the format is recognized by its bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| verifier_fuzz::inspect_as("model.zip", data));
