//! Areas in logical pixels, and the one place where they become whole physical ones.
//!
//! Invariants: an [`Area`] made by [`Area::intersect`] is never negative; two areas that touch in
//! logical pixels touch in physical ones at every scale, since both round the shared edge alike.
//! Not here: where areas come from (`layout`).

use grace_gpu::scene::Rect;

/// A rectangle in logical pixels: `x`, `y` is its top left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Area {
    /// Wider than any screen: clips nothing.
    pub const EVERYWHERE: Self = Self { x: -1e6, y: -1e6, w: 2e6, h: 2e6 };

    /// An area from its corner and size.
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    /// The right edge.
    pub fn right(self) -> f32 {
        self.x + self.w
    }

    /// The bottom edge.
    pub fn bottom(self) -> f32 {
        self.y + self.h
    }

    /// Whether the point lies inside.
    pub fn contains(self, x: f32, y: f32) -> bool {
        x >= self.x && y >= self.y && x < self.right() && y < self.bottom()
    }

    /// What both areas cover; without size when they do not meet.
    pub fn intersect(self, other: Self) -> Self {
        let x = self.x.max(other.x);
        let y = self.y.max(other.y);
        let w = (self.right().min(other.right()) - x).max(0.0);
        let h = (self.bottom().min(other.bottom()) - y).max(0.0);
        Self { x, y, w, h }
    }

    /// Whether nothing fits inside.
    pub fn is_empty(self) -> bool {
        self.w <= 0.0 || self.h <= 0.0
    }

    /// The area moved by `dx`, `dy`.
    pub fn moved(self, dx: f32, dy: f32) -> Self {
        Self { x: self.x + dx, y: self.y + dy, ..self }
    }

    /// The area with every edge `by` further inside; negative: further outside.
    pub fn inset(self, by: f32) -> Self {
        Self { x: self.x + by, y: self.y + by, w: self.w - 2.0 * by, h: self.h - 2.0 * by }
    }

    /// The same area in whole physical pixels. Edges are rounded, not sizes, so neighbors never
    /// leave a seam between them.
    pub fn snapped(self, scale: f32) -> Rect {
        let x = (self.x * scale).round();
        let y = (self.y * scale).round();
        let w = (self.right() * scale).round() - x;
        let h = (self.bottom() * scale).round() - y;
        Rect { x, y, w, h }
    }
}

/// A width of a line in whole physical pixels, never thinner than one.
pub fn hairline(width: f32, scale: f32) -> f32 {
    if width <= 0.0 { 0.0 } else { (width * scale).round().max(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_areas_leave_no_seam_at_any_scale() {
        for scale in [1.0, 1.25, 1.5, 1.75, 2.0] {
            let mut x = 3.3;
            for width in [7.7, 11.1, 0.4, 31.9] {
                let left = Area::new(x, 0.0, width, 10.0).snapped(scale);
                let right = Area::new(x + width, 0.0, 5.0, 10.0).snapped(scale);
                assert_eq!(left.x + left.w, right.x, "scale {scale}, at {x}");
                x += width;
            }
        }
    }

    #[test]
    fn areas_that_do_not_meet_intersect_in_nothing() {
        let a = Area::new(0.0, 0.0, 10.0, 10.0);
        assert!(a.intersect(Area::new(20.0, 0.0, 5.0, 5.0)).is_empty());
        assert_eq!(a.intersect(Area::new(5.0, 5.0, 50.0, 2.0)), Area::new(5.0, 5.0, 5.0, 2.0));
    }

    #[test]
    fn a_hairline_is_seen_at_every_scale() {
        assert_eq!(hairline(1.0, 1.0), 1.0);
        assert_eq!(hairline(1.0, 0.8), 1.0);
        assert_eq!(hairline(1.0, 2.0), 2.0);
        assert_eq!(hairline(0.0, 2.0), 0.0);
    }
}
