//! Foreign bytes for `gracedb::fuzz::Target::Index`.

#![no_main]

use gracedb::fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Index, input));
