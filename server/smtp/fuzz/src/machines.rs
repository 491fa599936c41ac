//! What the drivers of both machines share: a beginning of time, and the reading of their inputs.
//!
//! Not here: the drivers.

use std::sync::LazyLock;
use std::time::Instant;

use crate::ESCAPE;

/// When every session begins. The machines only compare times, so any moment will do.
pub(crate) static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What comes next in the input of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// Bytes of the peer.
    Bytes(&'a [u8]),
    /// Something else happens.
    Event(u8),
}

/// An input in its parts.
pub(crate) fn parts(mut input: &[u8]) -> Vec<Next<'_>> {
    let mut parts = Vec::new();
    while let Some(at) = input.iter().position(|&byte| byte == ESCAPE) {
        let (bytes, rest) = input.split_at(at);
        parts.extend((!bytes.is_empty()).then_some(Next::Bytes(bytes)));
        let Some(&event) = rest.get(1) else { return parts };
        parts.push(Next::Event(event));
        input = rest.get(2..).unwrap_or_default();
    }
    parts.extend((!input.is_empty()).then_some(Next::Bytes(input)));
    parts
}

/// Whether text is lines as SMTP has them: each ends with CRLF, and no other control character is
/// in it, by which a peer could smuggle a line into ours.
pub(crate) fn are_lines(bytes: &[u8]) -> bool {
    let is_line = |line: &[u8]| line.iter().all(|&byte| byte >= b' ' && byte != 0x7F);
    let text = bytes.strip_suffix(b"\r\n").unwrap_or(b"\0");
    let mut lines = text.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let whole = if lines.peek().is_some() { line.strip_suffix(b"\r") } else { Some(line) };
        if !whole.is_some_and(is_line) {
            return false;
        }
    }
    true
}
