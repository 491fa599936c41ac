//! The toolkit as a person meets it: a small screen with everything on it, driven without a window.
//!
//! Not here: single parts (beside their code), pictures (the renderer's tests).

use std::time::Duration;

use accesskit::{Action, ActionData, ActionRequest, NodeId, Role, TreeId};
use grace_ui::dump;
use grace_ui::icon::Icon;
use grace_ui::input::{Input, KeyName, Mods};
use grace_ui::node::{Sense, Spec};
use grace_ui::style::{Layout, Look, Stratum};
use grace_ui::testing::Harness;
use grace_ui::theme::{GlassKind, Type};
use grace_ui::ui::Ui;
use grace_ui::widget::button::{Button, Kind};
use grace_ui::widget::list::{ListSpec, ListView};
use grace_ui::widget::text_box::TextField;
use grace_ui::widget::words::Words;

#[derive(Default)]
struct Desk {
    saved: u32,
    filter: String,
    rows: u64,
    view: ListView,
    epoch: u64,
}

/// A bar of glass with a text box and buttons, floating over a list.
fn desk(ui: &mut Ui, desk: &mut Desk) -> bool {
    let mut changed = false;
    let theme = ui.theme();
    let panel = Spec::widget("panel", Sense::None, Role::Group, "Rows")
        .lay(Layout::column().grow())
        .look(Look::fill(theme.bg2));
    ui.with(panel, |ui| {
        let spec = ListSpec {
            label: "Things",
            rows: 0..desk.rows,
            row_height: 30.0,
            top: 56.0,
            bottom: 8.0,
            epoch: desk.epoch,
        };
        desk.view = ui.list("list", &spec, |ui, at| {
            let number = at.number;
            ui.list_row(at, format!("thing {number}"), |ui| {
                let place = grace_ui::geometry::Area::new(8.0, 0.0, 200.0, 30.0);
                let text = Words::new(format!("thing {number}"), Type::Body, theme.text0);
                ui.write(text.place(place));
            });
        });
        let bar = Spec::widget("bar", Sense::Block, Role::Toolbar, "Tools")
            .stratum(Stratum::Chrome)
            .lay(
                Layout::row()
                    .float([Some(8.0), Some(8.0), None, Some(8.0)])
                    .height(40.0)
                    .gap(8.0)
                    .pad2(4.0, 8.0)
                    .middle(),
            )
            .look(Look::glass(GlassKind::Chrome).radius(12.0));
        ui.with(bar, |ui| {
            let field = TextField {
                label: "Filter",
                placeholder: "Filter things",
                value: &desk.filter,
                hint: "/",
            };
            if let Some(text) = ui.text_box("filter", &field, Layout::row().width(240.0)) {
                desk.filter = text;
                changed = true;
            }
            if ui.button("save", &Button::new("Save").kind(Kind::Primary)).clicked {
                desk.saved += 1;
                changed = true;
            }
            ui.button("sun", &Button::icon(Icon::Sun, "Light theme"));
            if desk.view.unseen > 0 {
                let label = format!("{} new", desk.view.unseen);
                if ui.button("newest", &Button::new(label).kind(Kind::Chip)).clicked {
                    ui.follow(desk.view.key);
                    changed = true;
                }
            }
        });
    });
    changed
}

fn harness(scale: f32, rows: u64) -> Harness<Desk> {
    Harness::new((640, 400), scale, Desk { rows, ..Desk::default() }, desk)
}

#[test]
fn what_a_screen_reader_is_told() {
    let h = harness(1.0, 2);
    assert_eq!(
        h.dump(),
        "\
Window \"Grace console\"
  Group \"Rows\"
    Table \"Things\"
      Row \"thing 0\"
        Label = thing 0
      Row \"thing 1\"
        Label = thing 1
    Toolbar \"Tools\"
      SearchInput \"Filter\" = 
        Label = /
      Button \"Save\"
        Label = Save
      Button \"Light theme\"
"
    );
    assert_eq!(h.nameless(), Vec::<String>::new());
}

