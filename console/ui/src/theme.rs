//! The tokens: every color, type size and glass recipe the console uses, dark and light.
//!
//! Invariants: each text token reaches 4.5:1 on every surface it may stand on, each control border
//! 3:1 (tested below); on glass only `text0` and `text1` are used, since what lies behind is not
//! known. Not here: following the system's theme (`grace-console`).

use grace_gpu::scene::{Color, Family, TextStyle};

use crate::color;

/// A set of colors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theme {
    /// Whether this is a dark theme.
    pub dark: bool,
    /// The window itself.
    pub bg0: Color,
    /// Bars.
    pub bg1: Color,
    /// Cards and tables.
    pub bg2: Color,
    /// Inputs, popovers, what the pointer is over.
    pub bg3: Color,
    /// Decorative hairlines.
    pub line: Color,
    /// Borders of controls.
    pub line2: Color,
    /// Primary text.
    pub text0: Color,
    /// Secondary text.
    pub text1: Color,
    /// Captions; never on glass.
    pub text2: Color,
    /// Selection, links, focus, data.
    pub accent: Color,
    /// Fill of the primary button.
    pub accent_fill: Color,
    /// Text on `accent_fill`.
    pub on_accent: Color,
    /// Delivered.
    pub ok: Color,
    /// Wants attention.
    pub warn: Color,
    /// Failed.
    pub err: Color,
    /// Held, changed by an admin.
    pub hold: Color,
    /// Neutral notice.
    pub info: Color,
    /// The two faint lights behind the window's content.
    pub lights: [Color; 2],
}

/// The dark theme.
pub const DARK: Theme = Theme {
    dark: true,
    bg0: Color::rgb(0x0A0E12),
    bg1: Color::rgb(0x11151B),
    bg2: Color::rgb(0x181D24),
    bg3: Color::rgb(0x222831),
    line: Color::rgb(0x2F363F),
    line2: Color::rgb(0x737B86),
    text0: Color::rgb(0xECEFF2),
    text1: Color::rgb(0xB2B8C0),
    text2: Color::rgb(0x8C939C),
    accent: Color::rgb(0x4DB7EE),
    accent_fill: Color::rgb(0x007CBD),
    on_accent: Color::rgb(0xFFFFFF),
    ok: Color::rgb(0x46D193),
    warn: Color::rgb(0xF5B845),
    err: Color::rgb(0xF66D67),
    hold: Color::rgb(0xB396E8),
    info: Color::rgb(0x62C8DF),
    lights: [Color::rgb(0x1F6E94).alpha(110), Color::rgb(0x5B3F96).alpha(80)],
};

/// The light theme.
pub const LIGHT: Theme = Theme {
    dark: false,
    bg0: Color::rgb(0xF2F4F6),
    bg1: Color::rgb(0xF9FAFC),
    bg2: Color::rgb(0xFFFFFF),
    bg3: Color::rgb(0xE7EAED),
    line: Color::rgb(0xD6D9DE),
    line2: Color::rgb(0x7A8189),
    text0: Color::rgb(0x141B24),
    text1: Color::rgb(0x464E58),
    text2: Color::rgb(0x5F6772),
    accent: Color::rgb(0x0068AD),
    accent_fill: Color::rgb(0x0068AD),
    on_accent: Color::rgb(0xFFFFFF),
    ok: Color::rgb(0x007742),
    warn: Color::rgb(0x925B00),
    err: Color::rgb(0xC2272D),
    hold: Color::rgb(0x7347AF),
    info: Color::rgb(0x00708A),
    lights: [Color::rgb(0x7FBBDD).alpha(120), Color::rgb(0xB7A5E2).alpha(90)],
};

impl Theme {
    /// The same theme drawn back towards its background: what was true when the link broke.
    pub fn faded(self) -> Self {
        let fade = |color| color::mix(color, self.bg2, 0.38);
        Self {
            text0: fade(self.text0),
            text1: fade(self.text1),
            text2: fade(self.text2),
            accent: fade(self.accent),
            ok: fade(self.ok),
            warn: fade(self.warn),
            err: fade(self.err),
            hold: fade(self.hold),
            info: fade(self.info),
            ..self
        }
    }
}

