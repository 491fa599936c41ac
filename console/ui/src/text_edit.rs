//! One line of text being edited: caret, selection, words, undecided input.
//!
//! Invariants: `caret` and `anchor` are on character boundaries and inside the text; the text never
//! holds a control character and never exceeds [`TEXT_MAX`] bytes. Not here: drawing, blinking.

use crate::input::{Clipboard, KeyName, KeyPress};

/// Longest text a box takes, in bytes: more than anybody types into one line, and a pasted log does
/// not stall the layout.
pub const TEXT_MAX: usize = 1_024;

/// The state of one text box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextEdit {
    text: String,
    caret: usize,
    anchor: usize,
    preedit: String,
}

impl TextEdit {
    /// A box holding `text`, the caret behind it.
    pub fn new(text: &str) -> Self {
        let mut edit = Self::default();
        edit.insert(text);
        edit
    }

    /// The text without what is still undecided.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the input method shows but has not decided.
    pub fn preedit(&self) -> &str {
        &self.preedit
    }

    /// Where the caret stands, in bytes.
    pub fn caret(&self) -> usize {
        self.caret
    }

    /// The selected bytes, first to last; empty when nothing is.
    pub fn selection(&self) -> (usize, usize) {
        (self.caret.min(self.anchor), self.caret.max(self.anchor))
    }

    /// The selected text.
    pub fn selected(&self) -> &str {
        let (from, to) = self.selection();
        self.text.get(from..to).unwrap_or_default()
    }

    /// Replaces the whole text; true if it was another.
    pub fn set(&mut self, text: &str) -> bool {
        if self.text == text {
            return false;
        }
        *self = Self::new(text);
        true
    }

