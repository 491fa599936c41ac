//! Whole-pixel rectangles, and sets of them that never overlap.
//!
//! Invariants: an empty rectangle is never in a region; the rectangles of a region are disjoint
//! and at most [`RECTS_MAX`]. Disjoint matters: a pixel drawn twice would be blended twice.
//! Not here: why a part is in the region (`damage`).

use crate::scene::Rect;

/// More parts than this cost more in draw calls than they save in pixels.
pub(crate) const RECTS_MAX: usize = 8;

/// Beyond this share of the window (in percent) the whole window is drawn instead.
const FULL_PERCENT: i64 = 70;

/// Half-open: `x0..x1`, `y0..y1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct PixelRect {
    pub(crate) x0: i32,
    pub(crate) y0: i32,
    pub(crate) x1: i32,
    pub(crate) y1: i32,
}

impl PixelRect {
    pub(crate) const fn new(x0: i32, y0: i32, x1: i32, y1: i32) -> Self {
        Self { x0, y0, x1, y1 }
    }

    /// The whole of a window.
    pub(crate) fn of_size((width, height): (u32, u32)) -> Self {
        Self::new(0, 0, to_pixel(width as f32), to_pixel(height as f32))
    }

    /// The smallest one that covers `rect`.
    pub(crate) fn covering(rect: Rect) -> Self {
        Self::new(
            to_pixel(rect.x.floor()),
            to_pixel(rect.y.floor()),
            to_pixel((rect.x + rect.w).ceil()),
            to_pixel((rect.y + rect.h).ceil()),
        )
    }

    pub(crate) fn is_empty(self) -> bool {
        self.x1 <= self.x0 || self.y1 <= self.y0
    }

    pub(crate) fn width(self) -> u32 {
        u32::try_from(self.x1.saturating_sub(self.x0)).unwrap_or(0)
    }

    pub(crate) fn height(self) -> u32 {
        u32::try_from(self.y1.saturating_sub(self.y0)).unwrap_or(0)
    }

    pub(crate) fn area(self) -> i64 {
        i64::from(self.width()) * i64::from(self.height())
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self::new(
            self.x0.max(other.x0),
            self.y0.max(other.y0),
            self.x1.min(other.x1),
            self.y1.min(other.y1),
        )
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }

    #[cfg(test)]
    pub(crate) fn contains(self, other: Self) -> bool {
        self.x0 <= other.x0 && self.y0 <= other.y0 && other.x1 <= self.x1 && other.y1 <= self.y1
    }

    /// The smallest one that covers both.
    pub(crate) fn union(self, other: Self) -> Self {
        Self::new(
            self.x0.min(other.x0),
            self.y0.min(other.y0),
            self.x1.max(other.x1),
            self.y1.max(other.y1),
        )
    }

    /// Larger by `by` on every side.
    pub(crate) fn grown(self, by: i32) -> Self {
        Self::new(
            self.x0.saturating_sub(by),
            self.y0.saturating_sub(by),
            self.x1.saturating_add(by),
            self.y1.saturating_add(by),
        )
    }

    pub(crate) fn to_rect(self) -> Rect {
        let (x, y) = (self.x0 as f32, self.y0 as f32);
        Rect { x, y, w: self.width() as f32, h: self.height() as f32 }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to a range that i32 holds; NaN is 0")]
pub(crate) fn to_pixel(value: f32) -> i32 {
    // Far outside any window, and sums of a few still fit.
    value.clamp(-1.0e6, 1.0e6) as i32
}

/// A set of pixels as few disjoint rectangles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Region {
    rects: Vec<PixelRect>,
}

impl Region {
    pub(crate) fn rects(&self) -> &[PixelRect] {
        &self.rects
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rects.is_empty()
    }

    pub(crate) fn intersects(&self, rect: PixelRect) -> bool {
        self.rects.iter().any(|own| own.intersects(rect))
    }

    pub(crate) fn area(&self) -> i64 {
        self.rects.iter().map(|rect| rect.area()).sum()
    }

