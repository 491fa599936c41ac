//! Letters as people get them: short texts, newsletters in two forms, some with something attached.
//!
//! Invariant: a letter follows from its number, so that two servers get the same ones.
//! Not here: foreign mail ([`grace_tests::corpus`]).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use grace_tests::seed::Seed;

/// A word that stands in the subject of one letter in so many.
pub(super) const RARE: (&str, u64) = ("quince", 500);
/// A word that stands in the text of one letter in so many.
pub(super) const HIDDEN: (&str, u64) = ("persimmon", 300);
/// Letters of one conversation, at most.
const THREAD_MAX: u64 = 6;
/// 2026-01-01T00:00:00Z: the first letter's Date.
const FIRST_S: u64 = 1_767_225_600;

const WORDS: [&str; 40] = [
    "meeting", "about", "the", "plan", "for", "next", "week", "please", "find", "attached", "we",
    "would", "like", "to", "confirm", "your", "order", "and", "delivery", "date", "thanks",
    "again", "invoice", "number", "from", "our", "team", "in", "Berlin", "report", "draft",
    "review", "garden", "music", "lunch", "tomorrow", "train", "tickets", "photo", "holiday",
];
const NAMES: [&str; 12] = [
    "Ann Baker",
    "Bob Carter",
    "=?utf-8?Q?J=C3=BCrgen_M=C3=BCller?=",
    "Dora Evans",
    "Emil Fuchs",
    "Fatima Gul",
    "=?utf-8?B?xaBpbW9uIE5vdsOhaw==?=",
    "Grace Hopper",
    "Hugo Ibsen",
    "Ines Jimenez",
    "Kim Lee",
    "The Newsletter",
];
const HOSTS: [&str; 5] =
    ["example.org", "mail.example.net", "lists.example.com", "grace.test", "shop.example"];

/// The letter with this number, in CRLF lines.
pub(super) fn letter(number: u64) -> Vec<u8> {
    let mut chance = Seed::new(number.wrapping_mul(0x2545_F491_4F6C_DD1D));
    let mut text = head(number, &mut chance);
    match chance.between(0, 99) {
        0..60 => {
            text += "Content-Type: text/plain; charset=utf-8\r\n\
                     Content-Transfer-Encoding: 8bit\r\n\r\n";
            text += &paragraphs(number, &mut chance, 400, 3_000);
        }
        60..92 => alternative(&mut text, number, &mut chance),
        _ => mixed(&mut text, number, &mut chance),
    }
    text.into_bytes()
}

fn person(chance: &mut Seed) -> String {
    let name = pick(&NAMES, chance);
    let host = pick(&HOSTS, chance);
    format!("{name} <user{}@{host}>", chance.between(1, 400))
}

fn pick<'a>(list: &[&'a str], chance: &mut Seed) -> &'a str {
    let place = usize::try_from(chance.between(0, list.len() as u64 - 1)).unwrap_or_default();
    list.get(place).copied().unwrap_or_default()
}

fn words(chance: &mut Seed, count: u64) -> String {
    (0..count).map(|_| pick(&WORDS, chance)).collect::<Vec<_>>().join(" ")
}

