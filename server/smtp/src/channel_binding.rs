//! What ties a login to the TLS it came by (RFC 5056), so that nobody between us and the client can
//! pass it on: `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929).
//!
//! Invariants: a binding is named as it is registered; none of them is a secret.
//! Not here: TLS (`server::net`), the login that uses them (`scram`).

use aws_lc_rs::digest::{self, SHA224, SHA256, SHA384, SHA512};

/// How `tls-exporter` asks TLS for its keying material: the label, with an empty context, and only
/// in TLS 1.3 or with an extended master secret (RFC 9266 3, 4.2).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// How much of it, in bytes (RFC 9266 2).
pub const EXPORTER_BYTES: usize = 32;

/// What can tie a login to its connection. Empty: nothing can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter`: of this one connection.
    pub exporter: Option<[u8; EXPORTER_BYTES]>,
    /// `tls-server-end-point`: of our certificate, see [`server_end_point`].
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// The binding of a registered name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_ref().map(<[u8; EXPORTER_BYTES]>::as_slice),
            "tls-server-end-point" => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}

/// The `tls-server-end-point` of a certificate (DER, as TLS shows it): its hash by the function
/// that it was signed with, or SHA-256 where that is weaker (RFC 5929 4.1). `None`: the signature
/// has no such function (Ed25519), or more than one (RSASSA-PSS), or this is no certificate.
#[must_use]
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    let (fields, _) = element(certificate, SEQUENCE)?;
    let (_, after) = element(fields, SEQUENCE)?;
    let (algorithm, _) = element(after, SEQUENCE)?;
    let (object, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let hash = SIGNATURES.iter().find(|(known, _)| *known == object)?.1;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Signature algorithms by their object identifier (RFC 4055, RFC 5758), and the hash to take.
#[rustfmt::skip]
const SIGNATURES: &[(&[u8], &digest::Algorithm)] = &[
    // RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512, SHA-224.
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &SHA512),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0e], &SHA224),
    // ECDSA with SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],             &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01],       &SHA224),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],       &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],       &SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],       &SHA512),
];

/// One element of DER with this tag: what is in it, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A certificate has less than 16 MiB: three bytes of length are enough.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much of a certificate as matters here.
    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], length.as_slice(), content].concat()
        };
        let signed = wrap(SEQUENCE, &[0; 300]);
        let named = wrap(SEQUENCE, &wrap(OBJECT_IDENTIFIER, algorithm));
        wrap(SEQUENCE, &[signed, named, vec![0x03, 0x01, 0x00]].concat())
    }

    #[test]
    fn certificates_are_hashed_as_they_were_signed() {
        for (algorithm, hash) in SIGNATURES {
            let certificate = certificate(algorithm);
            let expected = digest::digest(hash, &certificate);
            assert_eq!(server_end_point(&certificate).as_deref(), Some(expected.as_ref()));
            for cut in 0..320 {
                assert_eq!(server_end_point(&certificate[..cut]), None, "cut at {cut}");
            }
        }
        let ed25519 = certificate(&[0x2b, 0x65, 0x70]);
        assert_eq!(server_end_point(&ed25519), None);
        assert_eq!(server_end_point(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn names() {
        let all = ChannelBindings { exporter: Some([1; 32]), server_end_point: Some(vec![2; 48]) };
        assert_eq!(all.get("tls-exporter"), Some([1; 32].as_slice()));
        assert_eq!(all.get("tls-server-end-point"), Some([2; 48].as_slice()));
        assert_eq!(all.get("tls-unique"), None);
        assert!(!all.is_empty() && ChannelBindings::default().is_empty());
    }
}
