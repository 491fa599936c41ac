//! Each kind of thing a scene holds, looked at pixel by pixel.

use grace_gpu::renderer::{Effects, Picture};
use grace_gpu::scene::{Line, Rect, Stratum};
use grace_gpu::text::Fonts;

use crate::{ALL, BACKGROUND, BLACK, RED, WHITE, at, bytes, checkerboard, glass, picture, quad};
use crate::{assert_near, quads, text};

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
    let right = 50.0 + width.ceil();
    let inside =
        |x: u32, y: u32| (49..400).contains(&x) && x as f32 <= right && (100..124).contains(&y);
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
