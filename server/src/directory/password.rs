//! Passwords: hashing, checking, making random ones.
//!
//! Argon2id with 46 MiB, one pass, one lane: one of the equally strong choices of the OWASP
//! password storage guidance. It is the one whose memory is above 32 MiB, the size from which on
//! the C library of Linux always gives memory back to the system when it is freed; with 19 MiB and
//! two passes, each thread that had checked a password kept that much for good. The parameters
//! stand in each hash, so raising them later keeps old hashes working.
//! Not here: how many are checked at once (`directory`).

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// Shortest password an account may have, in bytes.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Longest password, in bytes; nobody types more, and hashing time must not grow with it.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Letters of random passwords: no two that look alike. 32 of them, five bits each.
pub(super) const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Random passwords have this many letters: 100 bits.
pub(super) const RANDOM_LETTERS: usize = 20;
/// Bytes of a salt (RFC 9106 3.1 recommends 16).
const SALT_BYTES: usize = 16;

const MEMORY_KIB: u32 = 46 * 1_024;
const PASSES: u32 = 1;
const LANES: u32 = 1;

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password for keeping.
///
/// # Errors
/// The system gives no random bytes, or the password is longer than Argon2 takes.
pub fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|e| format!("the system gives no random bytes: {e}"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    argon2()
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|e| e.to_string())
}

/// Whether `password` is the one `hash` was made of. A hash nobody can read fits no password.
#[must_use]
pub fn fits(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| argon2().verify_password(password, &hash).is_ok())
}

/// A random password that people can read to each other.
///
/// # Errors
/// The system gives no random bytes.
pub fn random() -> Result<Zeroizing<String>, String> {
    let mut bytes = [0; RANDOM_LETTERS];
    getrandom::fill(&mut bytes).map_err(|e| format!("the system gives no random bytes: {e}"))?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('x', char::from);
    Ok(Zeroizing::new(bytes.iter().map(letter).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_alone() {
        let hash = hash("correct horse").expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{hash}");
        assert!(fits(b"correct horse", &hash));
        assert!(!fits(b"correct horsf", &hash));
        assert!(!fits(b"correct horse", "not a hash"));
    }

    #[test]
    fn random_passwords_differ() {
        let (a, b) = (random().expect("random"), random().expect("random"));
        assert_ne!(*a, *b);
        assert_eq!(a.len(), RANDOM_LETTERS);
    }
}