    /// Puts the caret on a character boundary at or before `at`.
    pub fn place(&mut self, at: usize, extend: bool) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        self.caret = at;
        if !extend {
            self.anchor = at;
        }
    }

    /// Selects everything.
    pub fn select_all(&mut self) {
        self.anchor = 0;
        self.caret = self.text.len();
    }

    /// Selects the word around `at`.
    pub fn select_word(&mut self, at: usize) {
        self.place(at, false);
        self.anchor = self.word_start(self.caret);
        self.caret = self.word_end(self.anchor.max(self.caret));
    }

    /// Replaces the selection. Line ends and tabs become spaces, other control characters go.
    pub fn insert(&mut self, text: &str) {
        let (from, to) = self.selection();
        let mut clean = String::new();
        let room = TEXT_MAX.saturating_sub(self.text.len() - (to - from));
        for c in text.chars() {
            let c = if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c };
            if c.is_control() {
                continue;
            }
            if clean.len() + c.len_utf8() > room {
                break;
            }
            clean.push(c);
        }
        self.text.replace_range(from..to, &clean);
        self.place(from + clean.len(), false);
    }

    /// Shows what the input method has not decided yet.
    pub fn set_preedit(&mut self, text: String) {
        self.preedit = text;
    }

    /// Takes what the input method decided.
    pub fn commit(&mut self, text: &str) {
        self.preedit.clear();
        self.insert(text);
    }

    /// Handles a key. True: it was meant for the box, whether or not something changed.
    pub fn key(&mut self, press: &KeyPress, clipboard: &mut dyn Clipboard) -> bool {
        // While the input method composes, keys are its own.
        if !self.preedit.is_empty() {
            return true;
        }
        let mods = press.mods;
        match press.key {
            KeyName::Char(c) if mods.ctrl && !mods.alt => return self.chord(c, clipboard),
            KeyName::Left | KeyName::Right | KeyName::Home | KeyName::End => self.travel(press),
            KeyName::Backspace => self.erase(if mods.ctrl {
                self.word_start(self.caret)
            } else {
                self.before(self.caret)
            }),
            KeyName::Delete => self.erase(if mods.ctrl {
                self.word_end(self.caret)
            } else {
                self.after(self.caret)
            }),
            _ => match &press.text {
                Some(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => {
                    self.insert(text);
                }
                _ => return false,
            },
        }
        true
    }

    fn chord(&mut self, c: char, clipboard: &mut dyn Clipboard) -> bool {
        match c {
            'a' => self.select_all(),
            'c' | 'x' => {
                if !self.selected().is_empty() {
                    clipboard.write(self.selected().to_owned());
                    if c == 'x' {
                        self.insert("");
                    }
                }
            }
            'v' => {
                if let Some(text) = clipboard.read() {
                    self.insert(&text);
                }
            }
            _ => return false,
        }
        true
    }

    fn travel(&mut self, press: &KeyPress) {
        let (mods, (from, to)) = (press.mods, self.selection());
        let collapse = from != to && !mods.shift && !mods.ctrl;
        let at = match press.key {
            KeyName::Left if collapse => from,
            KeyName::Right if collapse => to,
            KeyName::Left if mods.ctrl => self.word_start(self.caret),
            KeyName::Right if mods.ctrl => self.word_end(self.caret),
            KeyName::Left => self.before(self.caret),
            KeyName::Right => self.after(self.caret),
            KeyName::Home => 0,
            _ => self.text.len(),
        };
        self.place(at, mods.shift);
    }

    /// Removes the selection or, without one, what lies between the caret and `to`.
    fn erase(&mut self, to: usize) {
        if self.caret == self.anchor {
            self.anchor = to;
        }
        self.insert("");
    }

    fn before(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|t| t.char_indices().next_back()).map_or(0, |(i, _)| i)
    }

    fn after(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|t| t.chars().next()).map_or(at, |c| at + c.len_utf8())
    }

    /// The start of the word before `at`.
    fn word_start(&self, at: usize) -> usize {
        let head = self.text.get(..at).unwrap_or_default();
        let head = head.trim_end_matches(|c: char| !c.is_alphanumeric());
        head.trim_end_matches(char::is_alphanumeric).len()
    }

    /// The end of the word after `at`.
    fn word_end(&self, at: usize) -> usize {
        let tail = self.text.get(at..).unwrap_or_default();
        let rest = tail.trim_start_matches(|c: char| !c.is_alphanumeric());
        self.text.len() - rest.trim_start_matches(char::is_alphanumeric).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Mods, PrivateClipboard};

    /// `|` is the caret, `[` `]` the selection's ends.
    fn show(edit: &TextEdit) -> String {
        let (from, to) = edit.selection();
        let mut shown = edit.text().to_owned();
        if from == to {
            shown.insert(edit.caret(), '|');
        } else {
            shown.insert(to, ']');
            shown.insert(from, '[');
        }
        shown
    }

    /// Types a script: `<left>` and the like are keys, `^` control, `+` shift; the rest is text.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let mut edit = TextEdit::default();
        let mut clipboard = PrivateClipboard::default();
        for part in script.split(' ') {
            let (ctrl, part) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
            let (shift, part) = part.strip_prefix('+').map_or((false, part), |rest| (true, rest));
            let mods = Mods { ctrl, shift, alt: false };
            let key = match part {
                "<left>" => KeyName::Left,
                "<right>" => KeyName::Right,
                "<home>" => KeyName::Home,
                "<end>" => KeyName::End,
                "<bs>" => KeyName::Backspace,
                "<del>" => KeyName::Delete,
                "<space>" => KeyName::Space,
                text if ctrl => KeyName::Char(text.chars().next().expect("a chord has a letter")),
                text => {
                    edit.insert(text);
                    continue;
                }
            };
            let text = (key == KeyName::Space).then(|| " ".to_owned());
            edit.key(&KeyPress { key, text, mods }, &mut clipboard);
        }
        assert_eq!(show(&edit), expected, "{script}");
    }

    #[test]
    fn editing() {
        check("otto", "otto|");
        check("otto <left> <left>", "ot|to");
        check("otto <home> <del>", "|tto");
        check("otto <bs> <bs>", "ot|");
        check("a <space> b", "a b|");
        check("größe <left> <bs>", "grö|e");
        check("grün <home> <right> <right> <right> x", "grüx|n");
    }

    #[test]
    fn words() {
        check("to:otto@example.org ^<left>", "to:otto@example.|org");
        check("to:otto@example.org ^<left> ^<left>", "to:otto@|example.org");
        check("to:otto@example.org ^<bs>", "to:otto@example.|");
        check("to:otto <home> ^<right>", "to|:otto");
        check("to:otto <home> ^<del>", "|:otto");
    }

    #[test]
    fn selecting() {
        check("otto +<left> +<left>", "ot[to]");
        check("otto +<home>", "[otto]");
        check("otto +<home> <left>", "|otto");
        check("otto +<home> <right>", "otto|");
        check("otto +<home> x", "x|");
        check("otto ^a <bs>", "|");
        check("otto ^a ^x anna ^v", "annaotto|");
        check("otto ^a ^c <end> ^v", "ottootto|");
        check("otto ^+<left>", "[otto]");
    }

    #[test]
    fn pasted_line_ends_become_spaces_and_length_is_bounded() {
        let mut edit = TextEdit::default();
        edit.insert("a\nb\tc\u{7}d");
        assert_eq!(edit.text(), "a b cd");
        edit.insert(&"ä".repeat(TEXT_MAX));
        assert!(edit.text().len() <= TEXT_MAX);
        edit.place(edit.text().len() - 1, false);
        assert!(edit.text().is_char_boundary(edit.caret()));
    }

    #[test]
    fn undecided_text_is_not_text_yet() {
        let mut edit = TextEdit::new("a");
        edit.set_preedit("に".to_owned());
        assert_eq!(edit.text(), "a");
        let swallowed =
            edit.key(&KeyPress::plain(KeyName::Backspace), &mut PrivateClipboard::default());
        assert!(swallowed, "keys belong to the input method while it composes");
        assert_eq!(edit.text(), "a");
        edit.commit("日");
        assert_eq!(edit.text(), "a日");
    }

    #[test]
    fn a_double_click_takes_a_word() {
        let mut edit = TextEdit::new("from otto now");
        edit.select_word(7);
        assert_eq!(edit.selected(), "otto");
    }
}
