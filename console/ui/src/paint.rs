//! Boxes become a scene: the only place where logical pixels turn into physical ones.
//!
//! Invariants: what cannot be seen is not in the scene; edges are whole pixels, so equal boxes give
//! equal scenes and an unchanged frame costs nothing. Not here: which boxes there are.

use grace_gpu::scene::{Color, Glass, Line, Quad, Rect, Scene, Stratum as Sheet, Text};

use crate::geometry::{Area, hairline};
use crate::icon::{Icon, Mark};
use crate::node::{Content, Node, Sense, Side, TextRun};
use crate::style::{Look, Stratum};
use crate::theme::{GlassKind, Theme};
use crate::ui::Ui;

/// Stroke of an icon on its grid of 24.
const ICON_STROKE: f32 = 1.75;
/// The ring around what has the keyboard, and its distance.
const RING_WIDTH: f32 = 2.0;
const RING_GAP: f32 = 2.0;

/// The frame's picture.
pub fn scene(ui: &Ui) -> Scene {
    let mut painter = Painter {
        scale: ui.frame.scale,
        theme: ui.theme,
        glass: ui.glass,
        sheets: Stratum::ALL.map(|_| Sheet::default()),
    };
    for node in ui.tree.iter() {
        painter.node(node);
        if ui.focus.ring() == Some(node.key) && node.spec.sense != Sense::Text {
            painter.ring(node);
        }
    }
    Scene { size: ui.frame.size, background: ui.theme.bg0, strata: painter.sheets.into() }
}

struct Painter {
    scale: f32,
    theme: Theme,
    glass: bool,
    sheets: [Sheet; 4],
}

impl Painter {
    fn sheet(&mut self, stratum: Stratum) -> &mut Sheet {
        let [backdrop, content, chrome, popover] = &mut self.sheets;
        match stratum {
            Stratum::Backdrop => backdrop,
            Stratum::Content => content,
            Stratum::Chrome => chrome,
            Stratum::Popover => popover,
        }
    }

    fn node(&mut self, node: &Node) {
        let look = node.spec.look;
        // Shadows and lights reach beyond the box, so they are not judged by its own area.
        self.glow(node, &look);
        if node.visible().is_empty() {
            return;
        }
        if let Some(kind) = look.glass {
            self.pane(node, kind, &look);
        } else if look.fill.is_some() || look.border.is_some() {
            let fill = look.fill.unwrap_or([Color::TRANSPARENT; 2]);
            self.quad(node, node.area, fill, look.radius, look.border);
        }
        if let Some(color) = look.mark {
            let bar = Area::new(node.area.x - 2.0, node.area.y + 6.0, 3.0, node.area.h - 12.0);
            self.quad(node, bar, [color; 2], 1.5, None);
        }
        match &node.spec.content {
            Content::None => {}
            Content::Text(run) => self.text(node, run),
            Content::Icon(icon, color) => self.icon(node, *icon, *color),
            Content::Mark(mark, color) => self.mark(node, *mark, *color),
            Content::Spark(values, color) => self.spark(node, values, *color),
        }
    }

    fn glow(&mut self, node: &Node, look: &Look) {
        if let Some((color, sigma)) = look.light {
            self.soft(node, node.area, color, look.radius, sigma);
        }
        let Some(shadow) = look.shadow else { return };
        let area = node.area.moved(0.0, shadow.down);
        if look.glass.is_none() || !self.glass {
            self.soft(node, area, shadow.color, look.radius, shadow.sigma);
            return;
        }
        // Within a layer glass is drawn first, so its shadow would lie on it: only what of the
        // shadow falls beside the panel is drawn, strip by strip.
        let rect = node.area.snapped(self.scale);
        let far = 4.0 * shadow.sigma * self.scale + rect.w + rect.h;
        let (right, bottom) = (rect.x + rect.w, rect.y + rect.h);
        let strips = [
            Rect { x: rect.x - far, y: rect.y - far, w: rect.w + 2.0 * far, h: far },
            Rect { x: rect.x - far, y: bottom, w: rect.w + 2.0 * far, h: far },
            Rect { x: rect.x - far, y: rect.y, w: far, h: rect.h },
            Rect { x: right, y: rect.y, w: far, h: rect.h },
        ];
        for strip in strips {
            let clip = cut(strip, self.clip(node));
            self.soft_in(node, area, clip, shadow.color, look.radius, shadow.sigma);
        }
    }

