//! The list of everything that happens, with the glass bar its rows pass behind.

use accesskit::Role;
use grace_gpu::scene::Color;
use grace_ui::color;
use grace_ui::geometry::Area;
use grace_ui::icon::{Icon, Mark};
use grace_ui::key::Key;
use grace_ui::node::{Content, Sense, Spec};
use grace_ui::style::{Align, Justify, Layout, Look, Shadow, Stratum};
use grace_ui::theme::{GlassKind, Theme, Type};
use grace_ui::ui::Ui;
use grace_ui::widget::button::{Button, Kind};
use grace_ui::widget::list::{ListSpec, ListView, RowAt};
use grace_ui::widget::text_box::TextField;
use grace_ui::widget::words::Words;

use crate::model::{Action, LinkState, Model};
use crate::stream::{Row, Scope};
use crate::units;
use crate::words::Weight;

const ROW_HEIGHT: f32 = 32.0;
/// The bar and its distance from the panel's edges.
const BAR_HEIGHT: f32 = 48.0;
const BAR_MARGIN: f32 = 8.0;
/// The strip that shows the chosen row in full.
const CHOSEN_HEIGHT: f32 = 52.0;

pub(super) fn build(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    let panel = Spec::widget("live", Sense::None, Role::Group, "Live events")
        .lay(Layout::column().grow())
        .look(Ui::card_look(&theme));
    ui.with(panel, |ui| {
        // First in reading order; its layer puts it above the list all the same.
        bar(model, ui, actions);
        // The list ends where the bar begins above and where the floor ends below: rows are seen
        // through glass, never around it.
        let well = Spec::layout("well")
            .lay(Layout::column().grow().pad4([BAR_MARGIN, 0.0, BAR_MARGIN, 0.0]));
        let mut view = ListView::default();
        ui.with(well, |ui| view = events(model, ui));
        if model.ask_deselect {
            ui.deselect(view.key);
            actions.push(Action::AskDeselect(false));
        }
        if view.selected != model.selected {
            actions.push(Action::Select(view.selected));
        }
        if model.stream.numbers().is_empty() {
            empty(model, ui, actions);
        }
        floor(model, ui, &view, actions);
    });
}

fn events(model: &Model, ui: &mut Ui) -> ListView {
    let theme = if model.connected() { ui.theme() } else { ui.theme().faded() };
    let chosen = model.selected.is_some();
    let spec = ListSpec {
        label: "Events",
        rows: model.stream.numbers(),
        row_height: ROW_HEIGHT,
        top: BAR_HEIGHT + 8.0,
        bottom: if chosen { CHOSEN_HEIGHT + 8.0 } else { 0.0 },
        epoch: model.stream.epoch(),
    };
    ui.list("events", &spec, |ui, at| {
        if let Some(row) = model.stream.row(at.number) {
            event(ui, at, row, &theme);
        }
    })
}

/// Where the parts of a row stand; on a narrow list some are left out.
struct Columns {
    time: f32,
    service: f32,
    state: f32,
    sentence: f32,
    detail: f32,
}

impl Columns {
    fn fitting(width: f32) -> Self {
        let (time, state) = (104.0, 118.0);
        let service = if width >= 560.0 { 104.0 } else { 0.0 };
        let detail = if width >= 820.0 { 196.0 } else { 0.0 };
        // The row begins 8 inside the list, its first part 12 inside the row.
        let sentence = (width - 20.0 - time - state - service - detail).max(60.0);
        Self { time, service, state, sentence, detail }
    }
}

fn event(ui: &mut Ui, at: &RowAt, row: &Row, theme: &Theme) {
    let columns = Columns::fitting(at.area.w);
    let (ink, mark) = look(row.weight, theme);
    ui.list_row(at, row.whole.clone(), |ui| {
        let mut x = 12.0;
        let mut cell = |width: f32| {
            let area = Area::new(x, 0.0, width - 12.0, ROW_HEIGHT);
            x += width;
            area
        };
        let place = cell(columns.time);
        ui.write(Words::new(row.time.clone(), Type::Mono, theme.text2).place(place));
        let place = cell(columns.state);
        let dot = Area::new(place.x, ROW_HEIGHT / 2.0 - 5.0, 10.0, 10.0);
        ui.leaf(Spec::layout("mark").place(dot).content(Content::Mark(mark, ink)));
        let word = Area::new(place.x + 18.0, 0.0, place.w - 18.0, ROW_HEIGHT);
        ui.write(Words::new(row.state, Type::SmallStrong, ink).place(word));
        if columns.service > 0.0 {
            let place = cell(columns.service);
            let service = row.service.map_or("", grace_ipc::event::Service::name);
            ui.write(Words::new(service, Type::Small, theme.text1).place(place));
        }
        let place = cell(columns.sentence);
        ui.write(Words::new(row.sentence.clone(), Type::Body, theme.text0).place(place));
        if columns.detail > 0.0 {
            let place = cell(columns.detail);
            ui.write(Words::new(row.detail.clone(), Type::Mono, theme.text2).right().place(place));
        }
    });
}

