//! Boxes and scenes as text, for tests that show what a screen is.
//!
//! Not here: pictures (the renderer's tests).

use std::fmt::Write;

use accesskit::Role;
use grace_gpu::scene::{Rect, Scene};

use crate::color;
use crate::ui::Ui;

/// The boxes with a meaning, one a line, indented by depth: role, name, value, state.
pub fn boxes(ui: &Ui) -> String {
    let mut out = String::new();
    for node in ui.tree.iter() {
        let meaning = &node.spec.meaning;
        if meaning.role == Role::GenericContainer {
            continue;
        }
        let mut depth = 0;
        let mut parent = node.parent;
        while let Some(id) = parent {
            if ui.tree[id].role() != Role::GenericContainer {
                depth += 1;
            }
            parent = ui.tree[id].parent;
        }
        let role = &meaning.role;
        let _ = write!(out, "{:1$}{role:?}", "", depth * 2);
        if !meaning.label.is_empty() {
            let _ = write!(out, " \"{}\"", meaning.label);
        }
        if let Some(value) = &meaning.value {
            let _ = write!(out, " = {value}");
        }
        if node.is_on() {
            out.push_str(" (on)");
        }
        if ui.focused() == Some(node.key) {
            out.push_str(" (focus)");
        }
        out.push('\n');
    }
    out
}

/// What a scene draws, one thing a line.
pub fn scene(scene: &Scene) -> String {
    let mut out = String::new();
    let (w, h) = scene.size;
    let _ = writeln!(out, "scene {w}x{h} {}", color::name(scene.background));
    for (number, sheet) in scene.strata.iter().enumerate() {
        for pane in &sheet.glass {
            let _ = writeln!(out, "{number} glass {} {}", rect(pane.rect), color::name(pane.tint));
        }
        for quad in &sheet.quads {
            let [top, _] = quad.fill;
            let kind = if quad.shadow_sigma > 0.0 { "glow" } else { "quad" };
            let _ = write!(out, "{number} {kind} {} {}", rect(quad.rect), color::name(top));
            if quad.border_width > 0.0 {
                let _ = write!(out, " border {} {}", quad.border_width, color::name(quad.border));
            }
            out.push('\n');
        }
        for line in &sheet.lines {
            let points = line.points.len();
            let _ = writeln!(out, "{number} line of {points} {}", color::name(line.color));
        }
        for text in &sheet.texts {
            let _ = writeln!(
                out,
                "{number} text {},{} {}px {} {:?}",
                text.x,
                text.y,
                text.style.size,
                color::name(text.color),
                text.text
            );
        }
    }
    out
}

fn rect(rect: Rect) -> String {
    let Rect { x, y, w, h } = rect;
    format!("{x},{y} {w}x{h}")
}