    fn soft(&mut self, node: &Node, area: Area, color: Color, radius: f32, sigma: f32) {
        let clip = self.clip(node);
        self.soft_in(node, area, clip, color, radius, sigma);
    }

    fn soft_in(
        &mut self,
        node: &Node,
        area: Area,
        clip: Rect,
        color: Color,
        radius: f32,
        sigma: f32,
    ) {
        let quad = Quad {
            rect: area.snapped(self.scale),
            clip,
            fill: [color; 2],
            radius: radius * self.scale,
            border_width: 0.0,
            border: Color::TRANSPARENT,
            shadow_sigma: sigma * self.scale,
        };
        self.sheet(node.stratum).quads.push(quad);
    }

    fn pane(&mut self, node: &Node, kind: GlassKind, look: &Look) {
        if !self.glass {
            let solid = kind.solid(&self.theme);
            self.quad(node, node.area, [solid; 2], look.radius, look.border);
            return;
        }
        let (iterations, offset) = kind.strength();
        let pane = Glass {
            rect: node.area.snapped(self.scale),
            radius: look.radius * self.scale,
            tint: kind.tint(&self.theme),
            iterations,
            offset,
            edge: kind.edge(&self.theme),
        };
        self.sheet(node.stratum).glass.push(pane);
        if look.border.is_some() {
            self.quad(node, node.area, [Color::TRANSPARENT; 2], look.radius, look.border);
        }
    }

    fn quad(
        &mut self,
        node: &Node,
        area: Area,
        fill: [Color; 2],
        radius: f32,
        border: Option<(f32, Color)>,
    ) {
        let (width, color) = border.unwrap_or((0.0, Color::TRANSPARENT));
        let quad = Quad {
            rect: area.snapped(self.scale),
            clip: self.clip(node),
            fill,
            radius: radius * self.scale,
            border_width: hairline(width, self.scale),
            border: color,
            shadow_sigma: 0.0,
        };
        self.sheet(node.stratum).quads.push(quad);
    }

    fn ring(&mut self, node: &Node) {
        let (area, radius) = if node.spec.inset_focus {
            (node.area, node.spec.look.radius)
        } else {
            let out = RING_WIDTH + RING_GAP;
            (node.area.inset(-out), node.spec.look.radius + out)
        };
        let border = Some((RING_WIDTH, self.theme.accent));
        self.quad(node, area, [Color::TRANSPARENT; 2], radius, border);
    }

    fn text(&mut self, node: &Node, run: &TextRun) {
        let (area, scale) = (node.area, self.scale);
        let spare = (area.w - run.natural_width).max(0.0);
        let left = match run.side {
            Side::Left => 0.0,
            Side::Middle => spare / 2.0,
            Side::Right => spare,
        };
        let style = run.kind.style(scale);
        let top = area.y + (area.h - run.kind.line()) / 2.0;
        // Half a pixel of grace: a text that was measured to fit does fit.
        let fits = run.whole || run.natural_width <= area.w + 0.5;
        let text = Text {
            text: run.text.clone(),
            style,
            color: run.color,
            x: ((area.x + left) * scale).round(),
            y: (top * scale).round(),
            max_width: if fits { f32::INFINITY } else { area.w * scale },
            wrap: false,
            clip: self.clip(node),
        };
        self.sheet(node.stratum).texts.push(text);
    }

    fn icon(&mut self, node: &Node, icon: Icon, color: Color) {
        let side = node.area.w.min(node.area.h) * self.scale;
        let unit = side / 24.0;
        let x = ((node.area.x + node.area.w / 2.0) * self.scale - side / 2.0).round();
        let y = ((node.area.y + node.area.h / 2.0) * self.scale - side / 2.0).round();
        for points in icon.lines() {
            let points = points.into_iter().map(|[px, py]| [x + px * unit, y + py * unit]);
            self.line(node, points.collect(), ICON_STROKE * unit, color);
        }
    }