/// The identifier of a letter.
fn id(number: u64) -> String {
    format!("<{:016x}.{number}@mail.example.net>", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The header block, but for what says how the body is to be read.
fn head(number: u64, chance: &mut Seed) -> String {
    let date = date(FIRST_S + number * 97);
    let hex = |chance: &mut Seed| format!("{:016x}", chance.number());
    let mut text = format!("Return-Path: <bounce-{}@mail.example.net>\r\n", hex(chance));
    for hop in ["mx.grace.test", "relay.example.net"] {
        text += &format!(
            "Received: from out{}.example.net (out.example.net [192.0.2.{}])\r\n\
             \tby {hop} with ESMTPS id {}\r\n\tfor <ann@grace.test>; {date}\r\n",
            chance.between(1, 9),
            chance.between(1, 250),
            hex(chance),
        );
    }
    let signature: Vec<String> = (0..5).map(|_| BASE64_STANDARD.encode(chance.bytes(48))).collect();
    text += &format!(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;\r\n\
         \th=from:to:subject:date:message-id; bh={};\r\n\tb={}\r\n",
        BASE64_STANDARD.encode(chance.bytes(32)),
        signature.join("\r\n\t"),
    );
    let place = number % THREAD_MAX;
    let first = number - place;
    let mut about = Seed::new(first);
    let length = about.between(3, 9);
    let mut subject = words(&mut about, length);
    if place > 0 {
        subject.insert_str(0, "Re: ");
    }
    if number.is_multiple_of(RARE.1) {
        subject = format!("{subject} {}", RARE.0);
    }
    let (from, to) = (person(chance), person(chance));
    text += &format!("From: {from}\r\nTo: {to}\r\n");
    if chance.between(0, 3) == 0 {
        text += &format!("Cc: {},\r\n {}\r\n", person(chance), person(chance));
    }
    text += &format!("Subject: {subject}\r\nDate: {date}\r\nMessage-ID: {}\r\n", id(number));
    if place > 0 {
        let above: Vec<String> = (first..number).map(id).collect();
        text +=
            &format!("In-Reply-To: {}\r\nReferences: {}\r\n", id(number - 1), above.join("\r\n "));
    }
    text + "MIME-Version: 1.0\r\nX-Mailer: Example Mailer 4.2\r\n"
}

/// RFC 5322 3.3, in UTC.
fn date(at_s: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, rest) = (at_s / 86_400, at_s % 86_400);
    // Days to a date, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = |list: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| list.get(at).copied()).unwrap_or_default()
    };
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        rest / 3_600,
        rest / 60 % 60,
        rest % 60,
    )
}

/// Text in lines.
fn paragraphs(number: u64, chance: &mut Seed, least: u64, most: u64) -> String {
    let wanted = usize::try_from(chance.between(least, most)).unwrap_or_default();
    let mut text = String::new();
    if number.is_multiple_of(HIDDEN.1) {
        text += &format!("A {} a day.\r\n", HIDDEN.0);
    }
    while text.len() < wanted {
        let count = chance.between(8, 12);
        text += &words(chance, count);
        text += if chance.between(0, 7) == 0 { ".\r\n\r\n" } else { "\r\n" };
    }
    text
}

fn alternative(text: &mut String, number: u64, chance: &mut Seed) {
    let mark = format!("=_part_{number}");
    *text += &format!("Content-Type: multipart/alternative;\r\n boundary=\"{mark}\"\r\n\r\n");
    let plain = paragraphs(number, chance, 400, 2_000);
    *text += &format!("--{mark}\r\nContent-Type: text/plain; charset=\"us-ascii\"\r\n\r\n{plain}");
    *text += &format!(
        "\r\n--{mark}\r\nContent-Type: text/html; charset=\"us-ascii\"\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n<html><body>\r\n"
    );
    for line in paragraphs(number, chance, 2_000, 9_000).lines() {
        *text += &format!("<p style=\"margin:0\">{line}</p>\r\n");
    }
    *text += &format!("</body></html>\r\n--{mark}--\r\n");
}

fn mixed(text: &mut String, number: u64, chance: &mut Seed) {
    let mark = format!("=_mixed_{number}");
    *text += &format!("Content-Type: multipart/mixed; boundary=\"{mark}\"\r\n\r\n");
    let plain = paragraphs(number, chance, 200, 1_500);
    *text += &format!("--{mark}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{plain}");
    *text += &format!(
        "\r\n--{mark}\r\nContent-Type: application/pdf; name=\"report {number}.pdf\"\r\n\
         Content-Disposition: attachment; filename=\"report {number}.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    );
    let lines = chance.between(80, 900);
    for _ in 0..lines {
        *text += &BASE64_STANDARD.encode(chance.bytes(57));
        *text += "\r\n";
    }
    *text += &format!("--{mark}--\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_follow_from_their_numbers() {
        assert_eq!(letter(17), letter(17));
        assert_ne!(letter(17), letter(18));
        let all: Vec<String> = (0..300).map(|n| String::from_utf8(letter(n)).unwrap()).collect();
        assert!(all.iter().all(|text| !text.replace("\r\n", "").contains(['\r', '\n'])));
        assert!(all.iter().any(|text| text.contains("attachment")));
        assert_eq!(all.iter().filter(|text| text.contains(HIDDEN.0)).count(), 1);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(FIRST_S), "Thu, 1 Jan 2026 00:00:00 +0000");
        assert_eq!(date(1_709_210_096), "Thu, 29 Feb 2024 12:34:56 +0000");
    }
}
