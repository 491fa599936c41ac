//! Foreign bytes for `grace_smtp_fuzz::Target::Dsn`.

#![no_main]

use grace_smtp_fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Dsn, input));
