//! The bar along the top: where one is, whether the picture is live, what one may do.

use accesskit::Role;
use grace_ui::color;
use grace_ui::icon::{Icon, Mark};
use grace_ui::node::{Sense, Spec};
use grace_ui::style::{Layout, Look, Stratum};
use grace_ui::theme::{GlassKind, Type};
use grace_ui::ui::Ui;
use grace_ui::widget::button::Button;
use grace_ui::widget::words::Words;

use super::NARROW;
use crate::model::{Action, LinkState, Model};

const HEIGHT: f32 = 52.0;

pub(super) fn build(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    let bar = Spec::widget("top bar", Sense::Block, Role::Banner, "Overview")
        .stratum(Stratum::Chrome)
        .lay(Layout::column().height(HEIGHT))
        .look(Look::glass(GlassKind::Chrome));
    ui.with(bar, |ui| {
        let row = Spec::layout("row")
            .lay(Layout::row().grow().gap(10.0).pad4([3.0, 16.0, 0.0, 24.0]).middle());
        ui.with(row, |ui| {
            ui.write(Words::new("Overview", Type::Heading, theme.text0));
            ui.spring();
            live(model, ui);
            if ui.window().w >= NARROW {
                role(ui);
            }
            let (icon, label) = if model.dark() {
                (Icon::Sun, "Light theme (Ctrl T)")
            } else {
                (Icon::Moon, "Dark theme (Ctrl T)")
            };
            if ui.button("theme", &Button::icon(icon, label)).clicked {
                actions.push(Action::ToggleTheme);
            }
        });
        ui.hairline(Layout::row().height(1.0), theme.line);
    });
}

/// Whether what is shown is what is.
fn live(model: &Model, ui: &mut Ui) {
    let theme = ui.theme();
    let (mark, ink, text) = match &model.link {
        LinkState::Connected if model.paused => (Mark::Half, theme.warn, "Paused"),
        LinkState::Connected => (Mark::Dot, theme.ok, "Live"),
        LinkState::Connecting => (Mark::Half, theme.warn, "Connecting"),
        LinkState::Lost { .. } => (Mark::Triangle, theme.err, "Not live"),
    };
    let pill = Spec::widget("live", Sense::None, Role::Status, text)
        .lay(Layout::row().height(30.0).gap(8.0).pad2(0.0, 12.0).middle())
        .look(Look::fill(color::percent(theme.text0, 4)).border(1.0, theme.line).radius(8.0));
    ui.with(pill, |ui| {
        ui.mark(mark, ink);
        ui.text(text, Type::Small, theme.text0);
    });
}

/// The console looks and does not touch; the daemon holds it to that.
fn role(ui: &mut Ui) {
    let theme = ui.theme();
    let fill = color::percent(theme.warn, if theme.dark { 14 } else { 16 });
    let pill = Spec::widget("role", Sense::None, Role::Status, "Read-only")
        .lay(Layout::row().height(30.0).pad2(0.0, 14.0).middle())
        .look(Look::fill(fill).border(1.0, theme.warn).radius(8.0));
    ui.with(pill, |ui| ui.text("Read-only", Type::SmallStrong, theme.text0));
}