#[test]
fn buttons_are_clicked_with_pointer_keyboard_and_screen_reader() {
    let mut h = harness(1.0, 0);
    assert!(h.click(Role::Button, "Save"));
    assert_eq!(h.state.saved, 1);
    for _ in 0..3 {
        h.press(KeyName::Tab);
    }
    assert!(h.dump().contains("SearchInput \"Filter\" =  (focus)"), "{}", h.dump());
    h.press(KeyName::Tab);
    h.press(KeyName::Enter);
    h.press(KeyName::Space);
    assert_eq!(h.state.saved, 3);
    let key = h.find(Role::Button, "Save").expect("the button is there").key;
    let request = ActionRequest {
        action: Action::Click,
        target_tree: TreeId::ROOT,
        target_node: NodeId(key.0),
        data: None,
    };
    assert!(grace_ui::access::act(&mut h.ui, &request));
    h.run();
    assert_eq!(h.state.saved, 4);
}

#[test]
fn a_press_that_ends_elsewhere_is_no_click() {
    let mut h = harness(1.0, 0);
    let save = h.find(Role::Button, "Save").expect("the button is there").area;
    h.input(Input::PointerMoved(save.x + 5.0, save.y + 5.0));
    h.input(Input::Pressed { shift: false });
    h.input(Input::PointerMoved(save.x + 5.0, save.y + 200.0));
    h.input(Input::Released);
    assert_eq!(h.state.saved, 0);
}

#[test]
fn tab_goes_around_and_back_and_the_ring_is_for_the_keyboard() {
    let mut h = harness(1.0, 0);
    let rings = |h: &Harness<Desk>| dump::scene(&h.scene()).matches("border 2 #4DB7EE").count();
    assert!(h.click(Role::Button, "Save"));
    assert_eq!(rings(&h), 0, "the pointer draws no ring");
    h.press(KeyName::Tab);
    assert!(h.dump().contains("Button \"Light theme\" (focus)"));
    assert_eq!(rings(&h), 1);
    h.press(KeyName::Tab);
    assert!(h.dump().contains("Table \"Things\" (focus)"));
    h.chord(KeyName::Tab, Mods::SHIFT);
    assert!(h.dump().contains("Button \"Light theme\" (focus)"));
}

#[test]
fn typing_into_the_box() {
    let mut h = harness(1.0, 0);
    assert!(!h.press(KeyName::Char('x')), "nobody has the keyboard");
    assert!(h.click(Role::SearchInput, "Filter"));
    h.type_text("to otto");
    assert_eq!(h.state.filter, "to otto");
    h.chord(KeyName::Backspace, Mods::CTRL);
    assert_eq!(h.state.filter, "to ");
    h.chord(KeyName::Char('a'), Mods::CTRL);
    h.type_text("x");
    assert_eq!(h.state.filter, "x");
    assert!(h.click(Role::Button, "Clear filter"));
    assert_eq!(h.state.filter, "");
    assert!(h.ui.editing(), "the keyboard stays in the box that was cleared");
    assert!(!h.press(KeyName::Escape), "Escape is the program's");
}

#[test]
fn clicking_into_text_places_the_caret() {
    let mut h = harness(1.0, 0);
    h.state.filter = "abcdef".to_owned();
    h.run();
    let field = h.find(Role::SearchInput, "Filter").expect("the box is there").area;
    // Inside: 10 of padding, an icon of 16, a gap of 8; a character is 7.15 wide.
    h.click_at(field.x + 34.0 + 3.0 * 7.15 + 1.0, field.y + 16.0);
    h.type_text("-");
    assert_eq!(h.state.filter, "abc-def");
}

#[test]
fn the_input_method_shows_before_it_decides() {
    let mut h = harness(1.0, 0);
    assert!(h.click(Role::SearchInput, "Filter"));
    assert!(h.ui.caret().is_some());
    h.input(Input::Preedit("に".to_owned()));
    assert!(dump::scene(&h.scene()).contains("\"に\""));
    assert_eq!(h.state.filter, "");
    h.input(Input::Commit("日".to_owned()));
    assert_eq!(h.state.filter, "日");
}

