//! The words for a connection that is gone, and the way back.

use std::time::Duration;

use accesskit::Role;
use grace_ui::color;
use grace_ui::icon::Icon;
use grace_ui::node::{Sense, Spec};
use grace_ui::style::{Layout, Look};
use grace_ui::theme::Type;
use grace_ui::ui::Ui;
use grace_ui::widget::button::{Button, Kind};
use grace_ui::widget::words::Words;

use crate::model::{Action, LinkState, Model};
use crate::units;

pub(super) fn build(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let LinkState::Lost { since, reason, retry_at, trying } = &model.link else { return };
    let theme = ui.theme();
    let title = title(model, *since, *retry_at, *trying);
    let spec = Spec::widget("banner", Sense::None, Role::Alert, title.clone())
        .value(reason.as_str())
        .live()
        .lay(Layout::row().gap(14.0).pad2(12.0, 16.0).middle())
        .look(
            Look::fill(color::mix(theme.bg2, theme.err, if theme.dark { 0.13 } else { 0.07 }))
                .border(1.0, color::mix(theme.line, theme.err, 0.55))
                .radius(12.0),
        );
    ui.with(spec, |ui| {
        ui.icon(Icon::Warning, 20.0, theme.err);
        let words = Spec::layout("words").lay(Layout::column().grow().gap(1.0));
        ui.with(words, |ui| {
            ui.write(Words::new(title, Type::BodyStrong, theme.text0).shrink());
            ui.write(Words::new(reason.as_str(), Type::Small, theme.text1).shrink());
        });
        let button = Button::new("Now").kind(Kind::Primary);
        if ui.button("now", &button).clicked {
            actions.push(Action::RetryNow);
        }
    });
}

fn title(model: &Model, since: Duration, retry_at: Duration, trying: bool) -> String {
    let gone = units::span(Duration::from_secs(model.now.saturating_sub(since).as_secs().max(1)));
    let gone = gone.replace(".0 s", " s");
    let what = if model.server.is_some() {
        format!("Connection lost {gone} ago")
    } else {
        format!("No server found for {gone}")
    };
    let left = retry_at.saturating_sub(model.now);
    let left = left.as_secs() + u64::from(left.subsec_millis() > 0);
    if trying || left == 0 {
        format!("{what} — trying now")
    } else {
        format!("{what} — retrying in {left} s")
    }
}
