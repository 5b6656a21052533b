//! An HDF5 file, with a Keras model or without.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| verifier_fuzz::inspect_as("model.h5", data));
