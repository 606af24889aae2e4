//! Gives any bytes to `untrusted::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::frames(bytes));
