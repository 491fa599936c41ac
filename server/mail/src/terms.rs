//! What an index of texts holds, and what it can say of a text that is looked for: so that the
//! answer agrees with [`Needle::is_in`], a substring of the folded text.
//!
//! ```text
//!   folded text ─▶ runs ─▶ of letters and digits: the run is a term; a long one several that
//!                          overlap
//!                          of signs that are written without spaces: each two neighbors
//!   needle ─▶ the same runs ─▶ terms there must be, and where in them: within, at their end …
//! ```
//! A run inside the needle is a run of any text it is found in; only those at its two ends may go
//! on there. So a needle that is one run is in a text if and only if it is within one of its terms;
//! of others, terms say where it cannot be. Invariants: no term contains a line end, or is longer
//! than [`TERM_BYTES_MAX`] and the rest of a character.
//! Not here: folding and comparing (`text`), keeping terms.

use std::cmp::Reverse;

use crate::text::Needle;

/// Longest term, in bytes: nearly every word there is, and most of what machines write.
pub const TERM_BYTES_MAX: usize = 2 * SOUGHT_BYTES_MAX;

/// Longest text that is looked for within a term, in bytes. Terms of a longer run begin so far from
/// each other, so that each text of this length is within one of them.
const SOUGHT_BYTES_MAX: usize = 64;

/// So many terms of one needle are looked for, the longest ones: they leave next to nothing over.
const SOUGHT_MAX: usize = 16;

/// What a character is to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a word. `@` and `_` are, so that addresses and names are found at once.
    Word,
    /// Written without spaces: Han, Kana, Thai, symbols.
    Sign,
    /// Between words.
    Gap,
}

/// Where in a term a text must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Anywhere.
    Within,
    /// At its beginning.
    Begin,
    /// At its end.
    End,
    /// It is the term.
    Whole,
}

/// A text that one of the terms must contain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sought {
    /// The text.
    pub text: String,
    /// Where in the term.
    pub place: Place,
}

/// How a needle is looked for in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the terms of a text with the needle in it must contain, all of this. Nothing: terms say
    /// nothing.
    pub sought: Vec<Sought>,
    /// And every text whose terms contain it has the needle in it.
    pub is_exact: bool,
}

impl Sought {
    /// Whether a term contains it where it must stand.
    #[must_use]
    pub fn is_in(&self, term: &str) -> bool {
        match self.place {
            Place::Within => term.contains(&self.text),
            Place::Begin => term.starts_with(&self.text),
            Place::End => term.ends_with(&self.text),
            Place::Whole => term == self.text,
        }
    }
}

impl Plan {
    /// The plan for a needle.
    #[must_use]
    pub fn new(needle: &Needle) -> Self {
        let mut sought = Vec::new();
        let mut is_exact = false;
        for run in runs(needle.folded()) {
            let is_all = run.text.len() == needle.folded().len();
            match run.class {
                Class::Sign => {
                    is_exact = is_all && run.text.chars().count() <= 2;
                    pairs(run.text, |pair| sought.push(within(pair)));
                }
                _ => {
                    is_exact = is_all && run.text.len() <= SOUGHT_BYTES_MAX;
                    let ends = run.start + run.text.len() == needle.folded().len();
                    sought.push(of_word(run.text, run.start == 0, ends));
                }
            }
        }
        sought.sort_unstable();
        sought.dedup();
        sought.sort_by_key(|sought| Reverse(sought.text.len()));
        sought.truncate(SOUGHT_MAX);
        Self { sought, is_exact }
    }
}

/// Calls `take` with each term of a folded text, as often as it is there.
pub fn terms<'a>(folded: &'a str, mut take: impl FnMut(&'a str)) {
    for run in runs(folded) {
        match run.class {
            Class::Sign => pairs(run.text, &mut take),
            _ => pieces(run.text, &mut take),
        }
    }
}

/// What of a word of a needle is looked for. Where the word ends inside the needle, so does the
/// term, or it does not begin or end there.
fn of_word(word: &str, is_first: bool, is_last: bool) -> Sought {
    let place = match (is_first, is_last) {
        (true, true) => Place::Within,
        (true, false) => Place::End,
        (false, true) => Place::Begin,
        (false, false) if word.len() <= TERM_BYTES_MAX => Place::Whole,
        (false, false) => Place::Begin,
    };
    let text = match place {
        Place::Whole => word,
        Place::End => {
            let from = word.ceil_char_boundary(word.len().saturating_sub(SOUGHT_BYTES_MAX));
            word.get(from..).unwrap_or_default()
        }
        Place::Within | Place::Begin => {
            word.get(..word.floor_char_boundary(SOUGHT_BYTES_MAX)).unwrap_or_default()
        }
    };
    Sought { text: text.to_owned(), place }
}

fn within(text: &str) -> Sought {
    Sought { text: text.to_owned(), place: Place::Within }
}

/// Characters of one class that stand together.
struct Run<'a> {
    class: Class,
    text: &'a str,
    /// Where in the whole text it begins.
    start: usize,
}

