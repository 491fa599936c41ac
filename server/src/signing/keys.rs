//! Making keys, and making them ready to sign.
//!
//! Not here: which of them sign ([`super`]), with what ([`super::sign`]).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::store::dkim::{DkimKeyRow, KeyAlgorithm};

pub(super) use mail_auth::common::crypto::DkimKey;

/// A new key.
pub(super) struct Made {
    pub(super) algorithm: KeyAlgorithm,
    /// PKCS#8.
    pub(super) private_key: Vec<u8>,
    /// As `p=` has it.
    pub(super) public_key: Vec<u8>,
}

/// Makes an RSA and an Ed25519 key. Takes its time.
pub(super) fn make_pair() -> Result<[Made; 2], String> {
    let failed = |_: Unspecified| "no key could be made: the system has no random numbers";
    Ok([rsa_key().map_err(failed)?, ed25519_key().map_err(failed)?])
}

/// RFC 8301 3.2 asks for 1024 bits at least and wants 2048; the record of
/// a longer one does not fit an answer of 512 bytes, which is all that some name servers get
/// through.
fn rsa_key() -> Result<Made, Unspecified> {
    let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
    let private: Pkcs8V1Der<'_> = pair.as_der()?;
    // RFC 6376 3.6.1 says RSAPublicKey and shows SubjectPublicKeyInfo, and that is what all use.
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
    Ok(Made {
        algorithm: KeyAlgorithm::Rsa,
        private_key: private.as_ref().to_vec(),
        public_key: public.as_ref().to_vec(),
    })
}

/// RFC 8463 4: its public key is published as it is, 32 bytes.
fn ed25519_key() -> Result<Made, Unspecified> {
    let pair = Ed25519KeyPair::generate()?;
    Ok(Made {
        algorithm: KeyAlgorithm::Ed25519,
        private_key: pair.to_pkcs8()?.as_ref().to_vec(),
        public_key: pair.public_key().as_ref().to_vec(),
    })
}

/// A key that can sign.
pub(super) struct Signer {
    pub(super) selector: String,
    pub(super) key: DkimKey,
    /// What it was made from.
    private_key: Vec<u8>,
}

impl Signer {
    /// Reads a key; or why it cannot be read.
    pub(super) fn new(row: DkimKeyRow) -> Result<Self, String> {
        let DkimKeyRow { domain, selector, algorithm, private_key, .. } = row;
        let key = match KeyAlgorithm::from_row(algorithm) {
            KeyAlgorithm::Rsa => {
                let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(private_key.as_slice()));
                RsaKey::<Sha256>::from_key_der(der).map(DkimKey::Rsa)
            }
            KeyAlgorithm::Ed25519 => Ed25519Key::from_pkcs8_der(&private_key).map(DkimKey::Ed25519),
        };
        let key = key.map_err(|e| format!("the key {selector} of {domain} is broken: {e}"))?;
        Ok(Self { selector, key, private_key })
    }

    /// Whether this is the key of that row.
    pub(super) fn is_of(&self, row: &DkimKeyRow) -> bool {
        self.selector == row.selector && self.private_key == row.private_key
    }
}
