//! One text laid out: its size, and the way between byte offsets and places on the screen.
//!
//! Offsets are bytes into the text as it was given, places are pixels from its top left corner.
//! Invariant: every offset has a place and every place an offset on a character boundary, however
//! far outside they are.
//! Not here: shaping and caching (`text`).

use std::borrow::Cow;
use std::ops::Range;

use glyphon::cosmic_text::{Buffer, Cursor, LayoutRun};

use crate::scene::Rect;
use crate::text::Size;

/// A text laid out. Made by [`crate::text::Fonts::layout`].
#[derive(Debug)]
pub struct Layout {
    buffer: Buffer,
    size: Size,
    line_height: f32,
    /// Where each line of the source (between line feeds) begins.
    line_starts: Vec<usize>,
    /// Length of the text in bytes.
    len: usize,
    missing: bool,
}

/// Where a text cursor stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Caret {
    /// Left edge.
    pub x: f32,
    /// Top of the line box.
    pub y: f32,
    /// Height of the line box.
    pub height: f32,
}

impl Layout {
    pub(crate) fn new(buffer: Buffer, text: &str, line_height: f32) -> Self {
        let mut size = Size { width: 0.0, height: line_height, lines: 0 };
        let mut missing = false;
        for run in buffer.layout_runs() {
            size.width = size.width.max(run.line_w);
            size.lines += 1;
            size.height = run.line_top + run.line_height;
            missing |= run.glyphs.iter().any(|glyph| glyph.glyph_id == 0);
        }
        size.lines = size.lines.max(1);
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { buffer, size, line_height, line_starts, len: text.len(), missing }
    }

    /// What the text measures.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Where the cursor stands before the byte `offset`.
    pub fn caret(&self, offset: usize) -> Caret {
        let cursor = self.cursor(offset);
        let (x, y) = self
            .runs_of(cursor.line)
            .find_map(|run| run.cursor_position(&cursor).map(|x| (x, run.line_top)))
            .or_else(|| self.runs_of(cursor.line).last().map(|run| (run.line_w, run.line_top)))
            .unwrap_or((0.0, 0.0));
        Caret { x, y, height: self.line_height }
    }

    /// The byte offset of the character boundary nearest to `x`, `y`.
    pub fn offset_at(&self, x: f32, y: f32) -> usize {
        let y = y.clamp(0.0, (self.size.height - 0.5).max(0.0));
        let Some(cursor) = self.buffer.hit(x, y) else { return 0 };
        let start = self.line_starts.get(cursor.line).copied().unwrap_or(self.len);
        (start + cursor.index).min(self.len)
    }

    /// The rectangles that cover the bytes `range`, one or more a line.
    pub fn selection(&self, range: Range<usize>) -> Vec<Rect> {
        let (from, to) = (self.cursor(range.start), self.cursor(range.end));
        let mut rects = Vec::new();
        for run in self.buffer.layout_runs() {
            if range.is_empty() || run.line_i < from.line || to.line < run.line_i {
                continue;
            }
            let spans = run.highlight(from, to);
            rects.extend(spans.map(|(x, w)| Rect { x, y: run.line_top, w, h: run.line_height }));
        }
        rects
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Whether a character has no glyph in any font and shows as an empty box.
    pub fn has_missing(&self) -> bool {
        self.missing
    }

    fn runs_of(&self, line: usize) -> impl Iterator<Item = LayoutRun<'_>> {
        self.buffer.layout_runs().filter(move |run| run.line_i == line)
    }

    fn cursor(&self, offset: usize) -> Cursor {
        let offset = offset.min(self.len);
        let line = self.line_starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        Cursor::new(line, offset - start)
    }
}

/// The text with every control character but the line feed made spaces of the same length: some of
/// them end a paragraph for the shaper, and none has a picture.
pub(crate) fn without_controls(text: &str) -> Cow<'_, str> {
    let is_control =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            clean.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}
