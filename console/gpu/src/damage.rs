//! What of the window must be drawn anew: the difference between two scenes, in pixels.
//!
//! Invariants: outside the plan's region the two scenes look the same; a panel of glass is blurred
//! anew exactly when something below it changed within its reach, and then all it reaches is drawn
//! anew too, since the picture on the screen has other things on top. Equal scenes give an empty
//! plan.
//! Not here: drawing, and what a text covers (the caller measures it).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::region::{PixelRect, Region, to_pixel};
use crate::scene::{Color, Glass, Line, Quad, Rect, Scene, Stratum, Text};

/// Halvings a panel may ask for; more is a panel of one color.
pub(crate) const ITERATIONS_MAX: u8 = 4;

/// What to draw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) region: Region,
    /// For each stratum the panels, by their place in the list, whose blur is stale.
    pub(crate) stale: Vec<Vec<usize>>,
}

/// What the difference depends on besides the scenes.
pub(crate) struct View<'a> {
    pub(crate) size: (u32, u32),
    /// Whether glass is blurred at all.
    pub(crate) blurs: bool,
    /// What a text covers.
    pub(crate) text_bounds: &'a mut dyn FnMut(&Text) -> PixelRect,
}

impl Plan {
    /// Everything, whatever was there before.
    pub(crate) fn full(scene: &Scene, view: &View<'_>) -> Self {
        let mut region = Region::default();
        region.add(PixelRect::of_size(view.size));
        let stale = scene
            .strata
            .iter()
            .map(|stratum| if view.blurs { (0..stratum.glass.len()).collect() } else { Vec::new() })
            .collect();
        Self { region, stale }
    }

    /// What differs from `before` in `scene`.
    pub(crate) fn between(before: &Scene, scene: &Scene, view: &mut View<'_>) -> Self {
        if opaque(before.background) != opaque(scene.background) || before.size != scene.size {
            return Self::full(scene, view);
        }
        let window = PixelRect::of_size(view.size);
        let nothing = Stratum::default();
        // What looks different so far, from the lowest stratum up, and what must be drawn for it.
        let mut changed = Region::default();
        let mut redrawn = Region::default();
        let mut stale = Vec::new();
        for at in 0..before.strata.len().max(scene.strata.len()) {
            let old = before.strata.get(at).unwrap_or(&nothing);
            let new = scene.strata.get(at).unwrap_or(&nothing);
            let mut here = difference(old, new, view.text_bounds);
            let mut stale_here = Vec::new();
            for (index, glass) in new.glass.iter().enumerate().filter(|_| view.blurs) {
                let reach = reach(glass, view.size);
                let known = old.glass.iter().any(|other| same_blur(other, glass));
                if !known || changed.intersects(reach) {
                    stale_here.push(index);
                    redrawn.add(reach);
                    here.push(glass_bounds(glass));
                }
            }
            for bounds in here {
                changed.add(bounds.intersection(window));
            }
            stale.push(stale_here);
        }
        stale.truncate(scene.strata.len());
        for rect in changed.rects() {
            redrawn.add(*rect);
        }
        Self { region: redrawn.clipped(window), stale }
    }
}

/// The pixels a panel's blur is made of. On a grid of its coarsest texels, so that a panel that
/// moves does not shimmer.
pub(crate) fn reach(glass: &Glass, size: (u32, u32)) -> PixelRect {
    let iterations = iterations(glass);
    let grid = 1_i32 << iterations;
    // How far the taps of all steps go (picom and KWin pad by the same formula).
    let pad = grid * 2 * to_pixel(offset(glass).ceil()) + 1;
    let padded = PixelRect::covering(glass.rect).grown(pad);
    PixelRect::new(
        padded.x0.div_euclid(grid) * grid,
        padded.y0.div_euclid(grid) * grid,
        (padded.x1 + grid - 1).div_euclid(grid) * grid,
        (padded.y1 + grid - 1).div_euclid(grid) * grid,
    )
    .intersection(PixelRect::of_size(size))
}

/// The halvings of a panel, brought into range.
pub(crate) fn iterations(glass: &Glass) -> u8 {
    glass.iterations.clamp(1, ITERATIONS_MAX)
}

/// The tap offset of a panel, brought into range.
pub(crate) fn offset(glass: &Glass) -> f32 {
    if glass.offset.is_finite() { glass.offset.clamp(0.5, 8.0) } else { 1.0 }
}

/// Whether two panels show the same part of what is below, equally blurred.
pub(crate) fn same_blur(a: &Glass, b: &Glass) -> bool {
    a.rect == b.rect && iterations(a) == iterations(b) && offset(a) == offset(b)
}