/// What a text is for; gives its size, weight and family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// The number on a card.
    Display,
    /// A screen's name.
    Title,
    /// A card's name.
    Heading,
    /// Running text.
    Body,
    /// Running text that stands out.
    BodyStrong,
    /// Chips and secondary rows.
    Small,
    /// Names of states, chips that are on.
    SmallStrong,
    /// Captions.
    Caption,
    /// Times, addresses, codes.
    Mono,
}

impl Type {
    /// The style at a scale factor, in physical pixels.
    pub fn style(self, scale: f32) -> TextStyle {
        let (size, line, weight) = match self {
            Self::Display => (26.0, 32.0, 600),
            Self::Title => (18.0, 26.0, 600),
            Self::Heading => (15.0, 22.0, 600),
            Self::Body => (13.0, 20.0, 400),
            Self::BodyStrong => (13.0, 20.0, 600),
            Self::Small => (12.0, 16.0, 400),
            Self::SmallStrong => (12.0, 16.0, 600),
            Self::Caption => (11.0, 16.0, 400),
            Self::Mono => (12.0, 18.0, 400),
        };
        let family = if self == Self::Mono { Family::Mono } else { Family::Sans };
        TextStyle {
            family,
            size: size * scale,
            line_height: (line * scale).round(),
            weight,
            tabular: family == Family::Sans,
        }
    }

    /// Height of one line in logical pixels.
    pub fn line(self) -> f32 {
        self.style(1.0).line_height
    }
}

/// A kind of glass; each belongs to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GlassKind {
    /// Side bar and top bar.
    Chrome,
    /// Tool bars that content scrolls behind: clear enough to see it pass.
    Bar,
    /// Menus and chips that float.
    Popover,
}

impl GlassKind {
    /// What is laid over the blurred picture.
    pub fn tint(self, theme: &Theme) -> Color {
        match self {
            Self::Chrome => color::percent(theme.bg2, 72),
            Self::Bar => color::percent(color::mix(theme.bg2, theme.bg3, 0.5), 64),
            Self::Popover => color::percent(theme.bg3, 82),
        }
    }

    /// The same surface where glass is off.
    pub fn solid(self, theme: &Theme) -> Color {
        match self {
            Self::Chrome => color::mix(theme.bg1, theme.bg2, 0.5),
            Self::Bar => color::mix(theme.bg2, theme.bg3, 0.5),
            Self::Popover => theme.bg3,
        }
    }

    /// Halvings and tap offset of the blur.
    pub fn strength(self) -> (u8, f32) {
        match self {
            Self::Chrome => (3, 3.25),
            Self::Bar => (2, 3.0),
            Self::Popover => (3, 4.25),
        }
    }

    /// The light line inside the top edge.
    pub fn edge(self, theme: &Theme) -> Color {
        let white = Color::rgb(0xFF_FFFF);
        if theme.dark { color::percent(white, 6) } else { color::percent(white, 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_readable_on_every_surface() {
        for theme in [DARK, LIGHT] {
            let texts = [
                theme.text0,
                theme.text1,
                theme.text2,
                theme.accent,
                theme.ok,
                theme.warn,
                theme.err,
                theme.hold,
                theme.info,
            ];
            for text in texts {
                for surface in [theme.bg1, theme.bg2, theme.bg3] {
                    let ratio = color::contrast(text, surface);
                    assert!(
                        ratio >= 4.5,
                        "{} on {}: {ratio}",
                        color::name(text),
                        color::name(surface)
                    );
                }
            }
            assert!(color::contrast(theme.on_accent, theme.accent_fill) >= 4.5);
            for surface in [theme.bg1, theme.bg2, theme.bg3] {
                assert!(color::contrast(theme.line2, surface) >= 3.0);
            }
        }
    }

    #[test]
    fn faded_text_stays_readable() {
        for theme in [DARK, LIGHT] {
            let faded = theme.faded();
            assert!(color::contrast(faded.text0, theme.bg2) >= 4.5);
            assert!(
                color::contrast(faded.text0, theme.bg2) < color::contrast(theme.text0, theme.bg2)
            );
        }
    }

    #[test]
    fn nothing_is_smaller_than_eleven() {
        for kind in [Type::Display, Type::Body, Type::Small, Type::Caption, Type::Mono] {
            assert!(kind.style(1.0).size >= 11.0);
        }
    }
}
