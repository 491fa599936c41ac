//! The hash of a body, taken while it streams (RFC 6376 3.4).
//!
//! ```text
//!   pieces ─▶ Canonical: line ends and white space that wait to be known ─▶ staged ─▶ SHA-256
//! ```
//! Invariants: however the body is cut into pieces, the hash is the same; memory does not grow with
//! the body. Only CRLF ends a line, a CR or LF alone is data.
//! Not here: which hashes a message asks for (`authenticity`).

use mail_auth::common::crypto::{HashContext as _, HashImpl, Sha256};
use mail_auth::common::headers::Writer as _;
use mail_auth::dkim::Canonicalization;

/// Bytes gathered before they are hashed: white space is looked at word by word, and a call for
/// each word would cost more than the hash.
const STAGED_BYTES: usize = 4 * 1_024;

/// The hashes of one body, in the canonicalizations its signatures name.
#[derive(Default)]
pub(crate) struct BodyHashes {
    simple: Option<Canonical>,
    relaxed: Option<Canonical>,
}

/// What a body came to in one canonicalization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyHash {
    /// SHA-256 of all of it.
    pub(crate) sha256: Vec<u8>,
    /// Its length, which `l=` counts.
    pub(crate) bytes: u64,
}

impl BodyHashes {
    /// Takes this canonicalization, too.
    pub(crate) fn want(&mut self, canonicalization: Canonicalization) {
        let (slot, relaxed) = match canonicalization {
            Canonicalization::Simple => (&mut self.simple, false),
            Canonicalization::Relaxed => (&mut self.relaxed, true),
        };
        slot.get_or_insert_with(|| Canonical::new(relaxed));
    }

    /// The next piece of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for canonical in self.simple.iter_mut().chain(&mut self.relaxed) {
            canonical.feed(bytes);
        }
    }

    /// The hashes, of those that were wanted.
    pub(crate) fn finish(self) -> Finished {
        Finished {
            simple: self.simple.map(Canonical::finish),
            relaxed: self.relaxed.map(Canonical::finish),
        }
    }
}

/// The hashes of a whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    simple: Option<BodyHash>,
    relaxed: Option<BodyHash>,
}

impl Finished {
    pub(crate) fn of(&self, canonicalization: Canonicalization) -> Option<&BodyHash> {
        match canonicalization {
            Canonicalization::Simple => self.simple.as_ref(),
            Canonicalization::Relaxed => self.relaxed.as_ref(),
        }
    }
}

/// A body on its way through one canonicalization.
struct Canonical {
    relaxed: bool,
    /// A CR was the last byte of the piece before; what follows says what it was.
    cr: bool,
    /// White space that is one space, unless the line ends here.
    space: bool,
    /// Line ends that count only if more than line ends follows.
    line_ends: u64,
    staged: Vec<u8>,
    hasher: <Sha256 as HashImpl>::Context,
    bytes: u64,
}

impl Canonical {
    fn new(relaxed: bool) -> Self {
        Self {
            relaxed,
            cr: false,
            space: false,
            line_ends: 0,
            staged: Vec::with_capacity(STAGED_BYTES),
            hasher: Sha256::hasher(),
            bytes: 0,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.cr) {
                if first == b'\n' {
                    self.line_ends += 1;
                    self.space = false;
                    bytes = bytes.get(1..).unwrap_or_default();
                    continue;
                }
                self.data(b"\r");
            }
            let special = |&byte: &u8| byte == b'\r' || self.relaxed && is_white(byte);
            let run = bytes.iter().position(special).unwrap_or(bytes.len());
            let (plain, rest) = bytes.split_at_checked(run).unwrap_or((bytes, &[]));
            if !plain.is_empty() {
                self.data(plain);
            }
            bytes = rest;
            if let Some((&special, rest)) = rest.split_first() {
                self.cr = special == b'\r';
                self.space |= special != b'\r';
                bytes = rest;
            }
        }
    }

    /// Bytes that stand in a line, and with them what waited to be known.
    fn data(&mut self, bytes: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.put(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.put(b" ");
        }
        self.put(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.staged.len() + bytes.len() > STAGED_BYTES {
            self.hasher.write(&self.staged);
            self.staged.clear();
        }
        if bytes.len() > STAGED_BYTES {
            self.hasher.write(bytes);
        } else {
            self.staged.extend_from_slice(bytes);
        }
    }

    /// RFC 6376 3.4.3: a simple body ends in one CRLF, an empty one is a CRLF. 3.4.4: a relaxed one
    /// ends in one CRLF, an empty one is nothing.
    fn finish(mut self) -> BodyHash {
        if std::mem::take(&mut self.cr) {
            self.data(b"\r");
        }
        if !self.relaxed || self.bytes > 0 {
            self.put(b"\r\n");
        }
        self.hasher.write(&self.staged);
        BodyHash { sha256: self.hasher.complete().as_ref().to_vec(), bytes: self.bytes }
    }
}

