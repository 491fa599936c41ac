//! Foreign bytes for `grace_imap_fuzz::Target::Search`.

#![no_main]

use grace_imap_fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Search, input));
