//! Gives any bytes to `untrusted::scram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::scram(bytes));
