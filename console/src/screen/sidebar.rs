//! The side bar: which server this is, how the connection stands, which part is shown.

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
use crate::stream::Scope;
use crate::units;

const WIDTH: f32 = 216.0;
const WIDTH_NARROW: f32 = 56.0;

pub(super) fn build(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let narrow = ui.window().w < NARROW;
    let width = if narrow { WIDTH_NARROW } else { WIDTH };
    let bar = Spec::widget("sidebar", Sense::Block, Role::Navigation, "Parts")
        .stratum(Stratum::Chrome)
        .lay(Layout::row().width(width))
        .look(Look::glass(GlassKind::Chrome));
    ui.with(bar, |ui| {
        let pad = if narrow { [16.0, 11.0, 12.0, 12.0] } else { [15.0, 11.0, 14.0, 12.0] };
        let column = Spec::layout("column").lay(Layout::column().grow().gap(2.0).pad4(pad));
        ui.with(column, |ui| {
            if narrow {
                parts_narrow(model, ui, actions);
            } else {
                server(model, ui);
                parts(model, ui, actions);
                ui.spring();
                versions(model, ui);
            }
        });
        let line = ui.theme().line;
        ui.hairline(Layout::row().width(1.0), line);
    });
}

/// The card with the server's name and the state of the connection: shape, color and word.
fn server(model: &Model, ui: &mut Ui) {
    let theme = ui.theme();
    let name = model.server.as_ref().map_or("Grace", |server| server.hostname.as_str());
    let (mark, ink, state) = match &model.link {
        LinkState::Connecting => (Mark::Half, theme.warn, "Connecting"),
        LinkState::Connected => (Mark::Dot, theme.ok, "Connected"),
        LinkState::Lost { trying: true, .. } => (Mark::Half, theme.warn, "Trying again"),
        LinkState::Lost { .. } => (Mark::Triangle, theme.err, "Disconnected"),
    };
    let label = format!("{name}: {state}");
    let card = Spec::widget("server", Sense::None, Role::Status, label)
        .live()
        .lay(Layout::column().gap(3.0).pad2(9.0, 12.0))
        .look(Look::fill(color::percent(theme.text0, 5)).border(1.0, theme.line).radius(12.0));
    ui.with(card, |ui| {
        ui.write(Words::new(name, Type::BodyStrong, theme.text0).shrink());
        let row = Spec::layout("state").lay(Layout::row().gap(7.0).middle().height(16.0));
        ui.with(row, |ui| {
            ui.mark(mark, ink);
            let text = match model.link {
                LinkState::Connected => format!("{state} · this computer"),
                _ => state.to_owned(),
            };
            ui.write(Words::new(text, Type::Caption, theme.text1).grow());
        });
    });
    ui.leaf(Spec::layout("space").lay(Layout::row().height(12.0)));
}

fn parts(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    for scope in Scope::ALL {
        if matches!(scope, Scope::Messages | Scope::Problems) {
            ui.leaf(Spec::layout(("gap", scope)).lay(Layout::row().height(10.0)));
        }
        if scope == Scope::Everything {
            heading(ui, "WATCH", theme.text1);
        }
        let count = match model.stream.count_of(scope) {
            0 => String::new(),
            number => units::count(number),
        };
        let selected = model.stream.scope() == scope;
        if ui.nav(scope, icon(scope), name(scope), &count, selected).clicked {
            actions.push(Action::Show(scope));
        }
    }
}

fn heading(ui: &mut Ui, text: &str, ink: grace_gpu::scene::Color) {
    let spec = Spec::layout(("heading", text)).lay(Layout::row().height(22.0).pad2(0.0, 12.0));
    ui.with(spec, |ui| ui.text(text, Type::Caption, ink));
}

fn parts_narrow(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    for scope in Scope::ALL {
        let on = model.stream.scope() == scope;
        let button = Button::icon(icon(scope), name(scope)).on(on);
        if ui.button(scope, &button).clicked {
            actions.push(Action::Show(scope));
        }
    }
}

/// What speaks with what, and what the picture lacks.
fn versions(model: &Model, ui: &mut Ui) {
    let theme = ui.theme();
    let server = model.server.as_ref().map(|server| server.version.as_str());
    let text = match server {
        Some(version) => format!("v{} ↔ server v{version}", env!("CARGO_PKG_VERSION")),
        None => format!("v{}", env!("CARGO_PKG_VERSION")),
    };
    let foot = Spec::layout("foot").lay(Layout::column().gap(2.0).pad2(0.0, 10.0));
    ui.with(foot, |ui| {
        if let Some(server) = &model.server {
            let since = format!("up since {}", units::date(server.started_us, model.zone));
            ui.write(Words::new(since, Type::Caption, theme.text1).shrink());
        }
        ui.write(Words::new(text, Type::Caption, theme.text1).shrink());
        if model.software_gpu {
            let text = "No GPU found, effects reduced";
            ui.write(Words::new(text, Type::Caption, theme.text1).shrink());
        }
    });
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Everything => "Everything",
        Scope::Messages => "Messages",
        Scope::Logins => "Logins",
        Scope::Connections => "Connections",
        Scope::Mailboxes => "Mailboxes",
        Scope::Server => "Server",
        Scope::Problems => "Problems",
    }
}

fn icon(scope: Scope) -> Icon {
    match scope {
        Scope::Everything => Icon::Pulse,
        Scope::Messages => Icon::Envelope,
        Scope::Logins => Icon::Person,
        Scope::Connections => Icon::Plug,
        Scope::Mailboxes => Icon::Folder,
        Scope::Server => Icon::Server,
        Scope::Problems => Icon::Warning,
    }
}
