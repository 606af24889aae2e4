//! Gives any bytes to `untrusted::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| app_server::untrusted::proxy_header(bytes));