    /// Covers `rect` too, and maybe a little more.
    pub(crate) fn add(&mut self, rect: PixelRect) {
        if rect.is_empty() {
            return;
        }
        let mut grown = rect;
        // What the newcomer overlaps, or nearly fills up with it, becomes one with it; the union
        // may then overlap others, so begin again. Each round removes one: it ends.
        while let Some(at) = self.rects.iter().position(|own| belongs_together(*own, grown)) {
            grown = grown.union(self.rects.swap_remove(at));
        }
        self.rects.push(grown);
        if self.rects.len() > RECTS_MAX {
            self.merge_cheapest();
        }
    }

    /// Only what lies in the window; all of it where that is cheaper.
    pub(crate) fn clipped(&self, window: PixelRect) -> Self {
        let mut rects: Vec<_> = self.rects.iter().map(|rect| rect.intersection(window)).collect();
        rects.retain(|rect| !rect.is_empty());
        let clipped = Self { rects };
        if clipped.area() * 100 > window.area() * FULL_PERCENT {
            return Self { rects: vec![window] };
        }
        clipped
    }

    /// Joins the two whose union adds the fewest pixels.
    fn merge_cheapest(&mut self) {
        let mut best: Option<(i64, usize, usize)> = None;
        for (i, a) in self.rects.iter().enumerate() {
            for (j, b) in self.rects.iter().enumerate().skip(i + 1) {
                let waste = a.union(*b).area() - a.area() - b.area();
                if best.is_none_or(|(least, ..)| waste < least) {
                    best = Some((waste, i, j));
                }
            }
        }
        let Some((_, i, j)) = best else { return };
        // `j` is behind `i`, so removing it first leaves `i` in place.
        let b = self.rects.swap_remove(j);
        let a = self.rects.swap_remove(i);
        self.add(a.union(b));
    }
}

fn belongs_together(a: PixelRect, b: PixelRect) -> bool {
    let union = a.union(b).area();
    // A quarter more pixels is cheaper than another round of draw calls.
    a.intersects(b) || union * 4 <= (a.area() + b.area()) * 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(rects: &[PixelRect]) -> Region {
        let mut region = Region::default();
        for rect in rects {
            region.add(*rect);
        }
        region
    }

    #[test]
    fn overlapping_become_one_distant_stay_apart() {
        let joined = region(&[PixelRect::new(0, 0, 10, 10), PixelRect::new(5, 5, 15, 15)]);
        assert_eq!(joined.rects(), [PixelRect::new(0, 0, 15, 15)]);
        let apart = region(&[PixelRect::new(0, 0, 10, 10), PixelRect::new(500, 5, 510, 15)]);
        assert_eq!(apart.rects().len(), 2);
    }

    #[test]
    fn an_empty_rectangle_adds_nothing() {
        assert!(region(&[PixelRect::new(5, 5, 5, 10)]).is_empty());
        assert!(region(&[PixelRect::new(9, 5, 5, 10)]).is_empty());
    }

    #[test]
    fn most_of_the_window_is_all_of_it() {
        let window = PixelRect::new(0, 0, 100, 100);
        let most = region(&[PixelRect::new(-5, 0, 80, 200)]).clipped(window);
        assert_eq!(most.rects(), [window]);
        let some = region(&[PixelRect::new(-5, 0, 30, 200)]).clipped(window);
        assert_eq!(some.rects(), [PixelRect::new(0, 0, 30, 100)]);
    }

    /// 2,000 random sets: always disjoint, always few, always covering what was added.
    #[test]
    fn random_sets_stay_disjoint_and_cover() {
        let mut seed = 0x9e37_79b9_u32;
        let mut random = |limit: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i32::try_from((seed >> 8) % limit).unwrap()
        };
        for round in 0..2_000 {
            let added: Vec<_> = (0..1 + random(30))
                .map(|_| {
                    let (x, y) = (random(1000), random(700));
                    PixelRect::new(x, y, x + 1 + random(120), y + 1 + random(60))
                })
                .collect();
            let region = region(&added);
            assert!(region.rects().len() <= RECTS_MAX, "round {round}");
            for (i, a) in region.rects().iter().enumerate() {
                assert!(region.rects()[i + 1..].iter().all(|b| !a.intersects(*b)), "round {round}");
            }
            for rect in added {
                assert!(region.rects().iter().any(|own| own.contains(rect)), "round {round}");
            }
        }
    }
}
