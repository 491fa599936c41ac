//! The whole screen without a window: what people and screen readers find on it.
//!
//! Not here: pictures of it.

use std::time::Duration;

use accesskit::Role;
use grace_ipc::event::{Event, Service, TraceId};
use grace_ipc::message::{ServerInfo, SessionCount, Stats};
use grace_ipc::role::Role as AdminRole;
use grace_ui::input::KeyName;
use grace_ui::testing::Harness;

use crate::link::Update;
use crate::model::{Action, Model, ThemeWish};
use crate::screen;
use crate::units::Zone;
use crate::words::tests::all;

fn desk(size: (u32, u32), scale: f32, model: Model) -> Harness<Model> {
    Harness::new(size, scale, model, |ui, model| {
        let actions = screen::overview(model, ui);
        for action in &actions {
            model.apply(action);
        }
        !actions.is_empty()
    })
}

fn connected() -> Model {
    let mut model = Model::new(Zone::Utc, ThemeWish::Dark);
    let info = ServerInfo {
        version: "0.1.0".to_owned(),
        hostname: "mail.grace.test".to_owned(),
        started_us: 1_756_731_000_000_000,
        pid: 7,
        data_folder: "grace-data".to_owned(),
        doors: Vec::new(),
    };
    let software = "graced 0.1.0".to_owned();
    model.update(at(1), Update::Connected { info, role: AdminRole::Viewer, software });
    model
}