/// What a panel covers.
pub(crate) fn glass_bounds(glass: &Glass) -> PixelRect {
    PixelRect::covering(glass.rect).grown(1)
}

/// What a quad covers: its soft edge or its shadow included.
pub(crate) fn quad_bounds(quad: &Quad) -> PixelRect {
    let grow = to_pixel((3.0 * quad.shadow_sigma).ceil()).max(1);
    PixelRect::covering(quad.rect).grown(grow).intersection(PixelRect::covering(quad.clip))
}

/// What a line covers.
pub(crate) fn line_bounds(line: &Line) -> PixelRect {
    let grow = to_pixel((line.width * 0.5).ceil()) + 1;
    let mut bounds: Option<PixelRect> = None;
    for &[x, y] in &line.points {
        let point = PixelRect::covering(Rect { x, y, w: 0.0, h: 0.0 }).grown(grow);
        bounds = Some(bounds.map_or(point, |all| all.union(point)));
    }
    bounds.unwrap_or_default().intersection(PixelRect::covering(line.clip))
}

fn opaque(color: Color) -> Color {
    color.alpha(255)
}

/// What looks different within one stratum, its glass's blur aside.
fn difference(
    old: &Stratum,
    new: &Stratum,
    text_bounds: &mut dyn FnMut(&Text) -> PixelRect,
) -> Vec<PixelRect> {
    let mut parts = Vec::new();
    odd_ones(&old.glass, &new.glass, hash_glass, |glass| parts.push(glass_bounds(glass)));
    odd_ones(&old.quads, &new.quads, hash_quad, |quad| parts.push(quad_bounds(quad)));
    odd_ones(&old.lines, &new.lines, hash_line, |line| parts.push(line_bounds(line)));
    odd_ones(&old.texts, &new.texts, hash_text, |text| parts.push(text_bounds(text)));
    parts
}

/// Calls `odd` for everything in either list that is not part of one longest sequence common to
/// both. What stays keeps its order, so outside the odd ones' bounds the picture is the same.
fn odd_ones<T: PartialEq>(
    old: &[T],
    new: &[T],
    hash: impl Fn(&T, &mut DefaultHasher),
    mut odd: impl FnMut(&T),
) {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(start..).unwrap_or(&[]), new.get(start..).unwrap_or(&[]));
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let old = old.get(..old.len() - end).unwrap_or(&[]);
    let new = new.get(..new.len() - end).unwrap_or(&[]);
    if old.is_empty() || new.is_empty() {
        old.iter().chain(new).for_each(odd);
        return;
    }
    let key = |item: &T| {
        let mut hasher = DefaultHasher::new();
        hash(item, &mut hasher);
        hasher.finish()
    };
    // Twins are matched first to first; popping from the end wants them in reverse.
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, item) in old.iter().enumerate().rev() {
        places.entry(key(item)).or_default().push(at);
    }
    let mut pairs = Vec::new();
    for (at, item) in new.iter().enumerate() {
        let place = places.get_mut(&key(item)).and_then(Vec::pop);
        match place.filter(|&place| old.get(place) == Some(item)) {
            Some(place) => pairs.push((place, at)),
            None => odd(item),
        }
    }
    let mut is_kept = vec![false; old.len()];
    let kept = longest_rising(&pairs);
    for (index, (place, at)) in pairs.iter().enumerate() {
        if kept.binary_search(&index).is_ok() {
            if let Some(mark) = is_kept.get_mut(*place) {
                *mark = true;
            }
        } else if let Some(item) = new.get(*at) {
            odd(item);
        }
    }
    old.iter().zip(is_kept).filter(|(_, kept)| !kept).for_each(|(item, _)| odd(item));
}

/// Indices, rising, of a longest run of pairs whose first members rise too (patience sorting).
fn longest_rising(pairs: &[(usize, usize)]) -> Vec<usize> {
    // For each length so far: the index of the pair with the smallest end of such a run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    let first = |index: usize| pairs.get(index).map_or(0, |pair| pair.0);
    for (index, (place, _)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|&end| first(end) < *place);
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter).copied()));
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(index) = at {
        run.push(index);
        at = before.get(index).copied().flatten();
    }
    run.reverse();
    run
}

fn hash_floats(floats: &[f32], hasher: &mut DefaultHasher) {
    for float in floats {
        float.to_bits().hash(hasher);
    }
}

