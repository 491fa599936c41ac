//! Who a certificate of a client speaks for: the mail addresses in its subjectAltName (RFC 5280
//! 4.2.1.6).
//!
//! Invariants: whatever the bytes are, nothing is read beyond them; at most `NAMES_MAX` are read.
//! Not here: reading certificates (`certificate`), whether one is good (`tls`: its handshake fails
//! if not), whose account an address is (`directory`).

use super::certificate;

/// Most addresses of one certificate that are looked at.
const NAMES_MAX: usize = 16;

/// The addresses a certificate (DER) names.
#[must_use]
pub fn addresses(certificate: &[u8]) -> Vec<String> {
    certificate::mail_addresses(certificate, NAMES_MAX).unwrap_or_default()
}

/// The one of some addresses that somebody asks to be; without a wish the first.
#[must_use]
pub fn asked<'a>(addresses: &'a [String], wish: &str) -> Option<&'a str> {
    let fits = |address: &&String| wish.is_empty() || address.eq_ignore_ascii_case(wish);
    addresses.iter().find(fits).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn mail(address: &str) -> SanType {
        SanType::Rfc822Name(address.try_into().expect("ASCII"))
    }

    #[test]
    fn addresses_are_found_among_other_names() {
        let host = SanType::DnsName("ann.grace.test".try_into().expect("ASCII"));
        let made = certificate(vec![host.clone(), mail("ann@grace.test"), mail("bob@grace.test")]);
        assert_eq!(addresses(&made), ["ann@grace.test", "bob@grace.test"]);
        assert_eq!(addresses(&certificate(vec![host])), [""; 0]);
        assert_eq!(addresses(&certificate(Vec::new())), [""; 0]);
        for cut in 0..made.len() {
            let part = made.get(..cut).expect("a part");
            assert_eq!(addresses(part), [""; 0], "cut at {cut}");
        }
        let mut broken = made.clone();
        for at in 0..made.len() {
            broken.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x5a);
            assert!(addresses(&broken).len() <= NAMES_MAX);
            broken.clone_from(&made);
        }
    }

    #[test]
    fn who_is_asked_for_must_be_named() {
        let names = ["ann@grace.test".to_owned(), "bob@grace.test".to_owned()];
        assert_eq!(asked(&names, ""), Some("ann@grace.test"));
        assert_eq!(asked(&names, "Bob@Grace.Test"), Some("bob@grace.test"));
        assert_eq!(asked(&names, "eve@grace.test"), None);
        assert_eq!(asked(&[], ""), None);
    }
}
