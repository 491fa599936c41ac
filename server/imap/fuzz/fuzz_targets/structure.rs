//! Foreign bytes for `grace_imap_fuzz::Target::Structure`.

#![no_main]

use grace_imap_fuzz::{Target, run};

libfuzzer_sys::fuzz_target!(|input: &[u8]| run(Target::Structure, input));