#[test]
fn the_caret_blinks_only_for_a_while() {
    let mut h = harness(1.0, 0);
    assert_eq!(h.ui.wake_at(), None);
    assert!(h.click(Role::SearchInput, "Filter"));
    let mut wakes = 0;
    while let Some(at) = h.ui.wake_at() {
        h.wait(at.saturating_sub(Duration::from_millis(600) * wakes));
        wakes += 1;
        assert!(wakes < 30, "it never stops");
    }
    assert!((2..=10).contains(&wakes), "{wakes}");
    h.input(Input::WindowFocused(false));
    assert_eq!(h.ui.wake_at(), None);
}

#[test]
fn a_long_list_builds_only_what_is_seen() {
    let h = harness(1.0, 1_000_000);
    let rows = h.dump().matches("Row \"").count();
    assert!((10..=15).contains(&rows), "{rows}");
    assert!(h.shows("thing 999999"));
}

#[test]
fn the_list_follows_until_scrolled_and_says_what_is_new() {
    let mut h = harness(1.0, 100);
    assert!(h.shows("thing 99"));
    h.wheel_at(300.0, 200.0, 120.0);
    let before = h.texts();
    h.state.rows = 112;
    h.run();
    h.run();
    assert!(h.shows("12 new"), "{:?}", h.texts());
    assert_eq!(
        before.iter().filter(|text| text.starts_with("thing")).collect::<Vec<_>>(),
        h.texts().iter().filter(|text| text.starts_with("thing")).collect::<Vec<_>>(),
    );
    assert!(h.click(Role::Button, "12 new"));
    assert!(h.shows("thing 111"));
    assert!(!h.shows("12 new"));
}

#[test]
fn the_wheel_reaches_the_list_through_the_bar_but_clicks_do_not() {
    let mut h = harness(1.0, 100);
    let bar = h.find(Role::Toolbar, "Tools").expect("the bar is there").area;
    h.wheel_at(bar.right() - 20.0, bar.y + 20.0, 3000.0);
    assert!(h.shows("thing 0"));
    h.wheel_at(bar.right() - 20.0, bar.y + 20.0, -40.0);
    h.click_at(bar.right() - 20.0, bar.y + 20.0);
    assert_eq!(h.state.view.selected, None, "the bar stands in the way");
    h.click_at(100.0, 200.0);
    assert!(h.state.view.selected.is_some());
}

#[test]
fn rows_pass_behind_the_glass() {
    let mut h = harness(1.0, 100);
    h.wheel_at(300.0, 200.0, 600.0);
    let scene = h.scene();
    let panes: Vec<_> = scene.strata.iter().flat_map(|sheet| &sheet.glass).collect();
    assert_eq!(panes.len(), 1);
    let content = &scene.strata[1];
    let behind = |text: &&grace_gpu::scene::Text| {
        text.y < panes[0].rect.y + panes[0].rect.h && text.text.starts_with("thing")
    };
    assert!(content.texts.iter().any(|text| behind(&text)), "{}", dump::scene(&scene));
    h.ui.set_glass(false);
    h.run();
    assert!(h.scene().strata.iter().all(|sheet| sheet.glass.is_empty()));
}

#[test]
fn a_scroll_bar_is_dragged() {
    let mut h = harness(1.0, 1_000);
    let bar = h.find(Role::ScrollBar, "Scroll bar").expect("a thousand rows need one").area;
    let x = bar.x + bar.w / 2.0;
    h.input(Input::PointerMoved(x, bar.bottom() - 10.0));
    h.input(Input::Pressed { shift: false });
    h.input(Input::PointerMoved(x, bar.y - 400.0));
    assert!(h.shows("thing 0"));
    h.input(Input::PointerMoved(x, bar.bottom() + 400.0));
    h.input(Input::Released);
    assert!(h.shows("thing 999"));
    assert!(h.state.view.following);
}

