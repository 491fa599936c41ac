//! The list as numbers: what is in sight after scrolling, growing, forgetting.
//!
//! Not here: rows as boxes (the toolkit's tests).

use super::*;

fn spec(rows: Range<u64>) -> ListSpec<'static> {
    ListSpec { label: "rows", rows, row_height: 30.0, top: 60.0, bottom: 0.0, epoch: 0 }
}

/// A list of 360 pixels: 300 below what floats over it, so ten rows in sight.
fn state(rows: Range<u64>) -> ListState {
    let mut state = ListState { area: Area::new(0.0, 0.0, 500.0, 360.0), ..ListState::default() };
    state.update(&spec(rows));
    state
}

#[test]
fn it_follows_its_end_until_left() {
    let mut list = state(0..100);
    assert_eq!(list.visible(), 88..100, "two rows stand behind what floats over the list");
    list.update(&spec(0..105));
    assert_eq!(list.visible().end, 105);
    list.scroll(-300.0);
    assert!(!list.following);
    let reading = list.visible();
    list.update(&spec(0..117));
    assert_eq!(list.visible(), reading, "nothing moves while somebody reads");
    assert_eq!(list.rows.end - list.seen_end, 12);
    list.scroll(1e9);
    assert!(list.following);
    list.update(&spec(0..118));
    assert_eq!(list.visible().end, 118);
}

#[test]
fn forgotten_rows_do_not_move_what_is_read() {
    let mut list = state(0..100);
    list.scroll(-600.0);
    let reading = list.visible();
    list.update(&spec(40..140));
    assert_eq!(list.visible(), reading);
    list.update(&spec(90..190));
    assert_eq!(list.visible().start, 90, "what is gone is gone");
}

#[test]
fn few_rows_start_at_the_top_without_a_bar() {
    let list = state(0..3);
    assert_eq!(list.visible(), 0..3);
    assert_eq!(list.y_of(0), 60.0);
    assert!(list.bar().is_none());
    assert!(state(0..0).visible().is_empty());
}

#[test]
fn the_bar_reaches_both_ends() {
    let mut list = state(0..10_000);
    let (track, thumb) = list.bar().expect("ten thousand rows need a bar");
    assert!((thumb.bottom() - track.bottom()).abs() < 0.1);
    assert_eq!(thumb.h, THUMB_MIN);
    list.drag_to(track.y);
    assert_eq!(list.visible().start, 0);
    assert!(!list.following);
    list.drag_to(track.bottom());
    assert!(list.following);
}

#[test]
fn keys_choose_rows_and_keep_them_in_sight() {
    let mut list = state(0..100);
    let press = |key| KeyPress::plain(key);
    assert!(list.key(&press(KeyName::Up)));
    assert_eq!(list.selected, Some(99));
    for _ in 0..15 {
        list.key(&press(KeyName::Up));
    }
    assert_eq!(list.selected, Some(84));
    assert!(list.y_of(84) >= 60.0, "not behind what floats over the list");
    list.key(&press(KeyName::Home));
    assert_eq!((list.selected, list.y_of(0)), (Some(0), 60.0));
    list.key(&press(KeyName::Up));
    assert_eq!(list.selected, Some(0));
    list.key(&press(KeyName::End));
    assert!(list.following);
    assert!(list.key(&press(KeyName::Escape)));
    assert_eq!(list.selected, None);
    assert!(!list.key(&press(KeyName::Escape)), "the second one is for somebody else");
}

#[test]
fn another_epoch_starts_at_the_end() {
    let mut list = state(0..100);
    list.scroll(-900.0);
    list.update(&ListSpec { epoch: 1, ..spec(0..40) });
    assert!(list.following);
    assert_eq!(list.visible().end, 40);
}