fn is_white(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use mail_auth::common::crypto::HashAlgorithm;

    use super::*;

    const BOTH: [Canonicalization; 2] = [Canonicalization::Simple, Canonicalization::Relaxed];

    /// The whole body, as RFC 6376 3.4 words it, step by step.
    fn as_written(body: &[u8], canonicalization: Canonicalization) -> Vec<u8> {
        let text: String = body.iter().map(|&byte| char::from(byte)).collect();
        let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
        if canonicalization == Canonicalization::Relaxed {
            for line in &mut lines {
                // "Ignore all whitespace at the end of lines", "Reduce all sequences of WSP within
                // a line to a single SP character".
                let mut reduced = String::new();
                for letter in line.trim_end_matches([' ', '\t']).chars() {
                    match letter {
                        ' ' | '\t' if reduced.ends_with(' ') => {}
                        ' ' | '\t' => reduced.push(' '),
                        letter => reduced.push(letter),
                    }
                }
                *line = reduced;
            }
        }
        // "Ignore all empty lines at the end of the message body."
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let mut whole = lines.join("\r\n");
        if !lines.is_empty() || canonicalization == Canonicalization::Simple {
            whole.push_str("\r\n");
        }
        whole.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
    }

    fn hash_of(canonical: &[u8]) -> BodyHash {
        let mut hasher = Sha256::hasher();
        hasher.write(canonical);
        BodyHash { sha256: hasher.complete().as_ref().to_vec(), bytes: canonical.len() as u64 }
    }

    fn streamed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Finished {
        let mut hashes = BodyHashes::default();
        BOTH.into_iter().for_each(|canonicalization| hashes.want(canonicalization));
        pieces.for_each(|piece| hashes.feed(piece));
        hashes.finish()
    }

    /// Numbers that look random, the same each time (xorshift).
    fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap()
        }
    }

    /// A body of the pieces that matter.
    fn body(number: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        const PIECES: [&[u8]; 9] =
            [b"\r\n", b" ", b"\t", b"a", b"word", b"\r\n\r\n", b" \r\n", b"x  y", b"caf\xe9"];
        (0..number(14)).flat_map(|_| PIECES[number(PIECES.len())].to_vec()).collect()
    }

    #[test]
    fn every_chunking_gives_the_hash_of_the_whole() {
        let mut number = numbers(0x6772_6163_6500_0003);
        for _ in 0..3_000 {
            let mut body = body(&mut number);
            if number(4) == 0 {
                // A CR or an LF alone is data.
                body.insert(number(body.len() + 1), *b"\r\n".get(number(2)).unwrap());
            }
            for size in 1..=body.len().max(1) {
                let found = streamed(body.chunks(size));
                for canonicalization in BOTH {
                    let expected = hash_of(&as_written(&body, canonicalization));
                    let found = found.of(canonicalization).unwrap();
                    let text = String::from_utf8_lossy(&body).into_owned();
                    assert_eq!(found, &expected, "{canonicalization:?} of {text:?} by {size}");
                }
            }
        }
    }

    /// The library hashes whole bodies. It agrees, except where the relaxed body ends in lines of
    /// white space: those it keeps, though RFC 6376 3.4.4 makes them empty lines and drops them.
    #[test]
    fn the_library_s_hashes_are_the_same() {
        let mut number = numbers(0x6772_6163_6500_0004);
        let (mut same, mut white) = (0, 0);
        for _ in 0..20_000 {
            let body = body(&mut number);
            let found = streamed(body.chunks(1 + number(7)));
            for canonicalization in BOTH {
                let theirs = HashAlgorithm::Sha256.hash(canonicalization.canonical_body(&body, 0));
                let ours = &found.of(canonicalization).unwrap().sha256;
                let last = body.strip_suffix(b"\r\n").unwrap_or(&body);
                let ends_white = last.last().is_some_and(|&byte| is_white(byte));
                if ours == theirs.as_ref() {
                    same += 1;
                } else {
                    let relaxed = canonicalization == Canonicalization::Relaxed;
                    let text = String::from_utf8_lossy(&body).into_owned();
                    assert!(relaxed && has_white_end(&body), "{text:?} {ends_white}");
                    white += 1;
                }
            }
        }
        assert!(same > 30_000 && white > 100, "{same} same, {white} with a white end");
    }

    /// Whether the body ends in a line of white space alone, or in several with empty ones.
    fn has_white_end(body: &[u8]) -> bool {
        let text = String::from_utf8_lossy(body).into_owned();
        let text = text.trim_end_matches("\r\n");
        let line = text.rsplit("\r\n").next().unwrap_or_default();
        line.ends_with([' ', '\t']) || text.is_empty()
    }

    /// The examples of RFC 6376 3.4.5.
    #[test]
    fn the_examples_of_the_rfc() {
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        let found = streamed(std::iter::once(&body[..]));
        let of = |canonicalization| found.of(canonicalization).unwrap().clone();
        assert_eq!(of(Canonicalization::Relaxed), hash_of(b" C\r\nD E\r\n"));
        assert_eq!(of(Canonicalization::Simple), hash_of(b" C \r\nD \t E\r\n"));
        let empty = streamed(std::iter::empty());
        assert_eq!(empty.of(Canonicalization::Simple), Some(&hash_of(b"\r\n")));
        assert_eq!(empty.of(Canonicalization::Relaxed), Some(&hash_of(b"")));
    }

    #[test]
    fn a_long_body_needs_no_memory() {
        let mut hashes = BodyHashes::default();
        BOTH.into_iter().for_each(|canonicalization| hashes.want(canonicalization));
        let line = [b"x".repeat(20_000), b"\r\n".to_vec()].concat();
        for _ in 0..2_000 {
            hashes.feed(&line);
        }
        for canonical in hashes.simple.iter().chain(&hashes.relaxed) {
            assert!(canonical.staged.capacity() <= STAGED_BYTES);
        }
        assert_eq!(hashes.finish().of(Canonicalization::Simple).unwrap().bytes, 40_004_000);
    }
}
