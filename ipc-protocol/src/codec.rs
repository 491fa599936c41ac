//! A message as bytes and back: bincode 2, little-endian, variable-length integers.
//!
//! Invariants: the limit is checked before memory is taken; bytes left over after a message are an
//! error, so that nothing hides behind it. Not here: the length in front ([`crate::frame`]).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::error::{DecodeError, EncodeError};
use serde::{Serialize, de::DeserializeOwned};

use crate::frame::FROM_SERVER_BYTES_MAX;

/// Written out, so that another default of the library cannot change our wire.
type Wire = Configuration<LittleEndian, Varint, Limit<FROM_SERVER_BYTES_MAX>>;

const WIRE: Wire = bincode::config::standard()
    .with_little_endian()
    .with_variable_int_encoding()
    .with_limit::<FROM_SERVER_BYTES_MAX>();

/// The bytes of a message.
///
/// # Errors
/// A message longer than a frame may be.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, WIRE).map_err(CodecError::Encode)?;
    if bytes.len() > FROM_SERVER_BYTES_MAX {
        return Err(CodecError::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The message of these bytes, all of them.
///
/// # Errors
/// Bytes that are no such message, or more than one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = decode_start(bytes)?;
    if used != bytes.len() {
        return Err(CodecError::TrailingBytes { extra: bytes.len() - used });
    }
    Ok(message)
}

/// The message these bytes begin with, and its length.
///
/// # Errors
/// Bytes that do not begin with such a message.
pub(crate) fn decode_start<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::decode_from_slice(bytes, WIRE).map_err(CodecError::Decode)
}

/// A message could not be made or read.
#[derive(Debug)]
pub enum CodecError {
    /// It cannot be written: our own mistake.
    Encode(EncodeError),
    /// It is longer than a frame may be.
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// These bytes are no such message.
    Decode(DecodeError),
    /// After the message came more.
    TrailingBytes {
        /// How many bytes more.
        extra: usize,
    },
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the message cannot be encoded: {error}"),
            Self::TooLong { bytes } => {
                write!(f, "the message is {bytes} bytes long, more than {FROM_SERVER_BYTES_MAX}")
            }
            Self::Decode(error) => write!(f, "the bytes are not a message: {error}"),
            Self::TrailingBytes { extra } => {
                write!(f, "{extra} bytes follow the message in its frame")
            }
        }
    }
}

impl std::error::Error for CodecError {}