/// Color and shape: a state never rests on color alone.
fn look(weight: Weight, theme: &Theme) -> (Color, Mark) {
    match weight {
        Weight::Note => (theme.text2, Mark::Ring),
        Weight::Done => (theme.ok, Mark::Dot),
        Weight::Change => (theme.hold, Mark::Diamond),
        Weight::Caution => (theme.warn, Mark::Half),
        Weight::Fault => (theme.err, Mark::Triangle),
    }
}

/// The bar of glass over the list.
fn bar(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    let layout = Layout::row()
        .float([Some(BAR_MARGIN), Some(BAR_MARGIN), None, Some(BAR_MARGIN)])
        .height(BAR_HEIGHT)
        .gap(10.0)
        .pad2(0.0, 8.0)
        .middle();
    let spec = Spec::widget("bar", Sense::Block, Role::Toolbar, "Event tools")
        .stratum(Stratum::Chrome)
        .lay(layout.pad4([0.0, 8.0, 0.0, 14.0]))
        .look(Look::glass(GlassKind::Bar).border(1.0, theme.line).radius(10.0).shadow(Shadow {
            down: 4.0,
            sigma: 10.0,
            color: color::percent(Color::rgb(0), if theme.dark { 35 } else { 10 }),
        }));
    let wide = ui.window().w >= 700.0;
    ui.with(spec, |ui| {
        if wide {
            ui.text("Live", Type::Heading, theme.text0);
            ui.write(Words::new(count(model), Type::Small, theme.text1));
            ui.spring();
        }
        if model.ask_filter {
            let filter = ui.key_of("filter");
            ui.focus(filter);
            actions.push(Action::AskFilter(false));
        }
        let field = TextField {
            label: "Filter events",
            placeholder: "Filter: address, IP, word, -word",
            value: &model.filter,
            hint: "/",
        };
        let layout = if wide { Layout::row().width(320.0).shrink() } else { Layout::row().grow() };
        if let Some(text) = ui.text_box("filter", &field, layout) {
            actions.push(Action::Filter(text));
        }
        let pause = if model.paused {
            let waiting = model.stream.waiting();
            let label = if waiting > 0 {
                format!("Resume · {} waiting", units::count(waiting))
            } else {
                "Resume".to_owned()
            };
            Button::new(label).with_icon(Icon::Play).kind(Kind::Primary)
        } else {
            Button::new("Pause").with_icon(Icon::Pause)
        };
        if ui.button("pause", &pause).clicked {
            actions.push(Action::TogglePause);
        }
    });
}

/// `12 of 431`, or how many there are.
fn count(model: &Model) -> String {
    let kept = units::of(model.stream.kept() as u64, "event", "events");
    if model.filter.trim().is_empty() && model.stream.scope() == Scope::Everything {
        return kept;
    }
    format!("{} of {kept}", units::count(model.stream.passing() as u64))
}

/// What floats over the end of the list: the way to what is new, and the chosen row in full.
fn floor(model: &Model, ui: &mut Ui, view: &ListView, actions: &mut Vec<Action>) {
    let layout = Layout::column()
        .float([None, Some(BAR_MARGIN), Some(BAR_MARGIN), Some(BAR_MARGIN)])
        .gap(8.0)
        .align(Align::Stretch);
    let row = model.selected.and_then(|number| model.stream.row(number));
    if row.is_none() && view.unseen == 0 {
        return;
    }
    ui.with(Spec::layout("floor").stratum(Stratum::Popover).lay(layout), |ui| {
        if view.unseen > 0 {
            let center = Spec::layout("center").lay(Layout::row().justify(Justify::Center));
            ui.with(center, |ui| newest(ui, view.key, view.unseen));
        }
        if let Some(row) = row {
            chosen(ui, row, actions);
        }
    });
}

