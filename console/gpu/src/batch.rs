//! A scene cut into draw calls: instances and ranges, still plain data.
//!
//! Invariants: what lies outside the region is left out; every range points into the batch's own
//! instances. Figures that are not finite are left out too: nothing from a scene makes the device
//! misbehave.
//! Not here: which region (`damage`), buffers and pipelines (`vulkan`).

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::damage::{Plan, glass_bounds, line_bounds, quad_bounds};
use crate::region::PixelRect;
use crate::scene::{Color, Glass, Line, Quad, Rect, Scene, Stratum, Text};

/// One rectangle as `rect.wgsl` reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct RectInstance {
    pub(crate) rect: [f32; 4],
    pub(crate) clip: [f32; 4],
    pub(crate) shape: [f32; 4],
    pub(crate) top: [u8; 4],
    pub(crate) bottom: [u8; 4],
    pub(crate) border: [u8; 4],
}

/// One segment as `line.wgsl` reads it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct LineInstance {
    pub(crate) before_from: [f32; 4],
    pub(crate) to_after: [f32; 4],
    pub(crate) clip: [f32; 4],
    pub(crate) shape: [f32; 4],
    pub(crate) color: [u8; 4],
}

/// Everything to draw.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) rects: Vec<RectInstance>,
    pub(crate) lines: Vec<LineInstance>,
    pub(crate) strata: Vec<StratumBatch>,
}

/// What to draw of one stratum. Panels and texts by their place in the stratum's lists.
#[derive(Debug, Default)]
pub(crate) struct StratumBatch {
    /// Panels whose blur is computed anew.
    pub(crate) stale: Vec<usize>,
    pub(crate) parts: Vec<Part>,
    pub(crate) texts: Vec<usize>,
}

/// What to draw of one stratum in one rectangle of the region.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) scissor: PixelRect,
    pub(crate) panels: Vec<usize>,
    pub(crate) rects: Range<u32>,
    pub(crate) lines: Range<u32>,
}

impl Batch {
    /// Cuts `scene` to `plan`. Without `blurs` a panel is a plain rectangle.
    pub(crate) fn new(
        scene: &Scene,
        plan: &Plan,
        blurs: bool,
        text_bounds: &mut dyn FnMut(&Text) -> PixelRect,
    ) -> Self {
        let mut batch = Self::default();
        for (at, stratum) in scene.strata.iter().enumerate() {
            let parts = plan
                .region
                .rects()
                .iter()
                .map(|&scissor| batch.part(stratum, scissor, blurs))
                .collect();
            let texts = stratum.texts.iter().enumerate();
            let texts = texts
                .filter(|(_, text)| plan.region.intersects(text_bounds(text)))
                .map(|(index, _)| index)
                .collect();
            let stale = plan.stale.get(at).cloned().unwrap_or_default();
            batch.strata.push(StratumBatch { stale, parts, texts });
        }
        batch
    }

    fn part(&mut self, stratum: &Stratum, scissor: PixelRect, blurs: bool) -> Part {
        let mut panels = Vec::new();
        let rects_start = self.rects.len();
        for (index, glass) in stratum.glass.iter().enumerate() {
            if !glass_bounds(glass).intersects(scissor) {
                continue;
            }
            if blurs {
                panels.push(index);
            } else {
                self.rects.extend(plain_panel(glass));
            }
        }
        let quads = stratum.quads.iter().filter(|quad| quad_bounds(quad).intersects(scissor));
        self.rects.extend(quads.filter_map(rect_instance));
        let lines_start = self.lines.len();
        for line in stratum.lines.iter().filter(|line| line_bounds(line).intersects(scissor)) {
            push_segments(line, &mut self.lines);
        }
        Part {
            scissor,
            panels,
            rects: range(rects_start, self.rects.len()),
            lines: range(lines_start, self.lines.len()),
        }
    }
}

/// Four billion instances do not fit in memory; saturating only keeps the conversion total.
fn range(start: usize, end: usize) -> Range<u32> {
    u32::try_from(start).unwrap_or(u32::MAX)..u32::try_from(end).unwrap_or(u32::MAX)
}

pub(crate) fn bytes_of(color: Color) -> [u8; 4] {
    [color.r, color.g, color.b, color.a]
}

fn is_finite(rect: &Rect) -> bool {
    rect.x.is_finite() && rect.y.is_finite() && rect.w.is_finite() && rect.h.is_finite()
}

/// Left, top, right, bottom; a clip may reach to infinity.
fn edges(rect: &Rect) -> [f32; 4] {
    let bounds = PixelRect::covering(*rect);
    [bounds.x0 as f32, bounds.y0 as f32, bounds.x1 as f32, bounds.y1 as f32]
}

