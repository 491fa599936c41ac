//! Mixing and naming colors.
//!
//! Not here: which colors there are (`theme`).

use grace_gpu::scene::Color;

/// `share` of `top` (0.0..=1.0) over the rest of `base`, channel by channel in sRGB.
pub fn mix(base: Color, top: Color, share: f32) -> Color {
    let channel = |a: u8, b: u8| {
        let mixed = f32::from(a) + (f32::from(b) - f32::from(a)) * share.clamp(0.0, 1.0);
        to_byte(mixed)
    };
    Color {
        r: channel(base.r, top.r),
        g: channel(base.g, top.g),
        b: channel(base.b, top.b),
        a: channel(base.a, top.a),
    }
}

/// The color with an opacity in percent.
pub fn percent(color: Color, percent: u8) -> Color {
    color.alpha(to_byte(f32::from(percent.min(100)) * 2.55))
}

/// `#RRGGBB`, with `/AA` behind it when not opaque.
pub fn name(color: Color) -> String {
    let Color { r, g, b, a } = color;
    if a == 255 {
        format!("#{r:02X}{g:02X}{b:02X}")
    } else {
        format!("#{r:02X}{g:02X}{b:02X}/{a:02X}")
    }
}

/// How much light the color gives, by WCAG 2.2 ("relative luminance"), 0.0..=1.0.
pub fn luminance(color: Color) -> f32 {
    let linear = |byte: u8| {
        let value = f32::from(byte) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b)
}

/// WCAG 2.2 contrast ratio of two opaque colors, 1.0..=21.0.
pub fn contrast(a: Color, b: Color) -> f32 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to a byte just before")]
fn to_byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_goes_from_base_to_top() {
        let (black, white) = (Color::rgb(0), Color::rgb(0xff_ffff));
        assert_eq!(mix(black, white, 0.0), black);
        assert_eq!(mix(black, white, 1.0), white);
        assert_eq!(name(mix(black, white, 0.5)), "#808080");
        assert_eq!(name(percent(white, 50)), "#FFFFFF/80");
    }

    #[test]
    fn contrast_matches_the_two_ends() {
        assert!((contrast(Color::rgb(0), Color::rgb(0xff_ffff)) - 21.0).abs() < 0.01);
        assert!((contrast(Color::rgb(0x777777), Color::rgb(0x777777)) - 1.0).abs() < 0.01);
    }
}
