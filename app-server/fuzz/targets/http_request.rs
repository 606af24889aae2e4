//! Gives any bytes to `untrusted::http_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::http_request(bytes));