fn busy(rounds: u64) -> Model {
    let mut model = connected();
    let sessions = vec![SessionCount { service: Service::Imap, open: 3, total: 9 }];
    model.update(
        at(2),
        Update::Stats(Stats {
            sessions,
            messages_accepted: 1_204,
            messages_delivered: 1_311,
            logins_failed: 2,
            stored_bytes: 4_190_000,
            ..Stats::default()
        }),
    );
    for round in 0..rounds {
        let events = all().into_iter().zip(1..).map(|(kind, seq)| Event {
            seq: round * 100 + seq,
            time_us: 1_756_731_862_118_000,
            trace: TraceId(1 + seq % 5),
            kind,
        });
        model.update(at(3), Update::Events { lost: 0, events: events.collect() });
    }
    model
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lost() -> Update {
    Update::Lost { reason: "the connection was closed".to_owned(), retry_in: at(3) }
}

/// How many there are of all kinds, so many times.
fn events(times: usize) -> String {
    format!("{} events", times * all().len())
}

#[test]
fn the_numbers_and_the_server_are_told() {
    let h = desk((1280, 800), 1.0, busy(1));
    let many = events(1);
    for text in ["mail.grace.test", "1\u{a0}204", "1\u{a0}311", "4.1 MB", "imap 3", &many] {
        assert!(h.shows(text), "{text}: {:?}", h.texts());
    }
    assert!(h.find(Role::Status, "mail.grace.test: Connected").is_some());
    assert!(h.find(Role::Group, "Messages in: 1\u{a0}204, none refused").is_some());
    assert_eq!(h.nameless(), Vec::<String>::new());
}

#[test]
fn everything_fits_at_every_size_and_scale() {
    for size in [(1280, 800), (1024, 640), (760, 560), (420, 320)] {
        for scale in [1.0, 1.25, 1.5, 2.0] {
            let h = desk(size, scale, busy(3));
            let list = h.find(Role::Table, "Events").expect("the list is always there");
            assert!(list.visible.h >= 120.0, "{size:?} at {scale}: {:?}", list.visible);
            for (role, label) in [(Role::SearchInput, "Filter"), (Role::Button, "Pause")] {
                let found = h.find(role, label).expect("the bar is always there");
                assert_eq!(found.visible, found.area, "{label} is cut off at {size:?}, {scale}");
                assert!(found.area.right() <= h.ui.window().right(), "{label} at {size:?}");
                assert!(found.area.h >= 28.0);
            }
        }
    }
}

#[test]
fn typing_filters_and_says_how_many() {
    let mut h = desk((1280, 800), 1.0, busy(2));
    h.state.apply(&Action::AskFilter(true));
    h.run();
    assert!(h.ui.editing());
    h.type_text("inbox");
    assert!(h.shows(&format!("4 of {}", events(2))), "{:?}", h.texts());
    assert!(h.shows("Filed in INBOX of otto@grace.test"));
    assert!(!h.shows("turned away"));
    h.type_text(" nonsense");
    assert!(h.shows("Nothing matches “inbox nonsense”"), "{:?}", h.texts());
    assert!(h.click(Role::Button, "Show everything"));
    assert!(h.shows(&events(2)));
}

#[test]
fn the_side_bar_narrows() {
    let mut h = desk((1280, 900), 1.0, busy(1));
    assert!(h.click(Role::Tab, "Problems"));
    assert!(h.find(Role::Tab, "Problems").is_some_and(|tab| tab.on));
    assert!(h.shows("login failed") && !h.shows("delivered"), "{:?}", h.texts());
    assert!(h.click(Role::Tab, "Everything"));
    assert!(h.shows("delivered"));
}

#[test]
fn a_lost_connection_is_told_and_everything_stays() {
    let mut h = desk((1280, 800), 1.0, busy(1));
    h.state.update(at(10), lost());
    h.state.tick(at(12));
    h.run();
    assert!(
        h.find(Role::Alert, "Connection lost 2 s ago — retrying in 1 s").is_some(),
        "{}",
        h.dump()
    );
    assert!(h.shows("the connection was closed"));
    assert!(h.shows("Disconnected"));
    assert!(h.shows("1\u{a0}204") && h.shows("not sent"), "what was known stays");
    h.state.update(at(13), Update::Trying);
    h.run();
    assert!(h.find(Role::Alert, "Connection lost 3 s ago — trying now").is_some(), "{}", h.dump());
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let mut model = Model::new(Zone::Utc, ThemeWish::Dark);
    model.update(at(1), lost());
    model.tick(at(2));
    let h = desk((1280, 800), 1.0, model);
    assert!(h.find(Role::Alert, "No server found for 1 s").is_some(), "{}", h.dump());
    assert!(h.shows("Start graced on this computer"));
    assert!(h.shows("–"), "not known is not zero");
}

#[test]
fn pausing_holds_the_list() {
    let mut h = desk((1280, 800), 1.0, busy(1));
    assert!(h.click(Role::Button, "Pause"));
    for update in [1, 2].map(|_| busy_events()) {
        h.state.update(at(4), update);
    }
    h.run();
    assert!(h.shows("Resume · 2 waiting"), "{:?}", h.texts());
    assert!(h.shows("Paused"));
    assert!(h.click(Role::Button, "Resume"));
    assert!(!h.shows("waiting"));
}

fn busy_events() -> Update {
    let kind = all().remove(3);
    let event = Event { seq: 900, time_us: 1_756_731_862_118_000, trace: TraceId(9), kind };
    Update::Events { lost: 0, events: vec![event] }
}

#[test]
fn a_chosen_row_is_shown_in_full_and_its_connection_alone() {
    let mut h = desk((1280, 800), 1.0, busy(2));
    let row = h.find(Role::Row, "13:04:22.118 · not sent").expect("a row");
    h.click_at(row.visible.x + 300.0, row.visible.y + 10.0);
    assert!(h.find(Role::Region, "Chosen event").is_some());
    assert!(h.click(Role::Button, "Only this connection"));
    assert!(h.state.filter.starts_with("trace:"), "{}", h.state.filter);
    assert!(h.shows(&format!(" of {}", events(2))));
}

#[test]
fn scrolled_away_it_says_what_is_new() {
    let mut h = desk((1280, 800), 1.0, busy(4));
    h.wheel_at(700.0, 500.0, 300.0);
    h.state.update(at(5), busy_events());
    h.run();
    assert!(h.shows("1 new"), "{:?}", h.texts());
    assert!(h.click(Role::Button, "1 new"));
    assert!(!h.shows("1 new"));
}

#[test]
fn rows_are_behind_glass_and_glass_can_be_off() {
    let mut h = desk((1280, 800), 1.0, busy(4));
    let panes =
        |h: &Harness<Model>| h.scene().strata.iter().map(|sheet| sheet.glass.len()).sum::<usize>();
    assert_eq!(panes(&h), 3, "side bar, top bar, the list's bar");
    h.ui.set_glass(false);
    h.run();
    assert_eq!(panes(&h), 0);
}

#[test]
fn nothing_happens_nothing_changes() {
    let mut h = desk((1280, 800), 1.0, busy(2));
    let before = h.scene();
    h.wait(at(10));
    h.state.tick(at(60));
    h.run();
    assert_eq!(before, h.scene());
    assert_eq!(h.ui.wake_at(), None);
    assert_eq!(h.state.wake_at(), None);
}

#[test]
fn the_keyboard_reaches_everything() {
    let mut h = desk((1280, 800), 1.0, busy(2));
    let mut seen = Vec::new();
    for _ in 0..30 {
        h.press(KeyName::Tab);
        let focused = h.ui.focused().and_then(|key| h.ui.tree().by_key(key));
        let label = focused.map(|node| node.label().to_owned()).unwrap_or_default();
        if seen.contains(&label) {
            break;
        }
        seen.push(label);
    }
    for label in
        ["Everything", "Problems", "Light theme (Ctrl T)", "Filter events", "Pause", "Events"]
    {
        assert!(seen.iter().any(|seen| seen == label), "{label}: {seen:?}");
    }
}