#[test]
fn another_epoch_is_another_list() {
    let mut h = harness(1.0, 1_000);
    h.wheel_at(300.0, 200.0, 6_000.0);
    h.state.epoch = 1;
    h.state.rows = 500;
    h.run();
    assert!(h.shows("thing 499"));
    assert!(!h.shows("new"));
}

#[test]
fn everything_is_on_whole_pixels_at_every_scale() {
    for scale in [1.0, 1.25, 1.5, 1.75, 2.0] {
        let mut h = harness(scale, 100);
        h.wheel_at(300.0, 200.0, 77.0);
        let scene = h.scene();
        for sheet in &scene.strata {
            for quad in &sheet.quads {
                for edge in [quad.rect.x, quad.rect.y, quad.rect.w, quad.rect.h] {
                    assert_eq!(edge, edge.round(), "scale {scale}: {:?}", quad.rect);
                }
                assert_eq!(quad.border_width, quad.border_width.round());
            }
            for text in &sheet.texts {
                assert_eq!((text.x, text.y), (text.x.round(), text.y.round()), "scale {scale}");
            }
        }
        let list = h.find(Role::Table, "Things").expect("the list is there").area;
        assert_eq!((list.w, list.h), (640.0, 400.0), "the list fills the window at {scale}");
    }
}

#[test]
fn the_same_screen_is_the_same_scene() {
    let mut h = harness(1.5, 100);
    let before = h.scene();
    h.run();
    assert_eq!(before, h.scene());
    h.input(Input::PointerMoved(300.0, 300.0));
    assert_ne!(before, h.scene(), "the row under the pointer is lit");
    h.input(Input::PointerLeft);
    assert_eq!(before, h.scene());
}

#[test]
fn a_scene_as_text() {
    let h = Harness::new((100, 40), 2.0, (), |ui, ()| {
        let theme = ui.theme();
        let card = Spec::widget("card", Sense::None, Role::Group, "Card")
            .lay(Layout::row().grow().pad(8.0))
            .look(Look::fill(theme.bg2).border(1.0, theme.line).radius(6.0));
        ui.with(card, |ui| ui.text("Hi", Type::Body, theme.text0));
        false
    });
    assert_eq!(
        dump::scene(&h.scene()),
        "\
scene 200x80 #0A0E12
1 quad 0,0 200x80 #181D24 border 2 #2F363F
1 text 16,16 26px #ECEFF2 \"Hi\"
"
    );
}

#[test]
fn the_access_tree_is_sound() {
    let mut h = harness(1.0, 50);
    struct Ignore;
    impl accesskit_consumer::TreeChangeHandler for Ignore {
        fn node_added(&mut self, _: &accesskit_consumer::NodeRef<'_>) {}
        fn node_updated(
            &mut self,
            _: &accesskit_consumer::NodeRef<'_>,
            _: &accesskit_consumer::NodeRef<'_>,
        ) {
        }
        fn focus_moved(
            &mut self,
            _: Option<&accesskit_consumer::NodeRef<'_>>,
            _: Option<&accesskit_consumer::NodeRef<'_>>,
        ) {
        }
        fn node_removed(&mut self, _: &accesskit_consumer::NodeRef<'_>) {}
    }
    let mut tree = accesskit_consumer::Tree::new(grace_ui::access::tree(&h.ui), true);
    h.wheel_at(300.0, 200.0, 300.0);
    h.press(KeyName::Tab);
    tree.update_and_process_changes(grace_ui::access::tree(&h.ui), &mut Ignore);
    let key = h.find(Role::SearchInput, "Filter").expect("the box is there").key;
    let set = ActionRequest {
        action: Action::SetValue,
        target_tree: TreeId::ROOT,
        target_node: NodeId(key.0),
        data: Some(ActionData::Value("spoken".into())),
    };
    assert!(grace_ui::access::act(&mut h.ui, &set));
    h.run();
    assert_eq!(h.state.filter, "spoken");
}
