//! Frames: a length, then that many bytes.
//!
//! Invariants: the length is four bytes, little-endian, and checked against the limit before a byte
//! of the body is kept; an empty frame is an error, for no message is empty; after an error the
//! decoder stays broken, for the place of the next frame is unknown.
//! Not here: what the bytes mean ([`crate::codec`]), the hello in front of all frames
//! ([`crate::hello`]).

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// Longest frame to the daemon, in bytes. The longest request is an address and a password.
pub const TO_SERVER_BYTES_MAX: usize = 64 * 1024;

/// Longest frame from the daemon, in bytes: a full part of a list or a full push of events fits.
pub const FROM_SERVER_BYTES_MAX: usize = 1024 * 1024;

const _: () = assert!(TO_SERVER_BYTES_MAX <= FROM_SERVER_BYTES_MAX);
const _: () = assert!(FROM_SERVER_BYTES_MAX < u32::MAX as usize);

/// Puts a length in front of a body.
///
/// # Errors
/// A body that is empty or longer than `bytes_max`.
pub fn write(body: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = check(body.len(), bytes_max)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
    Ok(())
}

fn check(length: usize, bytes_max: usize) -> Result<u32, FrameError> {
    match u32::try_from(length) {
        Ok(0) => Err(FrameError::Empty),
        Ok(fits) if length <= bytes_max => Ok(fits),
        _ => Err(FrameError::TooLong { bytes: length as u64, bytes_max }),
    }
}

/// Takes bytes as they come and gives whole frames.
///
/// It holds what it was given and not yet asked for; feed it again only after [`Decoder::next`]
/// said `None`, and it never holds more than one frame and one read.
#[derive(Debug)]
pub struct Decoder {
    bytes_max: usize,
    held: Vec<u8>,
    /// Bytes at the front of `held` that were handed out already.
    used: usize,
    broken: bool,
}

impl Decoder {
    /// A decoder that refuses frames longer than `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Vec::new(), used: 0, broken: false }
    }

    /// Takes bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        // Moved once per read and never per frame: many small frames in one read cost one move.
        self.held.drain(..self.used);
        self.used = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The body of the next frame, if it is here in full.
    ///
    /// # Errors
    /// A frame that is empty or too long. The decoder is of no use after that.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first None")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if self.broken {
            return Err(FrameError::Broken);
        }
        let held = self.held.get(self.used..).unwrap_or_default();
        let Some((length, rest)) = held.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if let Err(error) = check(length, self.bytes_max) {
            self.broken = true;
            self.held = Vec::new();
            return Err(error);
        }
        let Some(_) = rest.get(..length) else {
            return Ok(None);
        };
        let start = self.used + LENGTH_BYTES;
        self.used = start + length;
        Ok(self.held.get(start..self.used))
    }

    /// Is a frame begun but not whole? Then the end of the stream here is a cut.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        self.held.len() > self.used
    }

    /// Bytes of memory taken.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.held.capacity()
    }
}

/// The stream of frames is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameError {
    /// A frame of no bytes.
    Empty,
    /// A frame longer than allowed.
    TooLong {
        /// The length it claims.
        bytes: u64,
        /// The length allowed.
        bytes_max: usize,
    },
    /// An earlier frame was damaged.
    Broken,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("a frame is empty"),
            Self::TooLong { bytes, bytes_max } => {
                write!(f, "a frame claims {bytes} bytes, {bytes_max} are allowed")
            }
            Self::Broken => f.write_str("an earlier frame was damaged"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whatever_the_cuts() {
        let mut wire = Vec::new();
        for body in [&b"a"[..], b"bc", &[7; 300]] {
            write(body, 300, &mut wire).unwrap();
        }
        for step in 1..wire.len() {
            let mut decoder = Decoder::new(300);
            let mut bodies = Vec::new();
            for piece in wire.chunks(step) {
                decoder.push(piece);
                while let Some(body) = decoder.next().unwrap() {
                    bodies.push(body.to_vec());
                }
            }
            assert_eq!(bodies, [b"a".to_vec(), b"bc".to_vec(), vec![7; 300]], "step {step}");
            assert!(!decoder.is_inside_frame());
        }
    }

    #[test]
    fn a_long_claim_takes_no_memory() {
        let mut decoder = Decoder::new(1_000);
        decoder.push(&u32::MAX.to_le_bytes());
        let error = FrameError::TooLong { bytes: u64::from(u32::MAX), bytes_max: 1_000 };
        assert_eq!(decoder.next(), Err(error));
        decoder.push(&[0; 5_000]);
        assert_eq!(decoder.next(), Err(FrameError::Broken));
        assert_eq!(decoder.capacity_bytes(), 0);
    }

    #[test]
    fn the_limit_is_the_last_length_allowed() {
        let mut wire = Vec::new();
        assert!(write(&[1; 10], 10, &mut wire).is_ok());
        assert!(write(&[1; 11], 10, &mut wire).is_err());
        assert_eq!(write(&[], 10, &mut wire), Err(FrameError::Empty));
        let mut decoder = Decoder::new(10);
        decoder.push(&wire);
        assert_eq!(decoder.next(), Ok(Some(&[1; 10][..])));
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(&[0, 0, 0, 0]);
        assert_eq!(decoder.next(), Err(FrameError::Empty));
    }
}
