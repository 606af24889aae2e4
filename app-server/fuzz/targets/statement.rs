//! Gives any bytes to `untrusted::statement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::statement(bytes));
