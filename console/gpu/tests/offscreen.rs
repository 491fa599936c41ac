//! Pictures drawn without a window, checked pixel by pixel, with the validation layers listening.
//!
//! Invariant: no test passes while the layers have said anything. Where there is no Vulkan device
//! at all the tests say so loudly and pass.
//! Not here: windows (the console's own tests), damage as such (unit tests).

use std::sync::Arc;

use grace_gpu::error::Error;
use grace_gpu::renderer::{Effects, Options, Picture, Renderer};
use grace_gpu::scene::{Color, Family, Glass, Line, Quad, Rect, Scene, Stratum, Text, TextStyle};
use grace_gpu::text::Fonts;

const SIZE: (u32, u32) = (400, 300);
const ALL: Rect = Rect { x: 0.0, y: 0.0, w: 400.0, h: 300.0 };
const BACKGROUND: Color = Color::rgb(0x10_20_30);
const WHITE: Color = Color::rgb(0xFF_FF_FF);
const BLACK: Color = Color::rgb(0);
const RED: Color = Color::rgb(0xFF_00_00);

/// A renderer with the layers on, or `None` where nothing can draw.
fn renderer(effects: Effects) -> Option<Renderer> {
    let options = Options { validation: true, effects, ..Options::default() };
    match Renderer::offscreen(SIZE, Fonts::bundled(), options) {
        Ok(renderer) => Some(renderer),
        Err(Error::NoDevice(why)) if !why.contains("layers") => {
            eprintln!("SKIPPED, NOTHING TESTED: no Vulkan device ({why})");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Draws, reads back, and insists on silence from the layers.
fn draw(renderer: &mut Renderer, scene: &Scene) -> Picture {
    renderer.render(scene).unwrap();
    let picture = renderer.read_pixels().unwrap();
    assert_eq!(renderer.validation_log(), [""; 0]);
    picture
}

fn picture(effects: Effects, strata: Vec<Stratum>) -> Option<Picture> {
    Some(draw(&mut renderer(effects)?, &scene(strata)))
}

fn scene(strata: Vec<Stratum>) -> Scene {
    Scene { size: SIZE, background: BACKGROUND, strata }
}

fn at(picture: &Picture, x: u32, y: u32) -> [u8; 4] {
    let start = ((y * picture.width + x) * 4) as usize;
    picture.rgba[start..start + 4].try_into().unwrap()
}

fn bytes(color: Color) -> [u8; 4] {
    [color.r, color.g, color.b, color.a]
}

#[track_caller]
fn assert_near(found: [u8; 4], wanted: [u8; 4], tolerance: u8) {
    let is_near = found.iter().zip(wanted).all(|(f, w)| f.abs_diff(w) <= tolerance);
    assert!(is_near, "{found:?} is not within {tolerance} of {wanted:?}");
}

fn quad(x: f32, y: f32, w: f32, h: f32, color: Color) -> Quad {
    Quad {
        rect: Rect { x, y, w, h },
        clip: ALL,
        fill: [color; 2],
        radius: 0.0,
        border_width: 0.0,
        border: Color::TRANSPARENT,
        shadow_sigma: 0.0,
    }
}

fn quads(quads: Vec<Quad>) -> Stratum {
    Stratum { quads, ..Stratum::default() }
}

fn glass(x: f32, y: f32, w: f32, h: f32) -> Glass {
    Glass {
        rect: Rect { x, y, w, h },
        radius: 12.0,
        tint: Color::TRANSPARENT,
        iterations: 3,
        offset: 3.25,
        edge: Color::TRANSPARENT,
    }
}

fn text(x: f32, y: f32, words: &str) -> Text {
    Text {
        text: Arc::from(words),
        style: TextStyle {
            family: Family::Sans,
            size: 16.0,
            line_height: 24.0,
            weight: 400,
            tabular: false,
        },
        color: WHITE,
        x,
        y,
        max_width: f32::INFINITY,
        wrap: false,
        clip: ALL,
    }
}

/// Black and white squares of eight pixels over everything.
fn checkerboard() -> Stratum {
    let mut list = Vec::new();
    for y in 0..38_u8 {
        for x in 0..50_u8 {
            let color = if (x + y) % 2 == 0 { WHITE } else { BLACK };
            list.push(quad(f32::from(x) * 8.0, f32::from(y) * 8.0, 8.0, 8.0, color));
        }
    }
    quads(list)
}

/// Variance of the green channel in a part of the picture.
fn variance(picture: &Picture, part: (u32, u32, u32, u32)) -> f64 {
    let (x0, y0, x1, y1) = part;
    let values: Vec<f64> = (y0..y1)
        .flat_map(|y| (x0..x1).map(move |x| (x, y)))
        .map(|(x, y)| f64::from(at(picture, x, y)[1]))
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64
}

#[test]
fn a_rectangle_has_its_color_border_and_round_corners() {
    let mut round = quad(50.0, 40.0, 100.0, 60.0, RED);
    round.radius = 16.0;
    round.border_width = 2.0;
    round.border = WHITE;
    let Some(picture) = picture(Effects::Auto, vec![quads(vec![round])]) else { return };
    assert_eq!(at(&picture, 100, 70), bytes(RED), "middle");
    assert_eq!(at(&picture, 50, 70), bytes(WHITE), "left border, first pixel");
    assert_eq!(at(&picture, 51, 70), bytes(WHITE), "left border, second pixel");
    assert_eq!(at(&picture, 52, 70), bytes(RED), "behind the border");
    assert_eq!(at(&picture, 149, 70), bytes(WHITE), "right border");
    assert_eq!(at(&picture, 150, 70), bytes(BACKGROUND), "right of it");
    assert_eq!(at(&picture, 50, 40), bytes(BACKGROUND), "the corner is cut");
    assert_eq!(at(&picture, 100, 40), bytes(WHITE), "top border");
    assert_eq!(at(&picture, 100, 39), bytes(BACKGROUND), "above it");
    assert_eq!(at(&picture, 0, 299), bytes(BACKGROUND), "far away");
}

#[test]
fn a_gradient_goes_from_top_to_bottom() {
    let mut fade = quad(0.0, 0.0, 400.0, 200.0, BLACK);
    fade.fill = [BLACK, WHITE];
    let Some(picture) = picture(Effects::Auto, vec![quads(vec![fade])]) else { return };
    assert_near(at(&picture, 10, 0), [0, 0, 0, 255], 2);
    assert_near(at(&picture, 10, 100), [128, 128, 128, 255], 2);
    assert_near(at(&picture, 10, 199), [255, 255, 255, 255], 2);
    assert_eq!(at(&picture, 10, 200), bytes(BACKGROUND));
}

#[test]
fn colors_mix_by_alpha_in_order() {
    let list = vec![quad(0.0, 0.0, 50.0, 50.0, WHITE), quad(0.0, 0.0, 50.0, 50.0, RED.alpha(128))];
    let Some(picture) = picture(Effects::Auto, vec![quads(list)]) else { return };
    assert_near(at(&picture, 20, 20), [255, 127, 127, 255], 1);
}

#[test]
fn nothing_is_drawn_outside_a_clip() {
    let mut clipped = quad(20.0, 20.0, 200.0, 100.0, RED);
    clipped.clip = Rect { x: 60.0, y: 50.0, w: 40.0, h: 30.0 };
    let Some(picture) = picture(Effects::Auto, vec![quads(vec![clipped])]) else { return };
    for y in 0..300 {
        for x in 0..400 {
            let inside = (60..100).contains(&x) && (50..80).contains(&y);
            let wanted = if inside { RED } else { BACKGROUND };
            assert_eq!(at(&picture, x, y), bytes(wanted), "{x},{y}");
        }
    }
}

#[test]
fn a_shadow_fades_outwards() {
    let mut shadow = quad(150.0, 100.0, 100.0, 100.0, BLACK);
    shadow.shadow_sigma = 10.0;
    shadow.radius = 8.0;
    let strata = vec![quads(vec![quad(0.0, 0.0, 400.0, 300.0, WHITE), shadow])];
    let Some(picture) = picture(Effects::Auto, strata) else { return };
    let row: Vec<u8> = (100..=200).map(|x| at(&picture, x, 150)[0]).collect();
    assert!(row.windows(2).all(|pair| pair[1] <= pair[0]), "darker towards the middle: {row:?}");
    assert!(row[100] < 4, "full in the middle: {}", row[100]);
    // Half at the edge, by the symmetry of the normal distribution.
    assert!(row[50].abs_diff(127) < 12, "half at the edge: {}", row[50]);
    assert_eq!(row[15], 255, "nothing beyond three sigma");
}

#[test]
fn glass_blurs_what_is_below_it_and_only_that() {
    let panel = Stratum { glass: vec![glass(100.0, 80.0, 200.0, 140.0)], ..Stratum::default() };
    let Some(plain) = picture(Effects::Full, vec![checkerboard()]) else { return };
    let Some(glazed) = picture(Effects::Full, vec![checkerboard(), panel]) else { return };
    let inside = (120, 100, 280, 200);
    let (sharp, blurred) = (variance(&plain, inside), variance(&glazed, inside));
    assert!(sharp > 10_000.0, "the board itself: {sharp}");
    assert!(blurred < 30.0, "under glass: {blurred}");
    // Half black, half white in linear light is 188, not 128.
    assert_near(at(&glazed, 200, 150), [188, 188, 188, 255], 6);
    for (x, y) in [(0, 0), (99, 150), (301, 150), (200, 78), (200, 222), (100, 80)] {
        assert_eq!(at(&glazed, x, y), at(&plain, x, y), "outside at {x},{y}");
    }
}

#[test]
fn glass_without_blur_is_its_tint() {
    let mut pane = glass(100.0, 80.0, 200.0, 140.0);
    pane.tint = RED.alpha(100);
    pane.edge = WHITE;
    let panel = Stratum { glass: vec![pane], ..Stratum::default() };
    let strata = vec![checkerboard(), panel];
    let Some(picture) = picture(Effects::Reduced, strata) else { return };
    assert_eq!(at(&picture, 200, 150), bytes(RED));
    assert_eq!(at(&picture, 200, 80), bytes(WHITE), "the lit upper edge");
    assert_eq!(at(&picture, 200, 81), bytes(RED));
    assert_eq!(at(&picture, 200, 219), bytes(RED), "no edge below");
}

#[test]
fn text_stays_in_its_place_and_clip() {
    let words = text(50.0, 100.0, "Ägypten fjord → 0123");
    let width = Fonts::bundled().measure(&words.text, words.style, f32::INFINITY, false).width;
    let whole = Stratum { texts: vec![words.clone()], ..Stratum::default() };
    let Some(picture_whole) = picture(Effects::Auto, vec![whole]) else { return };
    let touched = |picture: &Picture, test: &dyn Fn(u32, u32) -> bool| {
        let all = (0..300).flat_map(|y| (0..400).map(move |x| (x, y)));
        all.filter(|&(x, y)| test(x, y) && at(picture, x, y) != bytes(BACKGROUND)).count()
    };
    let right = 50 + width.ceil() as u32;
    let inside = |x: u32, y: u32| (49..=right).contains(&x) && (100..124).contains(&y);
    let count = touched(&picture_whole, &inside);
    assert!(count > 500, "letters are there: {count}");
    assert_eq!(touched(&picture_whole, &|x, y| !inside(x, y)), 0, "and nowhere else");

    let mut clipped = words;
    clipped.clip = Rect { x: 70.0, y: 105.0, w: 30.0, h: 10.0 };
    let clipped = Stratum { texts: vec![clipped], ..Stratum::default() };
    let Some(picture) = picture(Effects::Auto, vec![clipped]) else { return };
    let inside = |x: u32, y: u32| (70..100).contains(&x) && (105..115).contains(&y);
    assert!(touched(&picture, &inside) > 20);
    assert_eq!(touched(&picture, &|x, y| !inside(x, y)), 0);
}

#[test]
fn a_later_stratum_covers_an_earlier_ones_text() {
    let below = Stratum { texts: vec![text(50.0, 100.0, "MMMM")], ..Stratum::default() };
    let above = quads(vec![quad(40.0, 90.0, 200.0, 50.0, RED)]);
    let Some(picture) = picture(Effects::Auto, vec![below, above]) else { return };
    for x in 50..150 {
        assert_eq!(at(&picture, x, 112), bytes(RED));
    }
}

#[test]
fn a_translucent_line_is_even_at_its_joints() {
    let line = Line {
        points: vec![[50.0, 50.0], [150.0, 50.0], [150.0, 150.0], [80.0, 200.0]],
        clip: ALL,
        width: 9.0,
        color: WHITE.alpha(128),
    };
    let stratum = Stratum { lines: vec![line], ..Stratum::default() };
    let Some(picture) = picture(Effects::Auto, vec![stratum]) else { return };
    let wanted = at(&picture, 100, 50);
    assert_near(wanted, [136, 144, 152, 255], 2);
    for (x, y) in [(60, 50), (149, 50), (150, 51), (147, 53), (150, 100), (150, 149), (148, 151)] {
        assert_near(at(&picture, x, y), wanted, 1);
    }
    let brightest = (0..400 * 300).map(|i| picture.rgba[i * 4]).max();
    assert!(brightest.is_some_and(|b| b <= wanted[0] + 1), "no joint is brighter: {brightest:?}");
    assert_eq!(at(&picture, 100, 60), bytes(BACKGROUND));
}

#[test]
fn an_unchanged_scene_draws_nothing() {
    let Some(mut renderer) = renderer(Effects::Full) else { return };
    let panel = Stratum { glass: vec![glass(100.0, 80.0, 200.0, 140.0)], ..Stratum::default() };
    let scene = scene(vec![checkerboard(), panel]);
    let first = renderer.render(&scene).unwrap();
    assert!(first.drawn);
    assert_eq!(first.glass_chains, 1);
    let second = renderer.render(&scene.clone()).unwrap();
    assert!(!second.drawn);
    assert_eq!(second.damage, []);
    renderer.expose();
    assert!(renderer.render(&scene).unwrap().drawn, "the window lost its picture");
    assert_eq!(renderer.validation_log(), [""; 0]);
}

#[test]
fn a_small_change_draws_a_small_part() {
    let Some(mut renderer) = renderer(Effects::Full) else { return };
    let panel = Stratum { glass: vec![glass(250.0, 180.0, 100.0, 80.0)], ..Stratum::default() };
    let mut board = checkerboard();
    renderer.render(&scene(vec![board.clone(), panel.clone()])).unwrap();
    board.quads[0].fill = [RED; 2];
    let far = renderer.render(&scene(vec![board.clone(), panel.clone()])).unwrap();
    assert_eq!(far.damage, [Rect { x: 0.0, y: 0.0, w: 9.0, h: 9.0 }]);
    assert_eq!(far.glass_chains, 0, "too far from the glass to matter");
    let last = board.quads.len() - 60;
    board.quads[last].fill = [RED; 2];
    let near = renderer.render(&scene(vec![board, panel])).unwrap();
    assert_eq!(near.glass_chains, 1, "within reach of the glass");
}

#[test]
fn another_size_and_no_size_at_all() {
    let Some(mut renderer) = renderer(Effects::Full) else { return };
    let mut big = scene(vec![checkerboard()]);
    renderer.render(&big).unwrap();
    renderer.resize(640, 200);
    big.size = (640, 200);
    let picture = draw(&mut renderer, &big);
    assert_eq!((picture.width, picture.height), (640, 200));
    assert_eq!(at(&picture, 639, 100), bytes(BACKGROUND));
    renderer.resize(0, 0);
    assert!(!renderer.render(&big).unwrap().drawn, "minimized");
    renderer.resize(400, 300);
    assert!(renderer.render(&big).unwrap().drawn, "back again");
    assert_eq!(renderer.validation_log(), [""; 0]);
}

#[test]
fn absurd_figures_harm_nothing() {
    let Some(mut renderer) = renderer(Effects::Full) else { return };
    let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0e30, 1.0e30, -5.0, 0.0];
    let mut stratum = Stratum::default();
    for &a in &wild {
        for &b in &wild {
            let mut odd = quad(a, b, b, a, RED.alpha(20));
            (odd.radius, odd.border_width) = (b, a);
            stratum.quads.push(odd);
            odd.shadow_sigma = a;
            odd.clip = Rect { x: b, y: a, w: a, h: b };
            stratum.quads.push(odd);
            let line = Line { points: vec![[a, b], [b, a]], clip: ALL, width: a, color: RED };
            stratum.lines.push(line);
            let mut words = text(a, b, "odd \u{7} \r\n \u{2029} ẫ̰̃");
            (words.max_width, words.wrap) = (b, true);
            stratum.texts.push(words);
        }
        let mut pane = glass(a, 10.0, 50.0, a);
        (pane.offset, pane.iterations, pane.radius) = (a, 200, a);
        stratum.glass.push(pane);
    }
    let odd = scene(vec![checkerboard(), stratum]);
    draw(&mut renderer, &odd);
    draw(&mut renderer, &scene(vec![checkerboard()]));
    let again = draw(&mut renderer, &odd);
    assert_eq!(again.rgba.len(), 400 * 300 * 4);
}

#[test]
fn more_glass_than_can_be_blurred_is_plain() {
    let Some(mut renderer) = renderer(Effects::Full) else { return };
    let panes = |count: u8| {
        let glass = (0..count).map(|i| glass(f32::from(i) * 4.0, 50.0, 60.0, 60.0)).collect();
        scene(vec![checkerboard(), Stratum { glass, ..Stratum::default() }])
    };
    for (count, chains) in [(2, 2), (40, 0), (3, 3)] {
        assert_eq!(renderer.render(&panes(count)).unwrap().glass_chains, chains);
    }
    assert_eq!(renderer.validation_log(), [""; 0]);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let options = Options { gpu: Some("Voodoo 2".into()), ..Options::default() };
    let error = Renderer::offscreen(SIZE, Fonts::bundled(), options).err();
    assert!(matches!(error, Some(Error::NoDevice(_))), "{error:?}");
}

/// A small deterministic source of chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u16) -> u16 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u16::try_from((self.0 >> 33) % u64::from(limit)).unwrap()
    }

    fn pixel(&mut self, limit: u16) -> f32 {
        f32::from(self.below(limit))
    }

    fn color(&mut self) -> Color {
        let byte = |chance: &mut Self| u8::try_from(chance.below(256)).unwrap();
        Color { r: byte(self), g: byte(self), b: byte(self), a: byte(self) }
    }

    fn rect(&mut self) -> Rect {
        let (x, y) = (self.pixel(400) - 20.0, self.pixel(300) - 20.0);
        Rect { x, y, w: 1.0 + self.pixel(90), h: 1.0 + self.pixel(60) }
    }

    fn quad(&mut self) -> Quad {
        let mut quad = quad(0.0, 0.0, 0.0, 0.0, BLACK);
        quad.rect = self.rect();
        quad.fill = [self.color(), self.color()];
        quad.radius = self.pixel(20);
        quad.border = self.color();
        quad.border_width = self.pixel(3);
        if self.below(5) == 0 {
            quad.shadow_sigma = 1.0 + self.pixel(8);
        }
        if self.below(3) == 0 {
            // Between pixels, and cut.
            quad.rect.x += 0.3;
            quad.clip = self.rect();
        }
        quad
    }

    fn line(&mut self) -> Line {
        let points = (0..2 + self.below(6)).map(|_| [self.pixel(400), self.pixel(300)]).collect();
        Line { points, clip: ALL, width: 0.5 + self.pixel(4), color: self.color() }
    }

    fn text(&mut self) -> Text {
        let all = ["delivered", "gmail.com", "421 4.7.28 rate limited", "Ǻjg → fj", "ẫ̰̃ẫ̰̃", "0"];
        let words = all[usize::from(self.below(6))];
        let mut text = text(self.pixel(400) + 0.25 - 30.0, self.pixel(300) - 10.0, words);
        text.color = self.color();
        text.style.size = 9.0 + self.pixel(20);
        text.style.weight = 400 + 100 * self.below(3);
        if self.below(2) == 0 {
            text.max_width = self.pixel(120);
            text.wrap = self.below(2) == 0;
        }
        text
    }

    fn glass(&mut self) -> Glass {
        Glass {
            rect: self.rect(),
            radius: self.pixel(16),
            tint: self.color(),
            iterations: 2 + u8::try_from(self.below(2)).unwrap(),
            offset: 2.0 + self.pixel(3),
            edge: self.color(),
        }
    }

    /// Changes one thing in a list: adds, removes, moves or replaces.
    fn nudge<T>(&mut self, list: &mut Vec<T>, make: impl FnOnce(&mut Self) -> T) {
        let len = u16::try_from(list.len()).unwrap();
        let place = usize::from(self.below(len.max(1)));
        match self.below(4) {
            _ if list.is_empty() => list.push(make(self)),
            0 if len < 12 => {
                let one = make(self);
                list.insert(place, one);
            }
            1 => {
                list.remove(place);
            }
            2 => {
                let other = usize::from(self.below(len));
                list.swap(place, other);
            }
            _ => list[place] = make(self),
        }
    }

    fn mutate(&mut self, scene: &mut Scene) {
        for _ in 0..1 + self.below(3) {
            let stratum = usize::from(self.below(3));
            let stratum = &mut scene.strata[stratum];
            match self.below(9) {
                0..=3 => self.nudge(&mut stratum.quads, Self::quad),
                4 => self.nudge(&mut stratum.lines, Self::line),
                5..=7 => self.nudge(&mut stratum.texts, Self::text),
                _ => self.nudge(&mut stratum.glass, Self::glass),
            }
        }
    }
}