fn rect_instance(quad: &Quad) -> Option<RectInstance> {
    let figures = [quad.radius, quad.border_width, quad.shadow_sigma];
    if !is_finite(&quad.rect) || !figures.iter().all(|figure| figure.is_finite()) {
        return None;
    }
    let Rect { x, y, w, h } = quad.rect;
    Some(RectInstance {
        rect: [x, y, w.max(0.0), h.max(0.0)],
        clip: edges(&quad.clip),
        shape: [
            quad.radius.max(0.0),
            quad.border_width.max(0.0),
            quad.shadow_sigma.clamp(0.0, 256.0),
            0.0,
        ],
        top: bytes_of(quad.fill[0]),
        bottom: bytes_of(quad.fill[1]),
        border: bytes_of(quad.border),
    })
}

/// A panel where nothing is blurred: its tint, hiding all, and its lit upper edge.
fn plain_panel(glass: &Glass) -> Option<RectInstance> {
    if !is_finite(&glass.rect) || !glass.radius.is_finite() {
        return None;
    }
    let Rect { x, y, w, h } = glass.rect;
    let tint = bytes_of(glass.tint.alpha(255));
    Some(RectInstance {
        rect: [x, y, w.max(0.0), h.max(0.0)],
        clip: edges(&Rect { x: x - 1.0, y: y - 1.0, w: w + 2.0, h: h + 2.0 }),
        shape: [glass.radius.max(0.0), 1.0, 0.0, 1.0],
        top: tint,
        bottom: tint,
        border: bytes_of(glass.edge),
    })
}

fn push_segments(line: &Line, segments: &mut Vec<LineInstance>) {
    if !line.width.is_finite() || line.width <= 0.0 {
        return;
    }
    let is_point = |p: &[f32; 2]| p[0].is_finite() && p[1].is_finite();
    for (at, pair) in line.points.windows(2).enumerate() {
        let [from, to] = *pair else { continue };
        if !is_point(&from) || !is_point(&to) {
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| line.points.get(at)).filter(|p| is_point(p));
        let after = line.points.get(at + 2).filter(|p| is_point(p));
        let has = |point: Option<&[f32; 2]>| if point.is_some() { 1.0 } else { 0.0 };
        let [bx, by] = *before.unwrap_or(&from);
        let [ax, ay] = *after.unwrap_or(&to);
        segments.push(LineInstance {
            before_from: [bx, by, from[0], from[1]],
            to_after: [to[0], to[1], ax, ay],
            clip: edges(&line.clip),
            shape: [line.width, has(before), has(after), 0.0],
            color: bytes_of(line.color),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: Rect = Rect { x: 0.0, y: 0.0, w: 100.0, h: 100.0 };

    fn line(points: &[[f32; 2]]) -> Line {
        Line { points: points.to_vec(), clip: CLIP, width: 1.5, color: Color::rgb(0) }
    }

    #[test]
    fn segments_know_their_neighbors() {
        let mut segments = Vec::new();
        push_segments(&line(&[[0.0, 0.0], [10.0, 0.0], [20.0, 5.0]]), &mut segments);
        let ends: Vec<_> = segments.iter().map(|s| (s.shape[1], s.shape[2])).collect();
        assert_eq!(ends, [(0.0, 1.0), (1.0, 0.0)]);
    }

    #[test]
    fn a_gap_of_no_numbers_is_a_gap() {
        let mut segments = Vec::new();
        let points = [[0.0, 0.0], [10.0, 0.0], [f32::NAN, 0.0], [30.0, 0.0], [40.0, 0.0]];
        push_segments(&line(&points), &mut segments);
        assert_eq!(segments.len(), 2);
        assert!(segments.iter().all(|s| s.shape[1] == 0.0 && s.shape[2] == 0.0));
    }

    #[test]
    fn what_is_outside_the_region_is_left_out() {
        let quad = |x: f32| Quad {
            rect: Rect { x, y: 0.0, w: 10.0, h: 10.0 },
            clip: CLIP,
            fill: [Color::rgb(0); 2],
            radius: 0.0,
            border_width: 0.0,
            border: Color::TRANSPARENT,
            shadow_sigma: 0.0,
        };
        let mut scene = Scene {
            size: (100, 100),
            background: Color::rgb(0),
            strata: vec![Stratum { quads: vec![quad(0.0), quad(50.0)], ..Stratum::default() }],
        };
        scene.strata[0].quads.push(quad(f32::NAN));
        let mut plan = Plan::default();
        plan.region.add(PixelRect::new(0, 0, 20, 20));
        let batch = Batch::new(&scene, &plan, false, &mut |_| PixelRect::default());
        assert_eq!(batch.rects.len(), 1);
        assert_eq!(batch.strata[0].parts[0].rects, 0..1);
    }
}
