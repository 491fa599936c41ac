//! Foreign bytes for `gracedb::fuzz::Target::Journal`.

#![no_main]

use gracedb::fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Journal, input));
