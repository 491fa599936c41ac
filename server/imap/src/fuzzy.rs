//! FUZZY: texts that nearly match, and how nearly (RFC 6203).
//!
//! ```text
//!   wanted: "meting tomorow"      in a letter: "the meeting is tomorrow"
//!           each word ─▶ the same 100 · begins with it 90 · within a word 75
//!                        one letter wrong 60 · two of many wrong 40
//! ```
//! Invariants: pure; linear in the text; a text fits if each wanted word is near one of its words,
//! and its score, 1 to 100, is their mean.
//! Not here: where the texts come from (`search`).

use grace_mail::text::fold;

/// From so many letters on a word may have one wrong.
const ONE_WRONG_LETTERS: usize = 4;

/// From so many letters on a word may have two wrong.
const TWO_WRONG_LETTERS: usize = 8;

/// Words looked for at most; a longer text is looked for by its beginning.
const WORDS_MAX: usize = 16;

/// Bytes of one letter's texts that are looked at: each word of theirs is compared with each that
/// is wanted.
const LOOK_BYTES_MAX: usize = 512 * 1024;

/// The words of a text that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fuzzy {
    words: Vec<String>,
}

/// How near the words of some texts came.
#[derive(Debug)]
pub struct Nearness<'a> {
    wanted: &'a Fuzzy,
    best: Vec<u8>,
    /// So many bytes are still looked at.
    left: usize,
}

impl Fuzzy {
    /// Prepares a text.
    pub fn new(text: &str) -> Self {
        Self { words: words(&fold(text)).take(WORDS_MAX).map(str::to_owned).collect() }
    }

    /// Begins to look at texts.
    pub fn begin(&self) -> Nearness<'_> {
        Nearness { wanted: self, best: vec![0; self.words.len()], left: LOOK_BYTES_MAX }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

impl Nearness<'_> {
    /// Looks at a text, or at its beginning where the texts before were long.
    pub fn look(&mut self, text: &str) {
        let text = fold(text.get(..text.floor_char_boundary(self.left)).unwrap_or(text));
        self.left = self.left.saturating_sub(text.len());
        for word in words(&text) {
            for (wanted, best) in self.wanted.words.iter().zip(&mut self.best) {
                if *best < 100 {
                    *best = (*best).max(near(wanted, word));
                }
            }
        }
    }

    /// How near all texts together came: 0 if not at all, else 1 to 100.
    pub fn score(&self) -> u8 {
        if self.best.contains(&0) {
            return 0;
        }
        let sum: usize = self.best.iter().map(|best| usize::from(*best)).sum();
        // Nothing wanted is found everywhere.
        let mean = sum.checked_div(self.best.len()).unwrap_or(100);
        u8::try_from(mean).unwrap_or(100).max(1)
    }
}

fn near(wanted: &str, word: &str) -> u8 {
    if word == wanted {
        return 100;
    }
    if word.starts_with(wanted) {
        return 90;
    }
    if word.contains(wanted) {
        return 75;
    }
    let letters = wanted.chars().count();
    let most =
        usize::from(letters >= ONE_WRONG_LETTERS) + usize::from(letters >= TWO_WRONG_LETTERS);
    match distance(wanted, word, most) {
        Some(0 | 1) => 60,
        Some(_) => 40,
        None => 0,
    }
}

/// How many letters must be changed, put in, taken out or swapped with their neighbor to make one
/// word of the other; `None`: more than `most`.
fn distance(one: &str, other: &str, most: usize) -> Option<usize> {
    let one: Vec<char> = one.chars().collect();
    // A word is cut where it cannot be near any more.
    let other: Vec<char> = other.chars().take(one.len() + most + 1).collect();
    if most == 0 || one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, ours) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, theirs) in other.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX);
            let changed = at(&last, column) + usize::from(ours != theirs);
            let taken = at(&last, column + 1).min(at(&next, column)) + 1;
            let mut least = changed.min(taken);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(theirs)
                && other.get(column - 1) == Some(ours);
            if swapped {
                least = least.min(at(&before_last, column - 1) + 1);
            }
            next.push(least);
        }
        if next.iter().all(|cost| *cost > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last.last().copied().filter(|cost| *cost <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_scored() {
        let check = |wanted: &str, text: &str, score: u8| {
            let fuzzy = Fuzzy::new(wanted);
            let mut nearness = fuzzy.begin();
            nearness.look(text);
            assert_eq!(nearness.score(), score, "{wanted} in {text}");
        };
        check("meeting", "The MEETING.", 100);
        check("meet", "the meeting", 90);
        check("eti", "the meeting", 75);
        check("meting", "the meeting", 60);
        check("meeitng", "the meeting", 60);
        check("tomorow", "tomorrow", 60);
        check("conferrenze", "conference", 40);
        check("cat", "cut", 0);
        check("meeting lunch", "lunch meeting", 100);
        check("meeting lunch", "meeting", 0);
        check("meting lunch", "lunch at the meeting", 80);
        check("grüsse", "Viele Grüße", 100);
        check("", "anything", 100);
        check("x", "", 0);
    }

    #[test]
    fn of_a_very_long_text_the_beginning_is_looked_at() {
        let fuzzy = Fuzzy::new("tail");
        let score = |text: &str| {
            let mut nearness = fuzzy.begin();
            nearness.look(text);
            nearness.score()
        };
        let long = "ä ".repeat(LOOK_BYTES_MAX / 3);
        assert_eq!(score(&format!("{long}tail")), 0);
        assert_eq!(score(&format!("tail {long}")), 100);
    }

    #[test]
    fn texts_count_together() {
        let fuzzy = Fuzzy::new("red fox");
        let mut nearness = fuzzy.begin();
        nearness.look("a red");
        assert_eq!(nearness.score(), 0);
        nearness.look("fox");
        assert_eq!(nearness.score(), 100);
    }
}
