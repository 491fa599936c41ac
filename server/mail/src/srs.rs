//! The Sender Rewriting Scheme: an address of ours in the place of a forwarded message's sender, so
//! that SPF passes where it goes, and what comes back to it finds the sender.
//!
//! ```text
//!   anna@a.example                      SRS0=7kq2mz=W5=a.example=anna@ours.example
//!                                            hash   day domain   local part
//!   SRS0=x3=W4=a.example=anna@b.example SRS1=p4c2wn=b.example==x3=W4=a.example=anna@ours.example
//!     (b has rewritten it before)            hash   host     what b wrote, from its separator on
//! ```
//! The hash is HMAC-SHA256 over what follows it, in lower case, of which 30 bits are written in
//! base32: servers on the way may change capitals. The day is counted since 1970, modulo 1024, in
//! two digits of base32. There is no RFC; this is what libsrs2 and Postsrsd write and read, but for
//! the hash, which nobody but its writer reads.
//! Invariants: only what one of the keys signed is read; a rewritten address is never rewritten
//! into a third, so that addresses do not grow with each forwarder.
//! Not here: keys and the day (passed in), which mail is rewritten (`server::inbound`).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::address::{AddressError, Charset, Domain, Host, LocalPart, Mailbox};

/// Letters of the hash, five bits each. Each guess costs a refused recipient, of which a session
/// has a hundred: thirty bits take ten million sessions.
pub const HASH_LETTERS: usize = 6;
/// Days after which their count begins anew: two letters of five bits.
pub const DAYS_CYCLE: u64 = 1_024;
/// Longest time for which an address can be good, in days: half of the cycle is the past.
pub const VALID_DAYS_MAX: u64 = DAYS_CYCLE / 2;
/// Shortest key, in bytes: as long as the hash.
pub const KEY_BYTES: usize = 32;

/// RFC 4648 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What may stand behind `SRS0`. Some servers change one of them; the first is written.
const SEPARATORS: [char; 3] = ['=', '-', '+'];

/// Why an address gives no sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrsError {
    /// It does not have the form.
    Malformed,
    /// None of the keys signed it.
    Forged,
    /// It was good once.
    Expired,
}

impl fmt::Display for SrsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is no address of a rewritten sender",
            Self::Forged => "it was not written here",
            Self::Expired => "it is too old",
        })
    }
}

impl std::error::Error for SrsError {}

/// What rewrites: the keys, the newest first, and what day it is.
#[derive(Debug, Clone, Copy)]
pub struct Srs<'a> {
    /// The first one signs, all are good to read with.
    pub keys: &'a [[u8; KEY_BYTES]],
    /// Days since 1970 UTC.
    pub day: u64,
    /// How long an address is good, in days; at most [`VALID_DAYS_MAX`] count.
    pub valid_days: u64,
}

/// Whether the local part has the form of a rewritten sender, whoever wrote it.
#[must_use]
pub fn is_rewritten(local: &LocalPart) -> bool {
    after_tag(local.as_str()).is_some()
}

