//! How a box is laid out and what it looks like, in words short enough to read in a screen.
//!
//! Invariants: lengths are logical pixels. Not here: the layout algorithm (`layout`).

use grace_gpu::scene::Color;

use crate::theme::GlassKind;

/// Which way children follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// From left to right.
    #[default]
    Row,
    /// From top to bottom.
    Column,
}

/// Where children stand across the direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Align {
    /// At the start.
    Start,
    /// In the middle.
    Center,
    /// At the end.
    End,
    /// As wide as the parent.
    #[default]
    Stretch,
}

/// Where children stand along the direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Justify {
    /// At the start.
    #[default]
    Start,
    /// In the middle.
    Center,
    /// At the end.
    End,
    /// First at the start, last at the end, the rest between.
    Between,
}

/// The layout of one box.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Layout {
    pub(crate) direction: Direction,
    pub(crate) align: Align,
    pub(crate) justify: Justify,
    pub(crate) gap: f32,
    /// Top, right, bottom, left.
    pub(crate) padding: [f32; 4],
    pub(crate) width: Option<f32>,
    pub(crate) height: Option<f32>,
    pub(crate) min_width: Option<f32>,
    pub(crate) max_width: Option<f32>,
    pub(crate) grow: f32,
    pub(crate) shrink: f32,
    /// Start from nothing when space is shared out, so that siblings that grow are equally wide.
    pub(crate) even: bool,
    /// Top, right, bottom, left distance from the parent's edges: the box floats over its siblings.
    pub(crate) float: Option<[Option<f32>; 4]>,
}

impl Layout {
    /// Children from left to right.
    pub fn row() -> Self {
        Self::default()
    }

    /// Children from top to bottom.
    pub fn column() -> Self {
        Self { direction: Direction::Column, ..Self::default() }
    }

    /// Space between children.
    pub fn gap(self, gap: f32) -> Self {
        Self { gap, ..self }
    }

    /// Space inside the edges, the same all around.
    pub fn pad(self, all: f32) -> Self {
        Self { padding: [all; 4], ..self }
    }

    /// Space inside the edges: above and below, left and right.
    pub fn pad2(self, vertical: f32, horizontal: f32) -> Self {
        Self { padding: [vertical, horizontal, vertical, horizontal], ..self }
    }

    /// Space inside the edges: top, right, bottom, left.
    pub fn pad4(self, padding: [f32; 4]) -> Self {
        Self { padding, ..self }
    }

    /// A fixed width.
    pub fn width(self, width: f32) -> Self {
        Self { width: Some(width), ..self }
    }

    /// A fixed height.
    pub fn height(self, height: f32) -> Self {
        Self { height: Some(height), ..self }
    }

    /// Never narrower.
    pub fn min_width(self, width: f32) -> Self {
        Self { min_width: Some(width), ..self }
    }

    /// Never wider.
    pub fn max_width(self, width: f32) -> Self {
        Self { max_width: Some(width), ..self }
    }

    /// Takes what space is left, and gives way when there is none.
    pub fn grow(self) -> Self {
        Self { grow: 1.0, shrink: 1.0, ..self }
    }

    /// Takes an equal share of the parent's space, whatever it holds.
    pub fn even(self) -> Self {
        Self { even: true, ..self.grow() }
    }

    /// Gives way when there is too little space.
    pub fn shrink(self) -> Self {
        Self { shrink: 1.0, ..self }
    }

    /// Children across the direction.
    pub fn align(self, align: Align) -> Self {
        Self { align, ..self }
    }

    /// Children in the middle across the direction.
    pub fn middle(self) -> Self {
        self.align(Align::Center)
    }

    /// Children along the direction.
    pub fn justify(self, justify: Justify) -> Self {
        Self { justify, ..self }
    }

    /// Floats over the siblings, at these distances from the parent's top, right, bottom and left
    /// edge.
    pub fn float(self, edges: [Option<f32>; 4]) -> Self {
        Self { float: Some(edges), ..self }
    }
}

/// A shadow below a box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shadow {
    /// How far it is moved down.
    pub down: f32,
    /// Standard deviation of the blur.
    pub sigma: f32,
    /// Its color.
    pub color: Color,
}

/// What a box looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Look {
    pub(crate) fill: Option<[Color; 2]>,
    pub(crate) border: Option<(f32, Color)>,
    pub(crate) radius: f32,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) glass: Option<GlassKind>,
    /// A bar along the left edge: what is selected.
    pub(crate) mark: Option<Color>,
    /// A soft light as large as the box, nothing else.
    pub(crate) light: Option<(Color, f32)>,
}

impl Look {
    /// Nothing to see.
    pub fn none() -> Self {
        Self::default()
    }

    /// Filled with one color.
    pub fn fill(color: Color) -> Self {
        Self { fill: Some([color, color]), ..Self::default() }
    }

    /// Filled from one color at the top to another at the bottom.
    pub fn gradient(top: Color, bottom: Color) -> Self {
        Self { fill: Some([top, bottom]), ..Self::default() }
    }

    /// A panel of glass; solid where glass is off.
    pub fn glass(kind: GlassKind) -> Self {
        Self { glass: Some(kind), ..Self::default() }
    }

    /// A soft light of this color, blurred by `sigma`.
    pub fn light(color: Color, sigma: f32) -> Self {
        Self { light: Some((color, sigma)), ..Self::default() }
    }

    /// With a border inside the edges.
    pub fn border(self, width: f32, color: Color) -> Self {
        Self { border: Some((width, color)), ..self }
    }

    /// With round corners.
    pub fn radius(self, radius: f32) -> Self {
        Self { radius, ..self }
    }

    /// With a shadow.
    pub fn shadow(self, shadow: Shadow) -> Self {
        Self { shadow: Some(shadow), ..self }
    }

    /// With a bar along the left edge.
    pub fn mark(self, color: Color) -> Self {
        Self { mark: Some(color), ..self }
    }
}

/// Layers of the window; a later one lies above an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stratum {
    /// The lights behind everything.
    Backdrop,
    /// Cards, lists.
    #[default]
    Content,
    /// Bars of glass.
    Chrome,
    /// What floats: chips, menus, notices.
    Popover,
}

impl Stratum {
    /// All, from the lowest.
    pub const ALL: [Self; 4] = [Self::Backdrop, Self::Content, Self::Chrome, Self::Popover];
}
