//! What texts measure, and the way between offsets and places; no GPU.
//!
//! Not here: how they look (`offscreen`).

use grace_gpu::scene::{Family, TextStyle};
use grace_gpu::text::layout::Layout;
use grace_gpu::text::{Fonts, TEXT_BYTES_MAX};

const BODY: TextStyle =
    TextStyle { family: Family::Sans, size: 13.0, line_height: 20.0, weight: 400, tabular: false };
const MONO: TextStyle =
    TextStyle { family: Family::Mono, size: 12.0, line_height: 18.0, weight: 400, tabular: false };

fn width(text: &str, style: TextStyle) -> f32 {
    Fonts::bundled().measure(text, style, f32::INFINITY, false).width
}

fn layout(text: &str) -> std::sync::Arc<Layout> {
    Fonts::bundled().layout(text, BODY, f32::INFINITY, false)
}

#[test]
fn longer_words_larger_sizes_and_heavier_weights_are_wider() {
    assert!(width("queue", BODY) < width("queues", BODY));
    assert!(width("queue", BODY) < width("queue", TextStyle { size: 14.0, ..BODY }));
    assert!(width("queue", BODY) < width("queue", TextStyle { weight: 600, ..BODY }));
    assert_eq!(width("", BODY), 0.0);
}

#[test]
fn tabular_figures_have_one_width() {
    let tabular = TextStyle { tabular: true, ..BODY };
    assert_eq!(width("1111", tabular), width("8080", tabular));
    assert!(width("1111", BODY) < width("8080", BODY));
}

#[test]
fn the_mono_family_is_mono() {
    let one = width("m", MONO);
    for text in ["iiii", "MMMM", "0→é1", "жабы"] {
        assert!((width(text, MONO) - 4.0 * one).abs() < 0.01, "{text}");
    }
}

#[test]
fn what_was_measured_fits() {
    let fonts = Fonts::bundled();
    let text = "otto@example.org → m.weber@example.com";
    let natural = fonts.measure(text, BODY, f32::INFINITY, false);
    assert_eq!(fonts.measure(text, BODY, natural.width, false), natural);
    assert_eq!(fonts.measure(text, BODY, natural.width, true), natural);
}

#[test]
fn too_long_a_text_ends_in_an_ellipsis_within_its_width() {
    let fonts = Fonts::bundled();
    let text = "421 4.7.28 unusual rate of mail";
    for max_width in [20.0, 60.0, 120.0] {
        let size = fonts.measure(text, BODY, max_width, false);
        assert!(size.width <= max_width, "{} in {max_width}", size.width);
        assert!(size.width > 0.0);
        assert_eq!(size.lines, 1);
    }
}

#[test]
fn wrapping_makes_lines_of_the_line_height() {
    let fonts = Fonts::bundled();
    let text = "Gmail is slowing us down. Next try 13:09. Nothing to do.";
    let size = fonts.measure(text, BODY, 120.0, true);
    assert!(size.lines >= 3, "{size:?}");
    assert!(size.width <= 120.0);
    assert_eq!(size.height, 20.0 * size.lines as f32);
    // A word wider than the line is broken.
    let one_word = fonts.measure("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", BODY, 60.0, true);
    assert!(one_word.lines > 1 && one_word.width <= 60.0, "{one_word:?}");
}

#[test]
fn line_feeds_make_lines_and_other_controls_none() {
    let fonts = Fonts::bundled();
    let lines = |text: &str| fonts.measure(text, BODY, f32::INFINITY, false).lines;
    assert_eq!(lines(""), 1);
    assert_eq!(lines("a\nb\n"), 3);
    assert_eq!(lines("a\r\u{b}\u{85}\u{2028}\u{2029}\u{1c}b"), 1);
}