/// The runs of a text, but for gaps.
fn runs(text: &str) -> impl Iterator<Item = Run<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(start..)?;
            let class = class(rest.chars().next()?);
            let end = rest.find(|c| self::class(c) != class).unwrap_or(rest.len());
            let run = Run { class, text: rest.get(..end)?, start };
            start += end;
            if class != Class::Gap {
                return Some(run);
            }
        }
    })
}

/// The terms of a word: itself, or pieces that overlap.
fn pieces<'a>(word: &'a str, mut take: impl FnMut(&'a str)) {
    let mut start = 0;
    loop {
        let from = word.floor_char_boundary(start);
        let to = word.floor_char_boundary(start + TERM_BYTES_MAX);
        take(word.get(from..to).unwrap_or_default());
        if start + TERM_BYTES_MAX >= word.len() {
            return;
        }
        start += SOUGHT_BYTES_MAX;
    }
}

/// Each two neighbors; a sign that stands alone is a term as well.
fn pairs<'a>(signs: &'a str, mut take: impl FnMut(&'a str)) {
    let mut before = None;
    for (at, sign) in signs.char_indices() {
        if let Some(start) = before.replace(at) {
            take(signs.get(start..at + sign.len_utf8()).unwrap_or_default());
        } else if sign.len_utf8() == signs.len() {
            take(signs);
        }
    }
}

fn class(c: char) -> Class {
    match c {
        '@' | '_' => Class::Word,
        c if c.is_ascii_alphanumeric() => Class::Word,
        c if c.is_ascii() => Class::Gap,
        c if is_sign(c) => Class::Sign,
        // Accents that stand behind their letter.
        '\u{300}'..='\u{36f}' => Class::Word,
        c if c.is_alphanumeric() => Class::Word,
        _ => Class::Gap,
    }
}

/// Scripts without spaces between words, and pictures.
fn is_sign(c: char) -> bool {
    matches!(c,
        // Thai, Lao, Tibetan; Burmese; Khmer.
        '\u{e00}'..='\u{fff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        // Arrows, mathematics, dingbats.
        | '\u{2190}'..='\u{2bff}'
        // Iteration mark and zero; Kana and Bopomofo; Han, and letters of half width.
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        // Emoji; further Han.
        | '\u{1f000}'..='\u{1faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        terms(text, |term| all.push(term));
        all
    }

    #[test]
    fn words_and_pairs_of_signs_are_terms() {
        let check = |text: &str, terms: &[&str]| assert_eq!(all(text), terms, "{text:?}");
        check("", &[]);
        check("to: ann_b@example.org\n", &["to", "ann_b@example", "org"]);
        check("grüsse, don't", &["grüsse", "don", "t"]);
        check("日本語のa", &["日本", "本語", "語の", "a"]);
        check("山。 🎉", &["山", "🎉"]);
        check("안녕 мир", &["안녕", "мир"]);
    }

    #[test]
    fn every_text_of_a_long_word_is_within_a_term() {
        for letter in ["x", "ä", "\u{1d7d8}"] {
            let word: String = (0..100).flat_map(|n| [letter.to_owned(), n.to_string()]).collect();
            let terms = all(&word);
            assert!(terms.iter().all(|term| term.len() < TERM_BYTES_MAX + 4));
            for (start, _) in word.char_indices() {
                let end = word.floor_char_boundary(start + SOUGHT_BYTES_MAX);
                let text = &word[start..end];
                assert!(terms.iter().any(|term| term.contains(text)), "{text}");
            }
            let last = word.ceil_char_boundary(word.len() - SOUGHT_BYTES_MAX);
            assert!(terms.last().is_some_and(|term| term.ends_with(&word[last..])));
        }
    }

    #[test]
    fn needles_become_terms_to_look_for() {
        let check = |needle: &str, is_exact: bool, sought: &[(&str, Place)]| {
            let plan = Plan::new(&Needle::new(needle));
            let found: Vec<(&str, Place)> =
                plan.sought.iter().map(|one| (one.text.as_str(), one.place)).collect();
            assert_eq!((plan.is_exact, found.as_slice()), (is_exact, sought), "{needle:?}");
        };
        check("Straße", true, &[("strasse", Place::Within)]);
        check("meeting at", false, &[("meeting", Place::End), ("at", Place::Begin)]);
        check("a bc d", false, &[("bc", Place::Whole), ("a", Place::End), ("d", Place::Begin)]);
        check(" hello", false, &[("hello", Place::Begin)]);
        check("hello.", false, &[("hello", Place::End)]);
        check("日", true, &[("日", Place::Within)]);
        check("日本", true, &[("日本", Place::Within)]);
        check("日本語", false, &[("日本", Place::Within), ("本語", Place::Within)]);
        check("", false, &[]);
        check("... ", false, &[]);
        let long = "x".repeat(300);
        let cut = "x".repeat(SOUGHT_BYTES_MAX);
        check(&long, false, &[(&cut, Place::Within)]);
        check(&format!("-{long}-"), false, &[(&cut, Place::Begin)]);
        check(&format!("{long}-"), false, &[(&cut, Place::End)]);
    }
}