fn newest(ui: &mut Ui, list: Key, unseen: u64) {
    let theme = ui.theme();
    let pane = Spec::layout("newest pane")
        .lay(Layout::row())
        .look(Look::glass(GlassKind::Popover).radius(14.0).shadow(float_shadow(&theme)));
    ui.with(pane, |ui| {
        let label = format!("{} new", units::count(unseen));
        let button = Button::new(label).with_icon(Icon::ArrowDown).kind(Kind::Chip);
        if ui.button("newest", &button).clicked {
            ui.follow(list);
        }
    });
}

fn chosen(ui: &mut Ui, row: &Row, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    let (ink, mark) = look(row.weight, &theme);
    let spec = Spec::widget("chosen", Sense::Block, Role::Region, "Chosen event")
        .lay(Layout::row().height(CHOSEN_HEIGHT).gap(12.0).pad4([0.0, 8.0, 0.0, 16.0]).middle())
        .look(
            Look::glass(GlassKind::Popover)
                .border(1.0, color::percent(theme.line2, 40))
                .radius(10.0)
                .shadow(float_shadow(&theme)),
        );
    ui.with(spec, |ui| {
        ui.mark(mark, ink);
        let words = Spec::layout("words").lay(Layout::column().grow());
        ui.with(words, |ui| {
            ui.write(Words::new(row.sentence.clone(), Type::BodyStrong, theme.text0).shrink());
            ui.write(Words::new(row.facts.clone(), Type::Mono, theme.text1).shrink());
        });
        if row.trace.0 != 0 {
            let only = Button::new("Only this connection").hint("F").kind(Kind::Plain);
            if ui.button("only", &only).clicked {
                actions.push(Action::FollowTrace);
            }
        }
        if ui.button("copy", &Button::new("Copy").hint("Ctrl C").kind(Kind::Plain)).clicked {
            ui.copy(row.whole.to_string());
        }
        if ui.button("close", &Button::icon(Icon::Cross, "Close (Esc)")).clicked {
            actions.push(Action::AskDeselect(true));
        }
    });
}

fn float_shadow(theme: &Theme) -> Shadow {
    let share = if theme.dark { 45 } else { 18 };
    Shadow { down: 8.0, sigma: 14.0, color: color::percent(Color::rgb(0), share) }
}

/// Nothing to show: why, and what one can do.
fn empty(model: &Model, ui: &mut Ui, actions: &mut Vec<Action>) {
    let theme = ui.theme();
    let kept = model.stream.kept();
    let filtered = kept > 0;
    let (icon, title, text) = if filtered {
        let what = if model.filter.trim().is_empty() {
            "Nothing of this kind has happened".to_owned()
        } else {
            format!("Nothing matches “{}”", model.filter.trim())
        };
        let text = format!("{} are hidden", units::of(kept as u64, "other event", "other events"));
        (Icon::Lens, what, text)
    } else {
        match model.link {
            LinkState::Connected => (
                Icon::Check,
                "All quiet".to_owned(),
                "Whatever happens appears here the moment it does".to_owned(),
            ),
            _ => (
                Icon::Server,
                "Waiting for the server".to_owned(),
                "Start graced on this computer, or name its socket with --socket".to_owned(),
            ),
        }
    };
    let layout = Layout::column()
        .float([Some(BAR_HEIGHT), Some(0.0), Some(0.0), Some(0.0)])
        .gap(6.0)
        .align(Align::Center)
        .justify(Justify::Center);
    let label = format!("{title}. {text}");
    ui.with(Spec::widget("empty", Sense::None, Role::Status, label).lay(layout), |ui| {
        ui.icon(icon, 32.0, theme.line2);
        ui.text(title, Type::Heading, theme.text0);
        ui.text(text, Type::Small, theme.text2);
        if filtered {
            ui.leaf(Spec::layout("space").lay(Layout::row().height(4.0)));
            if ui.button("clear", &Button::new("Show everything").hint("Esc")).clicked {
                actions.push(Action::Filter(String::new()));
                actions.push(Action::Show(Scope::Everything));
            }
        }
    });
}
