//! Gives any bytes to `untrusted::start_up`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::start_up(bytes));