/// The heart of the damage: after each of many random changes, the picture drawn in parts is the
/// picture drawn whole, byte for byte.
#[test]
fn drawn_in_parts_is_drawn_whole() {
    let (Some(mut parts), Some(mut whole)) = (renderer(Effects::Full), renderer(Effects::Full))
    else {
        return;
    };
    let mut chance = Chance(8841);
    let mut now = scene(vec![Stratum::default(), Stratum::default(), Stratum::default()]);
    let mut blank = scene(Vec::new());
    blank.background = RED;
    let (mut partial_count, mut kept_blur_count) = (0, 0);
    for round in 0..200 {
        chance.mutate(&mut now);
        let report = parts.render(&now).unwrap();
        let all = Rect { x: 0.0, y: 0.0, w: 400.0, h: 300.0 };
        let is_partial = report.drawn && report.damage != [all];
        partial_count += u32::from(is_partial);
        let panes: usize = now.strata.iter().map(|stratum| stratum.glass.len()).sum();
        kept_blur_count += u32::from(is_partial && panes > report.glass_chains as usize);
        whole.render(&blank).unwrap();
        whole.render(&now).unwrap();
        if round > 0 && !report.drawn {
            continue;
        }
        let (a, b) = (parts.read_pixels().unwrap(), whole.read_pixels().unwrap());
        if let Some(first) = (0..a.rgba.len()).find(|&i| a.rgba[i] != b.rgba[i]) {
            let (x, y) = (first / 4 % 400, first / 4 / 400);
            panic!("round {round}: differs at {x},{y} with damage {:?}", report.damage);
        }
    }
    assert_eq!(parts.validation_log(), [""; 0]);
    // Or the test has shown nothing.
    assert!(partial_count > 60, "{partial_count} partial frames");
    assert!(kept_blur_count > 20, "{kept_blur_count} frames with a blur kept");
}