fn hash_rect(rect: &Rect, hasher: &mut DefaultHasher) {
    hash_floats(&[rect.x, rect.y, rect.w, rect.h], hasher);
}

fn hash_quad(quad: &Quad, hasher: &mut DefaultHasher) {
    hash_rect(&quad.rect, hasher);
    hash_rect(&quad.clip, hasher);
    (quad.fill, quad.border).hash(hasher);
    hash_floats(&[quad.radius, quad.border_width, quad.shadow_sigma], hasher);
}

fn hash_glass(glass: &Glass, hasher: &mut DefaultHasher) {
    hash_rect(&glass.rect, hasher);
    (glass.tint, glass.edge, glass.iterations).hash(hasher);
    hash_floats(&[glass.radius, glass.offset], hasher);
}

fn hash_line(line: &Line, hasher: &mut DefaultHasher) {
    hash_floats(line.points.as_flattened(), hasher);
    hash_rect(&line.clip, hasher);
    line.color.hash(hasher);
    line.width.to_bits().hash(hasher);
}

fn hash_text(text: &Text, hasher: &mut DefaultHasher) {
    (&text.text, text.color, text.wrap).hash(hasher);
    (text.style.family, text.style.weight, text.style.tabular).hash(hasher);
    hash_floats(&[text.x, text.y, text.max_width, text.style.size, text.style.line_height], hasher);
    hash_rect(&text.clip, hasher);
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Rect = Rect { x: 0.0, y: 0.0, w: 1000.0, h: 800.0 };

    fn quad(x: f32, y: f32, w: f32, h: f32) -> Quad {
        Quad {
            rect: Rect { x, y, w, h },
            clip: WINDOW,
            fill: [Color::rgb(0x20_40_60); 2],
            radius: 4.0,
            border_width: 0.0,
            border: Color::TRANSPARENT,
            shadow_sigma: 0.0,
        }
    }

    fn glass(x: f32, y: f32, w: f32, h: f32) -> Glass {
        Glass {
            rect: Rect { x, y, w, h },
            radius: 8.0,
            tint: Color::rgb(0).alpha(128),
            iterations: 2,
            offset: 3.0,
            edge: Color::TRANSPARENT,
        }
    }

    fn scene(strata: Vec<Stratum>) -> Scene {
        Scene { size: (1000, 800), background: Color::rgb(0x0A_0E_12), strata }
    }

    fn quads(quads: Vec<Quad>) -> Stratum {
        Stratum { quads, ..Stratum::default() }
    }

    fn panels(glass: Vec<Glass>) -> Stratum {
        Stratum { glass, ..Stratum::default() }
    }

    fn plan(before: &Scene, after: &Scene) -> Plan {
        let mut bounds = |_: &Text| PixelRect::default();
        let mut view = View { size: (1000, 800), blurs: true, text_bounds: &mut bounds };
        Plan::between(before, after, &mut view)
    }

    #[test]
    fn equal_scenes_need_nothing() {
        let one = scene(vec![quads(vec![quad(10.0, 10.0, 50.0, 50.0)])]);
        assert!(plan(&one, &one.clone()).region.is_empty());
    }

    #[test]
    fn a_moved_quad_damages_where_it_was_and_where_it_is() {
        let before = scene(vec![quads(vec![quad(10.0, 10.0, 20.0, 20.0)])]);
        let after = scene(vec![quads(vec![quad(500.0, 300.0, 20.0, 20.0)])]);
        let mut rects = plan(&before, &after).region.rects().to_vec();
        rects.sort_by_key(|rect| rect.x0);
        assert_eq!(rects, [PixelRect::new(9, 9, 31, 31), PixelRect::new(499, 299, 521, 321)]);
    }

    #[test]
    fn one_of_many_changes_alone() {
        let row = |at: usize| quad(0.0, 40.0 * at as f32, 800.0, 32.0);
        let mut rows: Vec<_> = (0..15).map(row).collect();
        let before = scene(vec![quads(rows.clone())]);
        rows[3].radius = 9.0;
        rows[11].radius = 9.0;
        let after = scene(vec![quads(rows)]);
        let mut rects = plan(&before, &after).region.rects().to_vec();
        rects.sort_by_key(|rect| rect.y0);
        assert_eq!(rects, [PixelRect::new(0, 119, 801, 153), PixelRect::new(0, 439, 801, 473)]);
    }

    #[test]
    fn an_insertion_leaves_the_rest_alone() {
        let mut list: Vec<_> = (0..10).map(|at| quad(80.0 * at as f32, 0.0, 40.0, 40.0)).collect();
        let before = scene(vec![quads(list.clone())]);
        list.insert(2, quad(300.0, 500.0, 40.0, 40.0));
        let after = scene(vec![quads(list)]);
        let plan = plan(&before, &after);
        assert_eq!(plan.region.rects(), [PixelRect::new(299, 499, 341, 541)]);
    }

    #[test]
    fn a_change_of_order_is_a_change() {
        let (a, b) = (quad(10.0, 10.0, 40.0, 40.0), quad(30.0, 30.0, 40.0, 40.0));
        let before = scene(vec![quads(vec![a, b])]);
        let after = scene(vec![quads(vec![b, a])]);
        let region = plan(&before, &after).region;
        // The part where they overlap must be in it.
        assert!(region.rects().iter().any(|r| r.contains(PixelRect::new(30, 30, 50, 50))));
    }

    #[test]
    fn a_change_below_glass_makes_its_blur_stale() {
        let panel = panels(vec![glass(400.0, 300.0, 200.0, 100.0)]);
        let reach = reach(&panel.glass[0], (1000, 800));
        let with = |x: f32| scene(vec![quads(vec![quad(x, 340.0, 8.0, 8.0)]), panel.clone()]);
        // Outside the panel but within its reach.
        let near = plan(&with(380.0), &with(385.0));
        assert_eq!(near.stale, [vec![], vec![0]]);
        assert!(near.region.rects().iter().any(|rect| rect.contains(reach)));
        let far = plan(&with(100.0), &with(105.0));
        assert_eq!(far.stale, [vec![], Vec::<usize>::new()]);
        assert!(!far.region.intersects(reach));
    }

    #[test]
    fn a_change_on_top_of_glass_keeps_its_blur() {
        let with = |x: f32| {
            let mut stratum = panels(vec![glass(400.0, 300.0, 200.0, 100.0)]);
            stratum.quads.push(quad(x, 340.0, 8.0, 8.0));
            scene(vec![Stratum::default(), stratum])
        };
        let plan = plan(&with(450.0), &with(470.0));
        assert_eq!(plan.stale, [Vec::<usize>::new(), vec![]]);
        let mut rects = plan.region.rects().to_vec();
        rects.sort_by_key(|rect| rect.x0);
        assert_eq!(rects, [PixelRect::new(449, 339, 459, 349), PixelRect::new(469, 339, 479, 349)]);
    }

    #[test]
    fn glass_over_glass_follows() {
        let low = panels(vec![glass(400.0, 300.0, 200.0, 100.0)]);
        let high = panels(vec![glass(590.0, 300.0, 100.0, 100.0)]);
        let with =
            |x: f32| scene(vec![quads(vec![quad(x, 340.0, 8.0, 8.0)]), low.clone(), high.clone()]);
        // Within the reach of the low panel only; the high panel sees the low one change.
        assert_eq!(plan(&with(380.0), &with(385.0)).stale, [vec![], vec![0], vec![0]]);
    }

    #[test]
    fn without_blur_glass_is_a_quad() {
        let with = |x: f32| {
            let panel = panels(vec![glass(400.0, 300.0, 200.0, 100.0)]);
            scene(vec![quads(vec![quad(x, 340.0, 8.0, 8.0)]), panel])
        };
        let mut bounds = |_: &Text| PixelRect::default();
        let mut view = View { size: (1000, 800), blurs: false, text_bounds: &mut bounds };
        let plan = Plan::between(&with(380.0), &with(384.0), &mut view);
        assert_eq!(plan.region.rects(), [PixelRect::new(379, 339, 393, 349)]);
    }

    #[test]
    fn a_new_background_or_size_is_everything() {
        let before = scene(vec![]);
        let mut after = scene(vec![]);
        after.background = Color::rgb(0xFF_FF_FF);
        let window = PixelRect::new(0, 0, 1000, 800);
        assert_eq!(plan(&before, &after).region.rects(), [window]);
    }

    #[test]
    fn the_longest_rising_run_is_found() {
        let run = |places: &[usize]| {
            let pairs: Vec<_> = places.iter().enumerate().map(|(at, p)| (*p, at)).collect();
            longest_rising(&pairs).iter().map(|&index| places[index]).collect::<Vec<_>>()
        };
        assert_eq!(run(&[9, 0, 1, 2, 3]), [0, 1, 2, 3]);
        assert_eq!(run(&[3, 1, 2, 0, 4]), [1, 2, 4]);
        assert_eq!(run(&[]), [0_usize; 0]);
    }
}
