//! What a frame shows, as plain data: the toolkit makes a [`Scene`], the renderer draws it.
//!
//! Coordinates are physical pixels, x to the right, y down, from the window's top left corner; the
//! toolkit has already applied the scale factor and snapped edges to whole pixels. Colors are sRGB
//! with straight alpha. Invariants: strata are drawn in order; within a stratum first the glass
//! panels, then the quads, then the lines, then the texts, each in list order.
//! Not here: Vulkan, fonts, damage.

use std::sync::Arc;

/// A color: sRGB, straight (not premultiplied) alpha, 8 bits a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
    /// Opacity: 0 shows nothing, 255 hides what is below.
    pub a: u8,
}

impl Color {
    /// Nothing at all.
    pub const TRANSPARENT: Self = Self { r: 0, g: 0, b: 0, a: 0 };

    /// An opaque color from `0xRRGGBB`.
    pub const fn rgb(hex: u32) -> Self {
        let [_, r, g, b] = hex.to_be_bytes();
        Self { r, g, b, a: 255 }
    }

    /// The same color with `alpha` (0..=255).
    pub const fn alpha(self, alpha: u8) -> Self {
        Self { a: alpha, ..self }
    }
}

/// A rectangle: `x`, `y` its top left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

/// A filled, rounded, bordered, maybe shadowed rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quad {
    /// Its outer edges.
    pub rect: Rect,
    /// Pixels outside are not drawn.
    pub clip: Rect,
    /// Fill at the top and at the bottom; equal for a flat fill.
    pub fill: [Color; 2],
    /// Corner radius in pixels.
    pub radius: f32,
    /// Border width in pixels, drawn inside the rectangle; 0: none.
    pub border_width: f32,
    /// Color of the border.
    pub border: Color,
    /// Standard deviation of the shadow's blur in pixels; 0: the quad is no shadow. A shadow quad
    /// draws only the blurred fill of `rect`.
    pub shadow_sigma: f32,
}

/// An anti-aliased line through points, for charts.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The points, at least two, as `[x, y]`.
    pub points: Vec<[f32; 2]>,
    /// Pixels outside are not drawn.
    pub clip: Rect,
    /// Width in pixels.
    pub width: f32,
    /// Color of the whole line.
    pub color: Color,
}

/// Which of the bundled families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Inter.
    Sans,
    /// JetBrains Mono.
    Mono,
}

/// How a text looks. Sizes are physical pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextStyle {
    /// The typeface.
    pub family: Family,
    /// Font size.
    pub size: f32,
    /// Distance from one line to the next; a line is centered in it.
    pub line_height: f32,
    /// 400 regular, 500 medium, 600 semibold.
    pub weight: u16,
    /// Figures all of one width (OpenType `tnum`).
    pub tabular: bool,
}

/// A run of text on one line or, where `wrap` is set, on several.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The words; a line feed ends a line.
    pub text: Arc<str>,
    /// How they look.
    pub style: TextStyle,
    /// Color of the letters.
    pub color: Color,
    /// Left edge of the first line box.
    pub x: f32,
    /// Top of the first line box.
    pub y: f32,
    /// Width to wrap or to end in an ellipsis at; infinite: neither.
    pub max_width: f32,
    /// Break lines at `max_width` instead of ending in an ellipsis.
    pub wrap: bool,
    /// Pixels outside are not drawn.
    pub clip: Rect,
}

/// A panel through which what lies below in earlier strata is seen blurred. Its shadow is a quad of
/// an earlier stratum: in its own it would lie on the panel. Things that change often are best kept
/// on top of glass or out of its reach (a few dozen pixels), since each change below blurs anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glass {
    /// Its outer edges.
    pub rect: Rect,
    /// Corner radius in pixels.
    pub radius: f32,
    /// Laid over the blurred picture; its alpha says how much of that is hidden.
    pub tint: Color,
    /// Strength: number of dual-Kawase halvings (2..=4).
    pub iterations: u8,
    /// Strength: the tap offset in half texels.
    pub offset: f32,
    /// Inner line at the top edge.
    pub edge: Color,
}

/// Things drawn together; a later stratum lies above an earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stratum {
    /// Drawn first.
    pub glass: Vec<Glass>,
    /// Drawn over the glass.
    pub quads: Vec<Quad>,
    /// Drawn over the quads.
    pub lines: Vec<Line>,
    /// Drawn last.
    pub texts: Vec<Text>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Width and height in physical pixels.
    pub size: (u32, u32),
    /// What is seen where nothing is drawn; its alpha is ignored, a window is opaque.
    pub background: Color,
    /// From the lowest to the highest.
    pub strata: Vec<Stratum>,
}