    fn mark(&mut self, node: &Node, mark: Mark, color: Color) {
        let center = [node.area.x + node.area.w / 2.0, node.area.y + node.area.h / 2.0];
        let [x, y] = center.map(|value| (value * self.scale).round());
        let unit = self.scale;
        match mark {
            Mark::Dot | Mark::Ring | Mark::Half => self.disc(node, [x, y], mark, color),
            Mark::Triangle => {
                let outer = [[0.0, -3.4], [3.7, 3.0], [-3.7, 3.0], [0.0, -3.4], [0.5, -2.5]];
                let inner = [[0.0, -1.2], [1.4, 1.6], [-1.4, 1.6], [0.0, -1.2]];
                for (points, width) in [(&outer[..], 1.8), (&inner[..], 2.2)] {
                    let points = points.iter().map(|[px, py]| [x + px * unit, y + py * unit]);
                    self.line(node, points.collect(), width * unit, color);
                }
            }
            Mark::Diamond => {
                let outer =
                    [[0.0, -3.6], [3.6, 0.0], [0.0, 3.6], [-3.6, 0.0], [0.0, -3.6], [0.6, -3.0]];
                let inner = [[0.0, -1.4], [1.4, 0.0], [0.0, 1.4], [-1.4, 0.0], [0.0, -1.4]];
                for (points, width) in [(&outer[..], 1.8), (&inner[..], 2.4)] {
                    let points = points.iter().map(|[px, py]| [x + px * unit, y + py * unit]);
                    self.line(node, points.collect(), width * unit, color);
                }
            }
        }
    }

    /// A full, empty or half disc.
    fn disc(&mut self, node: &Node, [x, y]: [f32; 2], mark: Mark, color: Color) {
        let radius = (4.0 * self.scale).round();
        let rect = Rect { x: x - radius, y: y - radius, w: 2.0 * radius, h: 2.0 * radius };
        let clip = self.clip(node);
        let hollow = Quad {
            rect,
            clip,
            fill: [Color::TRANSPARENT; 2],
            radius,
            border_width: hairline(1.5, self.scale),
            border: color,
            shadow_sigma: 0.0,
        };
        let full = Quad { fill: [color; 2], border_width: 0.0, ..hollow };
        let quads = &mut self.sheet(node.stratum).quads;
        match mark {
            Mark::Dot => quads.push(full),
            Mark::Ring => quads.push(hollow),
            _ => {
                quads.push(hollow);
                quads.push(Quad { clip: cut(clip, Rect { w: radius, ..rect }), ..full });
            }
        }
    }

    /// A line through the values; one that is no number is a gap.
    fn spark(&mut self, node: &Node, values: &[f32], color: Color) {
        let area = node.area.inset(1.0);
        let steps = values.iter().skip(1).fold(0.0, |count, _| count + 1.0);
        let mut points = Vec::with_capacity(values.len());
        let mut step = 0.0;
        for value in values {
            if value.is_finite() && steps > 0.0 {
                let x = area.x + area.w * step / steps;
                let y = area.y + area.h * (1.0 - value.clamp(0.0, 1.0));
                points.push([x * self.scale, y * self.scale]);
            }
            step += 1.0;
        }
        if points.len() > 1 {
            self.line(node, points, 1.5 * self.scale, color);
        }
    }

    fn line(&mut self, node: &Node, points: Vec<[f32; 2]>, width: f32, color: Color) {
        let line = Line { points, clip: self.clip(node), width, color };
        self.sheet(node.stratum).lines.push(line);
    }

    fn clip(&self, node: &Node) -> Rect {
        if node.clip == Area::EVERYWHERE {
            return Rect { x: -1e6, y: -1e6, w: 2e6, h: 2e6 };
        }
        node.clip.snapped(self.scale)
    }
}

fn cut(a: Rect, b: Rect) -> Rect {
    let x = a.x.max(b.x);
    let y = a.y.max(b.y);
    Rect {
        x,
        y,
        w: ((a.x + a.w).min(b.x + b.w) - x).max(0.0),
        h: ((a.y + a.h).min(b.y + b.h) - y).max(0.0),
    }
}
