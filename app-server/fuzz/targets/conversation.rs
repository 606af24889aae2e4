//! Gives any bytes to `untrusted::conversation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::conversation(bytes));
