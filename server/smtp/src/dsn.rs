//! What MAIL and RCPT say about delivery status notifications (RFC 3461), and xtext, which they say
//! it in.
//!
//! ```text
//!   MAIL FROM:<a@x> RET=HDRS ENVID=QQ314159
//!   RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+40y
//! ```
//! An address of type `utf-8` has its own way of writing, `\x{E4}` (RFC 6533 3).
//! Invariant: what is read here can be written again so that it means the same, in ASCII, and never
//! leaves its line.
//! Not here: whether a notification is sent, and what it looks like (`grace_mail::dsn`).

use std::fmt;

/// Longest ENVID, in bytes as it is sent (RFC 3461 4.4).
pub const ENVELOPE_ID_BYTES_MAX: usize = 100;
/// Longest ORCPT, in bytes as it is sent (RFC 3461 4.2).
pub const ORIGINAL_RECIPIENT_BYTES_MAX: usize = 500;

/// How much of the message a notification of failure gives back (RET, RFC 3461 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header alone.
    Headers,
}

impl Return {
    /// Reads the value of RET.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value.to_ascii_uppercase().as_str() {
            "FULL" => Some(Self::Full),
            "HDRS" => Some(Self::Headers),
            _ => None,
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// What the sender wants to hear of (NOTIFY, RFC 3461 4.1). All false: never anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// That it was delivered.
    pub success: bool,
    /// That it could not be.
    pub failure: bool,
    /// That it takes long.
    pub delay: bool,
}

impl Notify {
    /// Nothing, whatever happens.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };

    /// Reads the value of NOTIFY.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::NEVER);
        }
        let mut notify = Self::NEVER;
        for word in value.split(',') {
            let wanted = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut notify.success,
                "FAILURE" => &mut notify.failure,
                "DELAY" => &mut notify.delay,
                _ => return None,
            };
            *wanted = true;
        }
        Some(notify)
    }
}

impl Default for Notify {
    /// RFC 3461 4.1: without NOTIFY the sender hears of failures, and may hear of delays.
    fn default() -> Self {
        Self { success: false, failure: true, delay: true }
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let wanted: Vec<&str> =
            words.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, word)| *word).collect();
        if wanted.is_empty() { f.write_str("NEVER") } else { f.write_str(&wanted.join(",")) }
    }
}

/// Who the sender wrote to, before anybody forwarded it (ORCPT, RFC 3461 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// Kind of address, such as `rfc822` or `utf-8` (RFC 6533 3).
    pub kind: String,
    /// The address, decoded.
    pub address: String,
}

impl OriginalRecipient {
    /// Reads the value of ORCPT.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (kind, address) = value.split_once(';')?;
        let is_kind = !kind.is_empty() && kind.bytes().all(is_kind_byte);
        if !is_kind || value.len() > ORIGINAL_RECIPIENT_BYTES_MAX {
            return None;
        }
        // Some servers write xtext in addresses of type utf-8 as well: `+` can mean nothing else.
        let address = decode_xtext(address)?;
        let address = if is_utf8_kind(kind) { decode_embedded(&address)? } else { address };
        (!address.is_empty()).then(|| Self { kind: kind.to_owned(), address })
    }
}

impl fmt::Display for OriginalRecipient {
    /// As the value of ORCPT.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = if is_utf8_kind(&self.kind) {
            encode_embedded(&self.address)
        } else {
            encode_xtext(&self.address)
        };
        write!(f, "{};{address}", self.kind)
    }
}

/// Whether addresses of a type are written as RFC 6533 3 says.
fn is_utf8_kind(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("utf-8")
}

fn is_kind_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Reads the value of ENVID (RFC 3461 4.4): the identifier, decoded.
#[must_use]
pub fn parse_envelope_id(value: &str) -> Option<String> {
    if value.len() > ENVELOPE_ID_BYTES_MAX {
        return None;
    }
    decode_xtext(value).filter(|id| !id.is_empty())
}

/// Decodes xtext (RFC 3461 4). `None`: it is none, or hides a control character, which would leave
/// the line it is later put in.
#[must_use]
pub fn decode_xtext(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => {
                let (digits, after) = rest.split_at_checked(2)?;
                if !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'A'..=b'F')) {
                    return None;
                }
                rest = after;
                let digits = std::str::from_utf8(digits).ok()?;
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'=' => return None,
            // RFC 6533 3 lets UTF-8 stand as it is.
            b'!'..=b'~' | 0x80.. => decoded.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok().filter(|text| !text.chars().any(char::is_control))
}

