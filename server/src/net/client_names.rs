//! Who a certificate of a client speaks for: the mail addresses in its subjectAltName (RFC 5280
//! 4.2.1.6).
//!
//! ```text
//!   Certificate ─▶ tbsCertificate ─▶ [3] extensions ─▶ 2.5.29.17 ─▶ GeneralNames ─▶ rfc822Name
//! ```
//! Invariants: whatever the bytes are, nothing is read beyond them; at most `NAMES_MAX` are read.
//! Not here: whether the certificate is good (`tls`: its handshake fails if not), whose account an
//! address is (`directory`).

/// Most addresses of one certificate that are looked at.
const NAMES_MAX: usize = 16;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
/// `extensions [3]` of a tbsCertificate.
const EXTENSIONS: u8 = 0xa3;
/// `rfc822Name [1] IA5String`.
const RFC822_NAME: u8 = 0x81;
/// id-ce-subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The addresses a certificate (DER) names.
#[must_use]
pub fn addresses(certificate: &[u8]) -> Vec<String> {
    let Some(names) = subject_alt_name(certificate) else { return Vec::new() };
    let mut elements = Elements(names);
    let addresses = elements.by_ref().filter(|(tag, _)| *tag == RFC822_NAME);
    let text = |(_, bytes): (u8, &[u8])| String::from_utf8(bytes.to_vec()).ok();
    addresses.filter_map(text).take(NAMES_MAX).collect()
}

/// The one of some addresses that somebody asks to be; without a wish the first.
#[must_use]
pub fn asked<'a>(addresses: &'a [String], wish: &str) -> Option<&'a str> {
    let fits = |address: &&String| wish.is_empty() || address.eq_ignore_ascii_case(wish);
    addresses.iter().find(fits).map(String::as_str)
}

/// What is in the GeneralNames of a certificate.
fn subject_alt_name(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = Elements(certificate).find_tag(SEQUENCE)?;
    let (_, fields) = Elements(certificate).find_tag(SEQUENCE)?;
    let (_, extensions) = Elements(fields).find(|(tag, _)| *tag == EXTENSIONS)?;
    let (_, extensions) = Elements(extensions).find_tag(SEQUENCE)?;
    let is_it = |(tag, extension): &(u8, &[u8])| {
        *tag == SEQUENCE
            && Elements(extension).find_tag(OBJECT_IDENTIFIER).map(|(_, oid)| oid)
                == Some(SUBJECT_ALT_NAME)
    };
    let (_, extension) = Elements(extensions).find(is_it)?;
    // Between the two may stand whether the extension is critical.
    let (_, value) = Elements(extension).find(|(tag, _)| *tag == OCTET_STRING)?;
    Elements(value).find_tag(SEQUENCE).map(|(_, names)| names)
}

/// The elements of DER, one after the other: tag and content. It ends at what is none.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The first element, if it has this tag.
    fn find_tag(mut self, tag: u8) -> Option<(u8, &'a [u8])> {
        self.next().filter(|(found, _)| *found == tag)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
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
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
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
