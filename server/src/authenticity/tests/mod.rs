//! The checks against a name server that is there, and against the suites of others.

mod arc_suite;
mod arc_trust;
mod checks;
mod dkim_samples;
mod spf_suite;
mod support;
