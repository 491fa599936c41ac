//! Many random changes: drawn in parts and drawn whole, a picture is the same.

use grace_gpu::renderer::Effects;
use grace_gpu::scene::{Color, Glass, Line, Quad, Rect, Scene, Stratum, Text};

use crate::{ALL, BLACK, RED, quad, renderer, scene, text};

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
