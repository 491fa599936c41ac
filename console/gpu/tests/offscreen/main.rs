//! Pictures drawn without a window, checked pixel by pixel, with the validation layers listening.
//!
//! Invariant: no test passes while the layers have said anything. Where there is no Vulkan device
//! at all the tests say so loudly and pass.
//! Not here: windows (the console's own tests), damage as such (unit tests).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests"
)]

mod chance;
mod frames;
mod shapes;

use std::sync::Arc;

use grace_gpu::error::Error;
use grace_gpu::renderer::{Effects, Options, Picture, Renderer};
use grace_gpu::scene::{Color, Family, Glass, Quad, Rect, Scene, Stratum, Text, TextStyle};
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
