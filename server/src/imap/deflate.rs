//! COMPRESS=DEFLATE: both directions of a connection through DEFLATE (RFC 4978, RFC 1951).
//!
//! ```text
//!   client ──▶ received ──▶ inflate ──▶ at most what was asked for at once
//!   client ◀── deflate, up to a byte's end ◀── what is flushed
//! ```
//! Invariants: what one call gives is bounded by its caller, however well the client's bytes are
//! packed; what was flushed can be read by the client without more to come.
//! Not here: sockets (`wire`).

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// How hard it tries: mail is sent once, and on the way out speed counts. zlib's names for it are 1
/// to 9.
const LEVEL: u32 = 3;

/// Room that is made for compressed bytes at a time.
const ROOM_BYTES: usize = 4 * 1024;

/// Both directions of one connection, with some 300 KiB of tables for the outgoing one.
pub(super) struct Deflate {
    outward: Compress,
    inward: Decompress,
    /// Received, and not yet looked at.
    received: Vec<u8>,
    ended: bool,
}

impl std::fmt::Debug for Deflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deflate").field("received", &self.received.len()).finish_non_exhaustive()
    }
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            outward: Compress::new(Compression::new(LEVEL), false),
            inward: Decompress::new(false),
            received: Vec::new(),
            ended: false,
        }
    }

    /// Takes what the client sent.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// What was received and not looked at: it was sent behind what is compressed.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.received
    }

    /// At most `bytes_max` bytes of what the client said; empty: more must be received.
    pub(super) fn inflate(&mut self, bytes_max: usize) -> io::Result<Vec<u8>> {
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the compressed stream ended"));
        }
        let mut said = Vec::with_capacity(bytes_max);
        let before = self.inward.total_in();
        let done = self.inward.decompress_vec(&self.received, &mut said, FlushDecompress::Sync);
        let status = done.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let used = usize::try_from(self.inward.total_in() - before).unwrap_or(usize::MAX);
        self.received.drain(..used.min(self.received.len()));
        self.ended = status == Status::StreamEnd;
        Ok(said)
    }

    /// What goes to the client for these bytes.
    pub(super) fn deflate(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::with_capacity(bytes.len() / 2 + ROOM_BYTES);
        let mut rest = bytes;
        loop {
            let before = self.outward.total_in();
            let done = self.outward.compress_vec(rest, &mut packed, FlushCompress::Sync);
            done.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let used = usize::try_from(self.outward.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
            // Room that is left means that nothing is held back.
            if rest.is_empty() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(ROOM_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `reader` says when `bytes` come in pieces of `step`, at most 100 bytes at once.
    fn read(reader: &mut Deflate, bytes: &[u8], step: usize) -> Vec<u8> {
        let mut said = Vec::new();
        for piece in bytes.chunks(step) {
            reader.receive(piece);
            loop {
                let some = reader.inflate(100).expect("sound");
                assert!(some.len() <= 100);
                if some.is_empty() {
                    break;
                }
                said.extend(some);
            }
        }
        said
    }

    #[test]
    fn each_flush_can_be_read_at_once() {
        for step in [1, 7, 100_000] {
            let (mut server, mut client) = (Deflate::new(), Deflate::new());
            let mut noise = 12_345_u32;
            for length in [1, 10, 5_000, 0, 70_000, 3] {
                let random = |_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    noise.to_be_bytes()[0]
                };
                let said: Vec<u8> = (0..length).map(random).collect();
                let packed = server.deflate(&said).expect("packed");
                assert_eq!(read(&mut client, &packed, step), said);
            }
        }
    }

    #[test]
    fn well_packed_bytes_come_out_in_bearable_pieces() {
        let (mut client, mut server) = (Deflate::new(), Deflate::new());
        let packed = client.deflate(&vec![b'x'; 1 << 20]).expect("packed");
        assert!(packed.len() < 20_000, "{}", packed.len());
        assert_eq!(read(&mut server, &packed, 1 << 16).len(), 1 << 20);
    }

    /// RFC 8437 4.1: what a client sends behind its last compressed command is not compressed.
    #[test]
    fn what_comes_behind_is_left_as_it_is() {
        let mut client = Compress::new(Compression::new(LEVEL), false);
        let mut packed = Vec::with_capacity(100);
        let done = client.compress_vec(b"a UNAUTHENTICATE\r\n", &mut packed, FlushCompress::Finish);
        assert!(matches!(done, Ok(Status::StreamEnd)), "{done:?}");
        let mut server = Deflate::new();
        server.receive(&[&packed[..], b"b NOOP\r\n"].concat());
        assert_eq!(server.inflate(100).expect("sound"), b"a UNAUTHENTICATE\r\n");
        assert_eq!(server.into_rest(), b"b NOOP\r\n");
    }

    #[test]
    fn what_is_no_deflate_is_an_error() {
        let mut server = Deflate::new();
        server.receive(b"a NOOP\r\n\xff\xff\xff\xff");
        assert!(server.inflate(100).is_err());
    }
}