#[test]
fn a_caret_walks_from_left_to_right_and_back() {
    let text = "Grüße 🙂 fi\tän";
    let layout = layout(text);
    let mut last = -1.0;
    for (offset, _) in text.char_indices() {
        let caret = layout.caret(offset);
        assert!(caret.x > last, "at {offset}");
        last = caret.x;
        assert_eq!(layout.offset_at(caret.x + 0.1, 5.0), offset);
    }
    assert_eq!(layout.caret(text.len()).x, layout.size().width);
    assert_eq!(layout.caret(9_999), layout.caret(text.len()));
    assert_eq!(layout.offset_at(9_999.0, 9_999.0), text.len());
    assert_eq!(layout.offset_at(-50.0, -50.0), 0);
}

#[test]
fn a_caret_finds_its_line() {
    let text = "first\n\nthird";
    let layout = layout(text);
    let ys: Vec<f32> = [0, 5, 6, 7, 12].iter().map(|&o| layout.caret(o).y).collect();
    assert_eq!(ys, [0.0, 0.0, 20.0, 40.0, 40.0]);
    assert_eq!(layout.caret(6).x, 0.0);
    assert_eq!(layout.offset_at(0.0, 30.0), 6);
    assert_eq!(layout.offset_at(0.0, 50.0), 7);
    assert_eq!(layout.offset_at(500.0, 10.0), 5);
}

#[test]
fn an_empty_text_has_a_caret() {
    let caret = layout("").caret(0);
    assert_eq!((caret.x, caret.y, caret.height), (0.0, 0.0, 20.0));
    assert_eq!(layout("").offset_at(10.0, 10.0), 0);
}

#[test]
fn a_selection_covers_its_letters() {
    let text = "first\nsecond";
    let layout = layout(text);
    assert!(layout.selection(3..3).is_empty());
    let inside = layout.selection(1..4);
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].x, layout.caret(1).x);
    assert!((inside[0].x + inside[0].w - layout.caret(4).x).abs() < 0.01);
    let across = layout.selection(3..8);
    assert_eq!(across.len(), 2);
    assert_eq!(across[1].y, 20.0);
}

#[test]
fn right_to_left_words_are_measured_too() {
    // The bundle has no Hebrew: boxes, but no failure.
    let text = "שלום";
    let layout = layout(text);
    assert!(layout.size().width > 0.0);
    assert!(layout.caret(0).x > layout.caret(text.len()).x);
}

#[test]
fn odd_texts_and_styles_are_measured_somehow() {
    let fonts = Fonts::bundled();
    let long = "mail ".repeat(TEXT_BYTES_MAX);
    assert!(fonts.measure(&long, BODY, f32::INFINITY, false).width > 0.0);
    for odd in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
        let style = TextStyle { size: odd, line_height: odd, weight: 0, ..BODY };
        for wrap in [false, true] {
            let size = fonts.measure("x y z", style, odd, wrap);
            assert!(size.width.is_finite() && size.height > 0.0, "{odd} {wrap}: {size:?}");
        }
    }
}

#[test]
fn ten_thousand_texts_do_not_pile_up() {
    let fonts = Fonts::bundled();
    let first = fonts.layout("0", BODY, f32::INFINITY, false);
    for number in 0..10_000 {
        fonts.measure(&number.to_string(), MONO, f32::INFINITY, false);
    }
    // Long unused, so forgotten by the cache; ours is still good.
    assert_eq!(std::sync::Arc::strong_count(&first), 1);
    assert_eq!(first.size(), fonts.measure("0", BODY, f32::INFINITY, false));
}

/// A sign that no bundled font has would be an empty box on the screen.
#[test]
fn every_sign_of_the_design_is_bundled_in_every_weight() {
    let fonts = Fonts::bundled();
    for family in [Family::Sans, Family::Mono] {
        for weight in [400, 500, 600] {
            let style = TextStyle { family, weight, ..BODY };
            for sign in "●○◐▲‖◆✓✕→←↑↓↵⇧⇄▸▾▴◂…·–—×•⊘✉⌕⚙ℹ☐☑☰⋮⋯⟳🔒§°µ“”‹›".chars()
            {
                let layout = fonts.layout(&sign.to_string(), style, f32::INFINITY, false);
                assert!(
                    !layout.has_missing(),
                    "{sign} (U+{:04X}) {family:?} {weight}",
                    sign as u32
                );
            }
        }
    }
}
