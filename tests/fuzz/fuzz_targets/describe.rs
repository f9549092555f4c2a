#![no_main]

#[path = "../src/describe.rs"]
mod describe;

libfuzzer_sys::fuzz_target!(|data: &[u8]| describe::describe(data));
