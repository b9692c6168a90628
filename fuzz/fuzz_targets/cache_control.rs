#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bartizan::cache::fuzzing::cache_control(input));
