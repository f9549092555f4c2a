#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tachyon::__fuzz::engine(data));