impl Srs<'_> {
    /// The address at `domain` that stands for this sender.
    ///
    /// # Errors
    /// It is too long, the sender's host is no domain, or there is no key.
    pub fn rewrite(&self, sender: &Mailbox, domain: &Domain) -> Result<Mailbox, AddressError> {
        let host = sender.domain().ok_or(AddressError::BadDomain)?.as_str();
        let local = sender.local().as_str();
        let key = self.keys.first().ok_or(AddressError::BadLocalPart)?;
        let (tag, rest) = match after_tag(local) {
            // Written by another forwarder: what it wrote is kept, and it is asked in turn.
            Some((0, written)) => ("SRS1", format!("{host}={written}")),
            // By a second one: the first one is still the one to be asked. What only looks like
            // that is a name as any other.
            Some((_, written)) if let Some(kept) = signed_by_second(written) => {
                ("SRS1", kept.to_owned())
            }
            _ => ("SRS0", format!("{}={host}={local}", self.today())),
        };
        let text = format!("{tag}={}={rest}", hash(key, &rest));
        let address = Mailbox::new(LocalPart::of_text(&text)?, Host::Domain(domain.clone()));
        // As it is written, quotes and all: it must be an address to whoever reads it.
        Mailbox::parse(&address.to_string(), Charset::Utf8)
    }

    /// The sender that such a local part stands for.
    ///
    /// # Errors
    /// It stands for none, or not any more.
    pub fn recover(&self, local: &LocalPart) -> Result<Mailbox, SrsError> {
        let (tag, written) = after_tag(local.as_str()).ok_or(SrsError::Malformed)?;
        let (found, rest) = written
            .strip_prefix(SEPARATORS)
            .and_then(|hashed| hashed.split_once('='))
            .ok_or(SrsError::Malformed)?;
        if !self.keys.iter().any(|key| is_hash(key, found, rest)) {
            return Err(SrsError::Forged);
        }
        let (host, local) = if tag == 0 {
            let (day, sender) = rest.split_once('=').ok_or(SrsError::Malformed)?;
            self.check_day(day)?;
            let (host, local) = sender.split_once('=').ok_or(SrsError::Malformed)?;
            (host, local.to_owned())
        } else {
            let (host, written) = first_host(rest).ok_or(SrsError::Malformed)?;
            (host, format!("SRS0{written}"))
        };
        let host = Domain::parse(host, Charset::Ascii).map_err(|_| SrsError::Malformed)?;
        let local = LocalPart::of_text(&local).map_err(|_| SrsError::Malformed)?;
        Ok(Mailbox::new(local, Host::Domain(host)))
    }

    fn today(&self) -> String {
        base32((self.day % DAYS_CYCLE) << 54, 2)
    }

    fn check_day(&self, text: &str) -> Result<(), SrsError> {
        let digit = |letter: u8| {
            let letter = letter.to_ascii_uppercase();
            BASE32.iter().position(|&known| known == letter)
        };
        let [high, low] = text.as_bytes() else { return Err(SrsError::Malformed) };
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(SrsError::Malformed);
        };
        let written = (high * 32 + low) as u64;
        let age = (self.day % DAYS_CYCLE + DAYS_CYCLE - written) % DAYS_CYCLE;
        // The clock of the writer, which is ours, may have gone back over midnight.
        let is_good = age <= self.valid_days.min(VALID_DAYS_MAX) || age == DAYS_CYCLE - 1;
        if is_good { Ok(()) } else { Err(SrsError::Expired) }
    }
}

/// Which of the two forms it is, 0 or 1, and what follows the tag, its separator first.
fn after_tag(local: &str) -> Option<(u8, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let form = if tag.eq_ignore_ascii_case("SRS0") {
        0
    } else if tag.eq_ignore_ascii_case("SRS1") {
        1
    } else {
        return None;
    };
    rest.starts_with(SEPARATORS).then_some((form, rest))
}

/// What a second forwarder signed, without its hash.
fn signed_by_second(written: &str) -> Option<&str> {
    let (_, signed) = written.strip_prefix(SEPARATORS)?.split_once('=')?;
    let (host, _) = first_host(signed)?;
    Domain::parse(host, Charset::Ascii).is_ok().then_some(signed)
}

/// The host that wrote the inner address, and what it wrote, from its separator on.
fn first_host(rest: &str) -> Option<(&str, &str)> {
    let (host, written) = rest.split_once('=')?;
    written.starts_with(SEPARATORS).then_some((host, written))
}

fn hash(key: &[u8; KEY_BYTES], rest: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, rest.to_lowercase().as_bytes());
    let bits = tag.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    base32(bits, HASH_LETTERS)
}

fn is_hash(key: &[u8; KEY_BYTES], found: &str, rest: &str) -> bool {
    let expected = hash(key, rest);
    let found = found.to_ascii_uppercase();
    verify_slices_are_equal(expected.as_bytes(), found.as_bytes()).is_ok()
}

