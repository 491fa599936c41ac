//! Passwords made equal however they were typed: SASLprep (RFC 4013), for the languages whose
//! letters need no tables.
//!
//! ```text
//!   "pass\u{A0}word\u{AD}"  ──map──▶  "pass word"  ──each letter as NFKC has it──▶  "pass word"
//! ```
//! A whole SASLprep wants the tables of Unicode normalization. What people type as passwords needs
//! few of them: the letters taken here are those of ASCII, Latin-1 and the other Latin alphabets,
//! Greek, Cyrillic, Japanese, Chinese and Korean as keyboards make them, whose normal form NFKC is
//! the letter itself or stands in a table of one screen. None of them joins with its neighbor.
//! Invariants: what is prepared is what any complete SASLprep makes of it; what might not be is
//! refused, and such a password still goes by PLAIN.
//! Not here: texts written from right to left, combining marks, what Unicode 3.2 did not know (all
//! refused); addresses (`grace_mail::address`).

use std::fmt;

use zeroize::Zeroizing;

/// Longest password that is prepared, in bytes: more than any person or generator makes.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A text that we cannot prepare: SCRAM cannot be used with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpreparable;

impl fmt::Display for Unpreparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the password has characters that SCRAM cannot use")
    }
}

impl std::error::Error for Unpreparable {}

/// Prepares a password to be stored (RFC 4013 2, "stored strings").
///
/// # Errors
/// It is empty or too long, or has a character that SASLprep forbids or that we do not know well
/// enough.
pub fn prepare(text: &str) -> Result<Zeroizing<String>, Unpreparable> {
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(Unpreparable);
    }
    // A growing text would leave pieces of a password in memory. "¾" grows most, from 2 bytes to 5.
    let mut prepared = Zeroizing::new(String::with_capacity(3 * text.len()));
    for character in text.chars() {
        match character {
            ' '..='~' => prepared.push(character),
            _ if is_space(character) => prepared.push(' '),
            _ if is_nothing(character) => {}
            _ => match compatible(character) {
                Some(same) => prepared.push_str(same),
                None if is_letter(character) => prepared.push(character),
                None => return Err(Unpreparable),
            },
        }
    }
    if prepared.is_empty() { Err(Unpreparable) } else { Ok(prepared) }
}

/// RFC 3454 C.1.2: becomes a space.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200B}' | '\u{202F}' | '\u{205F}' | '\u{3000}'
    )
}

/// RFC 3454 B.1: becomes nothing.
fn is_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{1806}' | '\u{180B}'..='\u{180D}' | '\u{200C}' | '\u{200D}'
            | '\u{2060}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
    )
}

/// What NFKC makes of the signs of Latin-1 and of the few others that stand on keyboards.
fn compatible(c: char) -> Option<&'static str> {
    Some(match c {
        '¨' => " \u{308}",
        'ª' => "a",
        '¯' => " \u{304}",
        '²' => "2",
        '³' => "3",
        '´' => " \u{301}",
        'µ' => "μ",
        '¸' => " \u{327}",
        '¹' => "1",
        'º' => "o",
        '¼' => "1⁄4",
        '½' => "1⁄2",
        '¾' => "3⁄4",
        '…' => "...",
        '™' => "TM",
        '№' => "No",
        _ => return None,
    })
}

/// Characters of Unicode 3.2 that are their own NFKC, begin a syllable of their own, and are not
/// written from right to left.
fn is_letter(c: char) -> bool {
    matches!(
        c,
        // Latin-1 and the Latin alphabets of Europe and beyond, without ligatures and digraphs.
        '¡'..='§' | '©' | '«' | '¬' | '®' | '°' | '±' | '¶' | '·' | '»' | '¿'..='ı'
            | 'Ĵ'..='ľ' | 'Ł'..='ň' | 'Ŋ'..='ž' | 'ƀ'..='ǃ' | 'Ǎ'..='ǰ' | 'Ǵ'..='Ƞ'
            | 'Ȣ'..='ȳ' | 'Ḁ'..='ẙ' | 'Ạ'..='ỹ'
            // Greek and Cyrillic.
            | 'Ά' | 'Έ'..='Ί' | 'Ό' | 'Ύ'..='Ρ' | 'Σ'..='ώ'
            | 'Ѐ'..='҂' | 'Ҋ'..='ӎ' | 'Ӑ'..='ӵ' | 'Ӹ' | 'ӹ'
            // Punctuation and money.
            | '‐' | '‒'..='―' | '‘'..='•' | '‰' | '‹' | '›' | '₠'..='₧' | '₩'..='₱'
            // Japanese, Chinese, Korean.
            | '、'..='〃' | '々'..='》' | '「'..='』' | 'ぁ'..='ゖ' | 'ゝ' | 'ゞ' | 'ァ'..='ヾ'
            | '一'..='龥' | '가'..='힣'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = prepare(text);
        let found = found.as_ref().map_or("refused", |text| text.as_str());
        assert_eq!(found, expected, "{text:?}");
        // RFC 3454 7: what is prepared is not changed by being prepared, where it can be again.
        if let Ok(again) = prepare(found) {
            assert_eq!(again.as_str(), found);
        }
    }

    #[test]
    fn examples_of_rfc_4013() {
        check("I\u{AD}X", "IX");
        check("user", "user");
        check("USER", "USER");
        check("\u{AA}", "a");
        // "IX" in one character: we do not know it, and do not guess.
        check("\u{2168}", "refused");
        check("\u{7}", "refused");
        check("\u{627}\u{31}", "refused");
    }

    #[test]
    fn passwords_as_people_make_them() {
        check("grüße für 5 €", "grüße für 5 €");
        check("a\u{A0}b\u{3000}c", "a b c");
        check("ﬁ", "refused");
        check("½ м² №5", "1⁄2 м2 No5");
        check("пароль ёж", "пароль ёж");
        check("κωδικός", "κωδικός");
        check("パスワード密码암호", "パスワード密码암호");
        check("", "refused");
        check("\u{AD}\u{200D}", "refused");
        check(&"x".repeat(PASSWORD_BYTES_MAX), &"x".repeat(PASSWORD_BYTES_MAX));
        check(&"x".repeat(PASSWORD_BYTES_MAX + 1), "refused");
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let signs = [
            "\0",
            "\u{7F}",
            "\u{85}",
            "e\u{301}",
            "\u{5D0}",
            "\u{340}",
            "\u{200E}",
            "\u{2028}",
            "\u{E000}",
            "\u{FDD0}",
            "\u{FFFD}",
            "\u{FF21}",
            "\u{1F600}",
            "\u{E0001}",
            "\u{3099}",
            "\u{1100}",
            "\u{132}",
            "\u{149}",
            "\u{17F}",
            "\u{1C4}",
            "\u{212B}",
            "\u{20A8}",
            "\u{2011}",
            "\u{2017}",
            "\u{220}\u{221}",
            "\u{4F6}",
            "\u{3D0}",
            "\u{37E}",
            "\u{387}",
        ];
        for text in signs {
            assert_eq!(prepare(text), Err(Unpreparable), "{text:?}");
        }
    }
}