/// Encodes as xtext.
#[must_use]
pub fn encode_xtext(text: &str) -> String {
    use fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => _ = write!(encoded, "+{byte:02X}"),
            b'!'..=b'~' => encoded.push(char::from(byte)),
            _ => _ = write!(encoded, "+{byte:02X}"),
        }
    }
    encoded
}

/// Decodes `EmbeddedUnicodeChar = "\x" "{" HEXPOINT "}"` (RFC 6533 3).
fn decode_embedded(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, embedded)) = rest.split_once('\\') {
        let (digits, after) = embedded.strip_prefix("x{")?.split_once('}')?;
        // from_str_radix would take a sign.
        let is_point = digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let point = u32::from_str_radix(digits, 16).ok().filter(|_| is_point)?;
        decoded.push_str(plain);
        decoded.push(char::from_u32(point).filter(|c| !c.is_control())?);
        rest = after;
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// Encodes as `utf-8-addr-xtext` (RFC 6533 3), which goes with and without SMTPUTF8.
fn encode_embedded(text: &str) -> String {
    use fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '+' | '=' | '\\' => _ = write!(encoded, "\\x{{{:X}}}", u32::from(character)),
            '!'..='~' => encoded.push(character),
            _ => _ = write!(encoded, "\\x{{{:X}}}", u32::from(character)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for value in ["NEVER", "SUCCESS", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"] {
            assert_eq!(Notify::parse(value).map(|n| n.to_string()).as_deref(), Some(value));
        }
        for value in ["", "NEVER,SUCCESS", "SUCCESS,", "ALWAYS"] {
            assert_eq!(Notify::parse(value), None, "{value:?}");
        }
        assert_eq!(Return::parse("hdrs").map(|r| r.to_string()).as_deref(), Some("HDRS"));
        let original = OriginalRecipient::parse("rfc822;a+2Bb+3Dc@x.example");
        let original = original.expect("it is one");
        assert_eq!(original.address, "a+b=c@x.example");
        assert_eq!(original.to_string(), "rfc822;a+2Bb+3Dc@x.example");
    }

    #[test]
    fn addresses_beyond_ascii() {
        for value in
            ["utf-8;gr\\x{FC}n@x.example", "UTF-8;grün@x.example", "utf-8;gr+C3+BCn@x.example"]
        {
            let original = OriginalRecipient::parse(value).expect("it is one");
            assert_eq!(original.address, "grün@x.example");
            let written = original.to_string();
            assert_eq!(written.split_once(';').map(|w| w.1), Some("gr\\x{FC}n@x.example"));
            assert_eq!(OriginalRecipient::parse(&written), Some(original));
        }
        let odd =
            OriginalRecipient::parse("utf-8;a\\x{2B}b\\x{5c}\\x{1F600}@x").expect("it is one");
        assert_eq!(odd.address, "a+b\\😀@x");
        assert_eq!(odd.to_string(), "utf-8;a\\x{2B}b\\x{5C}\\x{1F600}@x");
        let wrong =
            ["\\x{}", "\\x{D800}", "\\x{0D}", "\\x{110000}", "\\x{+41}", "\\x{41", "\\41", "a\\"];
        for address in wrong {
            assert_eq!(OriginalRecipient::parse(&format!("utf-8;{address}")), None, "{address:?}");
        }
        let plain = OriginalRecipient::parse("rfc822;\\x{41}@x").expect("a quoted local part may");
        assert_eq!(plain.address, "\\x{41}@x");
    }

    #[test]
    fn xtext_hides_nothing() {
        for text in ["a+0D+0Ab", "a+0", "a+0g", "a+2b", "a=b", "a b", "+FF"] {
            assert_eq!(decode_xtext(text), None, "{text:?}");
        }
        assert_eq!(decode_xtext("+C3+A4").as_deref(), Some("ä"));
        assert_eq!(encode_xtext("ä b"), "+C3+A4+20b");
        for kind in ["rfc822", ";a@x", "r 8;a@x", "rfc822;"] {
            assert_eq!(OriginalRecipient::parse(kind), None, "{kind:?}");
        }
    }
}