/// The highest bits in as many letters.
fn base32(bits: u64, letters: usize) -> String {
    let digit = |at: usize| bits.checked_shr(59 - 5 * u32::try_from(at).unwrap_or(0)).unwrap_or(0);
    let letter = |at| BASE32.get((digit(at) % 32) as usize).copied().map_or('A', char::from);
    (0..letters).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
    const OTHER: [u8; KEY_BYTES] = [8; KEY_BYTES];

    fn srs(keys: &[[u8; KEY_BYTES]], day: u64) -> Srs<'_> {
        Srs { keys, day, valid_days: 21 }
    }

    fn ours() -> Domain {
        "ours.example".parse().unwrap()
    }

    fn mailbox(text: &str) -> Mailbox {
        text.parse().unwrap()
    }

    #[track_caller]
    fn there_and_back(sender: &str, expected: &str) -> Mailbox {
        let srs = srs(&[KEY], 20_000);
        let rewritten = srs.rewrite(&mailbox(sender), &ours()).unwrap();
        assert_eq!(rewritten.to_string(), expected);
        assert!(is_rewritten(rewritten.local()));
        rewritten
    }

    #[test]
    fn a_sender_is_found_again() {
        let rewritten =
            there_and_back("Anna@A.example", "SRS0=GO6N6C=RA=a.example=Anna@ours.example");
        let srs = srs(&[KEY], 20_000);
        assert_eq!(srs.recover(rewritten.local()), Ok(mailbox("Anna@a.example")));
        // In any case: but for the sender's own letters it is the same.
        let lower = mailbox("srs0=go6n6c=ra=a.example=anna@ours.example");
        assert_eq!(srs.recover(lower.local()), Ok(mailbox("anna@a.example")));
        for separator in ["-", "+"] {
            let other = rewritten.to_string().replacen('=', separator, 1);
            assert_eq!(srs.recover(mailbox(&other).local()), Ok(mailbox("Anna@a.example")));
        }
    }

    #[test]
    fn forwarders_in_a_row_ask_the_first_one() {
        let first = "SRS0=x3=W4=a.example=anna@b.example";
        let second =
            there_and_back(first, "SRS1=Z5YQG5=b.example==x3=W4=a.example=anna@ours.example");
        assert_eq!(srs(&[KEY], 20_000).recover(second.local()), Ok(mailbox(first)));
        // The third one signs the same anew, and writes to the first one as well.
        let theirs = second.to_string().replace("ours", "theirs");
        let third = srs(&[OTHER], 20_001).rewrite(&mailbox(&theirs), &ours()).unwrap();
        assert_eq!(third.to_string().len(), second.to_string().len());
        assert_eq!(srs(&[OTHER], 20_001).recover(third.local()), Ok(mailbox(first)));
        // Another separator is kept.
        let plus = "SRS0+x3=W4=a.example=anna@b.example";
        let rewritten = srs(&[KEY], 1).rewrite(&mailbox(plus), &ours()).unwrap();
        assert!(rewritten.to_string().contains("=b.example=+x3="), "{rewritten}");
        assert_eq!(srs(&[KEY], 1).recover(rewritten.local()), Ok(mailbox(plus)));
    }

    #[test]
    fn what_was_not_written_here_is_refused() {
        let signed = srs(&[KEY], 20_000).rewrite(&mailbox("a@b.example"), &ours()).unwrap();
        assert_eq!(srs(&[OTHER], 20_000).recover(signed.local()), Err(SrsError::Forged));
        assert_eq!(srs(&[], 20_000).recover(signed.local()), Err(SrsError::Forged));
        // A key that signed before is still good.
        assert!(srs(&[OTHER, KEY], 20_000).recover(signed.local()).is_ok());
        let text = signed.to_string();
        for (at, letter) in text.char_indices().filter(|&(at, _)| at > 4 && at < text.len() - 13) {
            let other = if letter.eq_ignore_ascii_case(&'q') { 'r' } else { 'q' };
            let forged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            let found = srs(&[KEY], 20_000).recover(mailbox(&forged).local());
            assert!(found.is_err(), "{forged}: {found:?}");
        }
        for malformed in ["anna", "SRS0", "SRS0=", "SRS0=x", "SRS2=a=b=c=d", "SRSS=a"] {
            let found = srs(&[KEY], 1).recover(&LocalPart::of_text(malformed).unwrap());
            assert_eq!(found, Err(SrsError::Malformed), "{malformed}");
        }
        // Signed, and still no address: nobody signs such, but it must not be taken either.
        for rest in ["", "AA", "AA=x", "AA=-=x", "A=b.example=x", "1A=b.example=x", "AA=b.example="]
        {
            let signed = format!("SRS0={}={rest}", hash(&KEY, rest));
            let found = srs(&[KEY], 1).recover(&LocalPart::of_text(&signed).unwrap());
            assert_eq!(found, Err(SrsError::Malformed), "{signed}");
        }
    }

    #[test]
    fn an_address_is_good_for_its_time() {
        for day in [0, 5, DAYS_CYCLE - 1, DAYS_CYCLE, 20_000] {
            let signed = srs(&[KEY], day).rewrite(&mailbox("a@b.example"), &ours()).unwrap();
            for later in [0, 1, 21] {
                assert!(srs(&[KEY], day + later).recover(signed.local()).is_ok(), "{day} {later}");
            }
            for later in [22, 100, VALID_DAYS_MAX + 1] {
                let found = srs(&[KEY], day + later).recover(signed.local());
                assert_eq!(found, Err(SrsError::Expired), "{day} {later}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_rewritten() {
        let long = format!("{}@b.example", "x".repeat(120));
        let found = srs(&[KEY], 1).rewrite(&mailbox(&long), &ours());
        assert_eq!(found, Err(AddressError::TooLong));
        let literal = srs(&[KEY], 1).rewrite(&mailbox("a@[192.0.2.1]"), &ours());
        assert_eq!(literal, Err(AddressError::BadDomain));
        assert!(srs(&[], 1).rewrite(&mailbox("a@b.example"), &ours()).is_err());
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

    #[test]
    fn every_sender_comes_back() {
        const LETTERS: [&str; 14] =
            ["a", "B", "9", "=", "==", "+", "-", ".", "@", " ", "\"", "ü", "SRS0=", "SRS1="];
        let mut number = numbers(0x6772_6163_6500_0005);
        let mut rewritten = 0;
        for _ in 0..20_000 {
            let local: String = (0..=number(12)).map(|_| LETTERS[number(LETTERS.len())]).collect();
            let domain = ["b.example", "x-y.test", "a.b.c.example"][number(3)].parse().unwrap();
            let Ok(local) = LocalPart::of_text(&local) else { continue };
            let sender = Mailbox::new(local, Host::Domain(domain));
            let day = number(3_000) as u64;
            let Ok(address) = srs(&[KEY], day).rewrite(&sender, &ours()) else { continue };
            rewritten += 1;
            // Over the wire and back, as the one who writes to it spells it.
            let read = mailbox(&address.to_string());
            let later = day + number(22) as u64;
            let found = srs(&[OTHER, KEY], later).recover(read.local());
            if signed_by_second(sender.local().as_str().get(4..).unwrap_or_default()).is_some() {
                assert!(found.is_ok(), "{sender} as {address}");
                continue;
            }
            let found = found.map(|found| found.to_string());
            let expected = sender.to_string();
            assert!(
                found.as_ref().is_ok_and(|found| found.eq_ignore_ascii_case(&expected)),
                "{sender} as {address} came back as {found:?}"
            );
        }
        assert!(rewritten > 15_000, "{rewritten}");
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut number = numbers(0x6772_6163_6500_0006);
        for _ in 0..50_000 {
            let letters = (0..number(30)).map(|_| b"SRS01=-+aA2z.\xc3\xbc"[number(14)]);
            let text = format!("SRS{}", String::from_utf8_lossy(&letters.collect::<Vec<u8>>()));
            let Ok(local) = LocalPart::of_text(&text) else { continue };
            assert!(srs(&[KEY], 1).recover(&local).is_err(), "{text}");
        }
    }
}
