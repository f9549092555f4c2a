#![no_main]

#[path = "../src/describe.rs"]
mod describe;
#[path = "../src/generated.rs"]
mod generated;
#[path = "../src/parsed.rs"]
mod parsed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| describe::describe(data));
