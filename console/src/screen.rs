//! The screen: everything the model knows, as boxes.
//!
//! Invariants: a screen only reads the model; what a person did comes back as actions. Not here:
//! one part each is in the modules below.

mod banner;
mod figures;
mod live;
mod sidebar;
mod top_bar;

use accesskit::Role;
use grace_ui::node::{Sense, Spec};
use grace_ui::style::{Layout, Look, Stratum};
use grace_ui::ui::Ui;

use crate::model::{Action, Model};

/// Below this width the side bar shows icons only.
pub(crate) const NARROW: f32 = 820.0;

/// Builds the whole window.
pub(crate) fn overview(model: &Model, ui: &mut Ui) -> Vec<Action> {
    let mut actions = Vec::new();
    backdrop(ui);
    let main = Spec::layout("main").lay(Layout::column().grow());
    sidebar::build(model, ui, &mut actions);
    ui.with(main, |ui| {
        top_bar::build(model, ui, &mut actions);
        let roomy = ui.window().h > 560.0;
        let pad = if ui.window().w < NARROW { 12.0 } else { 24.0 };
        let layout = Layout::column().grow().gap(16.0).pad4([16.0, pad, pad.min(20.0), pad]);
        let content = Spec::widget("content", Sense::None, Role::Main, "Overview").lay(layout);
        ui.with(content, |ui| {
            banner::build(model, ui, &mut actions);
            if roomy {
                figures::build(model, ui);
            }
            live::build(model, ui, &mut actions);
        });
    });
    edge(model, ui);
    actions
}

/// Two faint lights, so that glass has something to show.
fn backdrop(ui: &mut Ui) {
    let (theme, window) = (ui.theme(), ui.window());
    let [first, second] = theme.lights;
    let w = window.w;
    let h = window.h;
    let lights = [
        ("light 1", [Some(-h * 0.10), None, None, Some(w * 0.10)], first, w * 0.30, h * 0.46),
        ("light 2", [None, None, Some(-h * 0.14), Some(-w * 0.06)], second, w * 0.30, h * 0.42),
    ];
    for (id, edges, color, width, height) in lights {
        let spec = Spec::layout(id)
            .stratum(Stratum::Backdrop)
            .lay(Layout::row().width(width).height(height).float(edges))
            .look(Look::light(color, 110.0).radius(height / 2.0));
        ui.leaf(spec);
    }
}

/// The line along the top that tells which server this is. Green: the one on this computer.
fn edge(_model: &Model, ui: &mut Ui) {
    let color = ui.theme().ok;
    let spec = Spec::layout("edge")
        .stratum(Stratum::Popover)
        .lay(Layout::row().height(3.0).float([Some(0.0), Some(0.0), None, Some(0.0)]))
        .look(Look::fill(color));
    ui.leaf(spec);
}

#[cfg(test)]
mod tests;
