//! The suites beside the repository, for tests of signing and of checking alike.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The message as it comes by SMTP.
pub(crate) fn with_crlf(message: &str) -> Vec<u8> {
    message.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// A folder of the corpora beside the repository (`GRACE_CORPORA` names another place), or none,
/// and loudly so.
pub(crate) fn corpus(name: &str, test: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let corpora = std::env::var_os("GRACE_CORPORA").map_or_else(beside, PathBuf::from);
    let folder = corpora.join("auth").join(name);
    if folder.exists() {
        return Some(folder);
    }
    // Past the capture of the test runner: what did not run must not look as if it had passed.
    writeln!(std::io::stderr(), "SKIPPED: {test}: no {}", folder.display()).expect("it is said");
    None
}

/// Compares what fails with what is known to, by name; says how many passed.
pub(crate) fn settle(suite: &str, run: usize, failed: &[(String, String)], known: &[(&str, &str)]) {
    let name_of = |(name, _): &(String, String)| name.clone();
    let failing: Vec<String> = failed.iter().map(name_of).collect();
    let expected: Vec<String> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
    let surprises: Vec<&(String, String)> =
        failed.iter().filter(|(name, _)| !expected.contains(name)).collect();
    let healed: Vec<&String> = expected.iter().filter(|name| !failing.contains(*name)).collect();
    let passed = run - failed.len();
    writeln!(std::io::stderr(), "{suite}: {passed} of {run} pass, {} known not to", known.len())
        .expect("it is said");
    assert!(surprises.is_empty(), "{suite}: these fail and were not known to: {surprises:#?}");
    assert!(healed.is_empty(), "{suite}: these pass now, take them off the list: {healed:#?}");
    assert!(run > 0, "{suite} has no tests");
}
