//! How wide a text is: asked of the renderer's fonts, or of a simple rule in tests.
//!
//! Invariants: the cache holds at most [`CACHED_MAX`] widths. Not here: shaping itself
//! (`grace_gpu::text`).

use std::collections::HashMap;

use grace_gpu::scene::{Family, TextStyle};
use grace_gpu::text::Fonts;

/// Widths kept before the cache starts again: a screen shows a few hundred texts, and a day of
/// events must not grow the console.
pub const CACHED_MAX: usize = 8_192;

/// Tells the width of a text on one line, in the pixels of the style's size.
pub trait Measure {
    /// The width of `text`.
    fn width(&mut self, text: &str, style: &TextStyle) -> f32;
}

/// Every character has one width: tests then need no fonts and read easily.
#[derive(Debug, Default, Clone, Copy)]
pub struct FixedWidth;

impl Measure for FixedWidth {
    fn width(&mut self, text: &str, style: &TextStyle) -> f32 {
        let advance = match style.family {
            Family::Sans => 0.55,
            Family::Mono => 0.6,
        };
        let chars = text.chars().fold(0.0, |sum, _| sum + 1.0);
        chars * advance * style.size
    }
}

impl Measure for Fonts {
    fn width(&mut self, text: &str, style: &TextStyle) -> f32 {
        self.measure(text, *style, f32::INFINITY, false).width
    }
}

/// A measurer that remembers.
pub(crate) struct Cached {
    inner: Box<dyn Measure>,
    widths: HashMap<(u64, String), f32>,
}

impl Cached {
    pub(crate) fn new(inner: Box<dyn Measure>) -> Self {
        Self { inner, widths: HashMap::new() }
    }

    pub(crate) fn width(&mut self, text: &str, style: &TextStyle) -> f32 {
        if text.is_empty() {
            return 0.0;
        }
        let bits = u64::from(style.size.to_bits()) << 16
            | u64::from(style.weight) << 4
            | u64::from(style.tabular) << 1
            | u64::from(style.family == Family::Mono);
        let name = (bits, text.to_owned());
        if let Some(width) = self.widths.get(&name) {
            return *width;
        }
        if self.widths.len() >= CACHED_MAX {
            self.widths.clear();
        }
        let width = self.inner.width(text, style);
        self.widths.insert(name, width);
        width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Type;

    #[test]
    fn the_cache_is_bounded_and_right() {
        let mut cached = Cached::new(Box::new(FixedWidth));
        let style = Type::Mono.style(1.0);
        for number in 0..CACHED_MAX + 10 {
            cached.width(&number.to_string(), &style);
        }
        assert!(cached.widths.len() <= CACHED_MAX);
        assert_eq!(cached.width("ab", &style), 0.6 * 12.0 * 2.0);
        assert_eq!(cached.width("ab", &Type::Mono.style(2.0)), 0.6 * 24.0 * 2.0);
    }
}
