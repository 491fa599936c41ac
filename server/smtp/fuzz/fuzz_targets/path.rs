//! Foreign bytes for `grace_smtp_fuzz::Target::Path`.

#![no_main]

use grace_smtp_fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Path, input));
