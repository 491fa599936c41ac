//! The window's icon, drawn here: an envelope whose flap is a trace line with one lit node.
//!
//! Drawn by distances, so that every size is sharp. Not here: the icon of the desktop entry and of
//! the Windows program, which are files.

use winit::window::Icon;

/// Side in pixels: what X11 desktops and Windows scale from.
const SIDE: u16 = 64;

type Point = [f32; 2];

/// Parts from the lowest to the topmost: color, half thickness, line; in shares of the side.
const LINES: [([u8; 3], f32, &[Point]); 2] = [
    (WHITE, 0.030, &[[0.20, 0.30], [0.80, 0.30], [0.80, 0.70], [0.20, 0.70], [0.20, 0.30]]),
    (WHITE, 0.030, &[[0.20, 0.32], [0.50, 0.55], [0.80, 0.32]]),
];
const WHITE: [u8; 3] = [0xEC, 0xEF, 0xF2];
const TOP: [u8; 3] = [0x1A, 0x93, 0xD6];
const BOTTOM: [u8; 3] = [0x06, 0x5C, 0x92];
const LIT: [u8; 3] = [0x46, 0xD1, 0x93];
const NODE: Point = [0.50, 0.55];
const NODE_RADIUS: f32 = 0.085;

/// The icon; `None` where the system wants none.
pub(crate) fn window() -> Option<Icon> {
    Icon::from_rgba(pixels(), u32::from(SIDE), u32::from(SIDE)).ok()
}

fn pixels() -> Vec<u8> {
    let mut rgba = Vec::with_capacity(usize::from(SIDE) * usize::from(SIDE) * 4);
    for row in 0..SIDE {
        for column in 0..SIDE {
            let at = [column, row].map(|n| (f32::from(n) + 0.5) / f32::from(SIDE));
            rgba.extend(pixel(at));
        }
    }
    rgba
}

fn pixel(at: Point) -> [u8; 4] {
    let [_, y] = at;
    let mut color = blend(TOP, BOTTOM, y);
    for (ink, half, points) in LINES {
        let mut nearest = f32::INFINITY;
        for pair in points.windows(2) {
            if let [from, to] = pair {
                nearest = nearest.min(distance(at, *from, *to));
            }
        }
        color = blend(color, ink, cover(nearest - half));
    }
    let node = distance(at, NODE, NODE);
    color = blend(color, blend(TOP, BOTTOM, y), cover(node - NODE_RADIUS - 0.03));
    color = blend(color, LIT, cover(node - NODE_RADIUS));
    let [r, g, b] = color;
    [r, g, b, byte(cover(plate(at)) * 255.0)]
}

/// Distance to the edge of the rounded plate everything stands on; negative inside.
fn plate([x, y]: Point) -> f32 {
    const HALF: f32 = 0.47;
    const RADIUS: f32 = 0.21;
    let q = [x, y].map(|value| (value - 0.5).abs() - HALF + RADIUS);
    let [qx, qy] = q.map(|value| value.max(0.0));
    let [ix, iy] = q;
    qx.hypot(qy) + ix.max(iy).min(0.0) - RADIUS
}

/// Distance of a point to a piece of line.
fn distance([x, y]: Point, [x0, y0]: Point, [x1, y1]: Point) -> f32 {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let length = dx * dx + dy * dy;
    let along = if length == 0.0 { 0.0 } else { ((x - x0) * dx + (y - y0) * dy) / length };
    let along = along.clamp(0.0, 1.0);
    (x - x0 - along * dx).hypot(y - y0 - along * dy)
}

/// How much of a pixel a shape covers, from the distance of the pixel's middle to its edge.
fn cover(distance: f32) -> f32 {
    (0.5 - distance * f32::from(SIDE)).clamp(0.0, 1.0)
}

fn blend(base: [u8; 3], top: [u8; 3], share: f32) -> [u8; 3] {
    let [r, g, b] = base;
    let [tr, tg, tb] = top;
    [(r, tr), (g, tg), (b, tb)]
        .map(|(base, top)| byte(f32::from(base) + (f32::from(top) - f32::from(base)) * share))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a byte just before"
)]
fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plate_is_round_and_the_node_is_lit() {
        assert_eq!(pixel([0.0, 0.0])[3], 0, "nothing in the corner");
        assert_eq!(pixel([0.5, 0.1])[3], 255);
        let [r, g, b, _] = pixel(NODE);
        assert_eq!([r, g, b], LIT);
        let [r, g, b, _] = pixel([0.2, 0.5]);
        assert_eq!([r, g, b], WHITE, "the envelope's side");
        assert_eq!(pixels().len(), usize::from(SIDE) * usize::from(SIDE) * 4);
    }
}
