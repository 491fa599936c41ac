//! From one frame to the next: what is drawn again, other sizes, and what must not go wrong.

use grace_gpu::error::Error;
use grace_gpu::renderer::{Effects, Options, Renderer};
use grace_gpu::scene::{Line, Rect, Stratum};
use grace_gpu::text::Fonts;

use crate::{ALL, BACKGROUND, RED, SIZE, at, bytes, checkerboard, draw, glass, quad, renderer};
use crate::{scene, text};

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
    // Larger than the least a text renderer must offer.
    renderer.resize(2_600, 40);
    let mut wide =
        scene(vec![Stratum { texts: vec![text(2_400.0, 8.0, "far")], ..Stratum::default() }]);
    wide.strata[0].texts[0].clip.w = 2_600.0;
    wide.size = (2_600, 40);
    let picture = draw(&mut renderer, &wide);
    assert!((2_400..2_440).any(|x| at(&picture, x, 18) != bytes(BACKGROUND)));
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
