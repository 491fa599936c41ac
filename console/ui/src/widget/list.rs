//! A list of any length of which only the visible rows are built.
//!
//! Rows carry numbers that only grow, so rows that appear or are forgotten elsewhere never move
//! what somebody is reading. Invariants: the list follows its end until the person scrolls away
//! from it, and again once they are back; rows never enter the layout; the bar and the content
//! agree. Not here: what a row shows.

use std::hash::Hash;
use std::ops::Range;

use accesskit::Role;

use crate::color;
use crate::geometry::Area;
use crate::input::{KeyName, KeyPress};
use crate::key::Key;
use crate::node::{Sense, Spec};
use crate::style::{Layout, Look};
use crate::ui::{Response, Ui};

/// Width of the scroll bar, and its least length: a thing to grab.
const BAR_WIDTH: f32 = 8.0;
const THUMB_MIN: f32 = 32.0;
/// Space right of the rows that the bar stands in.
pub const BAR_ROOM: f32 = 14.0;

/// A list to be built.
#[derive(Debug, Clone)]
pub struct ListSpec<'a> {
    /// Its name for people.
    pub label: &'a str,
    /// The numbers of its rows; the first grows when old rows are forgotten.
    pub rows: Range<u64>,
    /// Height of every row in logical pixels.
    pub row_height: f32,
    /// Space above the first row that something floats over.
    pub top: f32,
    /// Space below the last row.
    pub bottom: f32,
    /// Another value means other rows: the list goes to its end.
    pub epoch: u64,
}

/// What the program learns about the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListView {
    /// The list's stable name.
    pub key: Key,
    /// Rows that came while the person was reading further up.
    pub unseen: u64,
    /// The chosen row.
    pub selected: Option<u64>,
    /// Whether it shows its end and follows it.
    pub following: bool,
}

/// One visible row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowAt {
    /// Its number.
    pub number: u64,
    /// Its place in the whole list, from 0.
    pub index: usize,
    /// Where it stands, relative to the list.
    pub area: Area,
    /// Whether it is the chosen one.
    pub selected: bool,
}

/// What is kept of a list from frame to frame.
#[derive(Debug, Clone)]
pub(crate) struct ListState {
    /// Content pixels above the first visible one; row 0 starts at 0.
    offset: f64,
    following: bool,
    seen_end: u64,
    selected: Option<u64>,
    rows: Range<u64>,
    row_height: f64,
    top: f64,
    bottom: f64,
    epoch: u64,
    area: Area,
    /// Where on the thumb the pointer holds it.
    grab: Option<f32>,
}

impl Default for ListState {
    fn default() -> Self {
        Self {
            offset: 0.0,
            following: true,
            seen_end: 0,
            selected: None,
            rows: 0..0,
            row_height: 1.0,
            top: 0.0,
            bottom: 0.0,
            epoch: 0,
            area: Area::default(),
            grab: None,
        }
    }
}

impl ListState {
    fn update(&mut self, spec: &ListSpec<'_>) {
        if self.epoch != spec.epoch {
            *self = Self { area: self.area, epoch: spec.epoch, ..Self::default() };
        }
        self.rows = spec.rows.clone();
        self.row_height = f64::from(spec.row_height);
        self.top = f64::from(spec.top);
        self.bottom = f64::from(spec.bottom);
        if self.selected.is_some_and(|row| !self.rows.contains(&row)) {
            self.selected = None;
        }
        if self.following {
            self.offset = self.offset_max();
            self.seen_end = self.rows.end;
        }
        self.clamp();
    }

    /// Rows as content pixels. Exact: a list stays far below 2^53 rows.
    #[expect(clippy::cast_precision_loss, reason = "row numbers stay far below 2^53")]
    fn pixels(&self, row: u64) -> f64 {
        row as f64 * self.row_height
    }

    fn offset_min(&self) -> f64 {
        self.pixels(self.rows.start)
    }

    fn room(&self) -> f64 {
        (f64::from(self.area.h) - self.top - self.bottom).max(self.row_height)
    }

    fn offset_max(&self) -> f64 {
        (self.pixels(self.rows.end) - self.room()).max(self.offset_min())
    }

    fn clamp(&mut self) {
        self.offset = self.offset.clamp(self.offset_min(), self.offset_max());
    }

    /// Moves the content; positive: towards the end.
    pub(crate) fn scroll(&mut self, by: f64) {
        self.go(self.offset + by);
    }

    fn go(&mut self, offset: f64) {
        self.offset = offset;
        self.clamp();
        let at_end = self.offset >= self.offset_max() - 0.5;
        if at_end || self.following {
            self.seen_end = self.rows.end;
        }
        self.following = at_end;
    }

    /// A page up or down, one row of the old page left in sight.
    pub(crate) fn page(&mut self, up: bool) {
        let by = (self.room() - self.row_height).max(self.row_height);
        self.scroll(if up { -by } else { by });
    }

    pub(crate) fn follow(&mut self) {
        self.go(f64::MAX);
    }

    /// Handles a key of the focused list. True: it was one of its.
    pub(crate) fn key(&mut self, press: &KeyPress) -> bool {
        if press.mods.ctrl || press.mods.alt || self.rows.is_empty() {
            return false;
        }
        let last = self.rows.end - 1;
        let rows_per_page = self.rows_per_page();
        let from = self.selected;
        let target = match press.key {
            KeyName::Up => from.map_or(last, |row| row.saturating_sub(1)),
            KeyName::Down => from.map_or(last, |row| row + 1),
            KeyName::PageUp => from.unwrap_or(last).saturating_sub(rows_per_page),
            KeyName::PageDown => from.unwrap_or(last).saturating_add(rows_per_page),
            KeyName::Home => self.rows.start,
            KeyName::End => last,
            KeyName::Escape if from.is_some() => {
                self.selected = None;
                return true;
            }
            _ => return false,
        };
        self.select(target.clamp(self.rows.start, last));
        true
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a window shows a few hundred rows at most, and the quotient is positive"
    )]
    fn rows_per_page(&self) -> u64 {
        (self.room() / self.row_height).floor().max(2.0) as u64 - 1
    }

    fn select(&mut self, row: u64) {
        self.selected = Some(row);
        let (above, below) = (self.pixels(row), self.pixels(row + 1) - self.room());
        if row + 1 == self.rows.end {
            self.follow();
        } else if self.offset > above {
            self.go(above);
        } else if self.offset < below {
            self.go(below);
        } else if self.following {
            // In sight, but no longer the end: whoever chose it wants to read it.
            self.following = false;
            self.seen_end = self.rows.end;
        }
    }

    /// The rows to build, also those behind what floats over the list.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the list's own rows, which are positive"
    )]
    fn visible(&self) -> Range<u64> {
        let first = ((self.offset - self.top) / self.row_height).floor().max(0.0) as u64;
        let past = (self.offset - self.top + f64::from(self.area.h)) / self.row_height;
        let past = past.ceil().max(0.0) as u64;
        first.clamp(self.rows.start, self.rows.end)..past.clamp(self.rows.start, self.rows.end)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a distance inside the window")]
    fn y_of(&self, row: u64) -> f32 {
        (self.pixels(row) - self.offset + self.top) as f32
    }

    /// The bar's track and thumb, relative to the list; `None`: everything is in sight.
    #[expect(clippy::cast_possible_truncation, reason = "distances inside the window")]
    fn bar(&self) -> Option<(Area, Area)> {
        let content = self.pixels(self.rows.end) - self.offset_min();
        if content <= self.room() + 0.5 {
            return None;
        }
        let track = Area::new(
            self.area.w - BAR_WIDTH - 3.0,
            self.top as f32 + 2.0,
            BAR_WIDTH,
            self.room() as f32 - 4.0,
        );
        let length = (track.h * (self.room() / content) as f32).max(THUMB_MIN).min(track.h);
        let share = (self.offset - self.offset_min()) / (self.offset_max() - self.offset_min());
        let y = track.y + (track.h - length) * share as f32;
        Some((track, Area { y, h: length, ..track }))
    }

    /// Moves the thumb's top to `y`, relative to the list.
    fn drag_to(&mut self, y: f32) {
        let Some((track, thumb)) = self.bar() else { return };
        let share = f64::from((y - track.y) / (track.h - thumb.h).max(1.0)).clamp(0.0, 1.0);
        self.go(self.offset_min() + (self.offset_max() - self.offset_min()) * share);
    }
}

impl Ui {
    /// Builds a list. `row` builds each visible row with [`Ui::list_row`].
    pub fn list(
        &mut self,
        id: impl Hash,
        spec: &ListSpec<'_>,
        mut row: impl FnMut(&mut Self, &RowAt),
    ) -> ListView {
        let key = self.key_of(&id);
        let mut state = self.lists.remove(&key).unwrap_or_default();
        state.update(spec);
        let count = usize::try_from(spec.rows.end - spec.rows.start).unwrap_or(usize::MAX);
        let list = Spec::widget(&id, Sense::List, Role::Table, spec.label)
            .lay(Layout::column().grow())
            .look(Look::none().radius(12.0))
            .position(0, count)
            .inset_focus()
            .clip();
        self.with(list, |ui| {
            for number in state.visible() {
                let area =
                    Area::new(0.0, state.y_of(number), state.area.w - BAR_ROOM, spec.row_height);
                let index = usize::try_from(number - spec.rows.start).unwrap_or(usize::MAX);
                let selected = state.selected == Some(number);
                let clicked = key.child(Key(0).child(number));
                if ui.response(clicked).clicked {
                    state.select(number);
                }
                row(ui, &RowAt { number, index, area, selected });
            }
            ui.scroll_bar(key, &state);
        });
        let unseen = if state.following { 0 } else { spec.rows.end.saturating_sub(state.seen_end) };
        let view = ListView { key, unseen, selected: state.selected, following: state.following };
        self.lists.insert(key, state);
        view
    }

    /// Builds a row; `cells` places its parts, relative to the row.
    pub fn list_row(
        &mut self,
        at: &RowAt,
        label: impl Into<std::sync::Arc<str>>,
        cells: impl FnOnce(&mut Self),
    ) -> Response {
        let response = self.response(self.key_of(at.number));
        let theme = self.theme;
        let look = if at.selected {
            Look::fill(color::percent(theme.accent, 20))
        } else if response.hovered {
            Look::fill(color::percent(theme.text0, 5))
        } else {
            Look::none()
        };
        let inner = Area::new(at.area.x + 8.0, at.area.y, at.area.w - 8.0, at.area.h);
        let spec = Spec::widget(at.number, Sense::Click, Role::Row, label)
            .selected(at.selected)
            .position(at.index, 0)
            .place(inner)
            .look(look.radius(6.0));
        self.with(spec, cells)
    }

    fn scroll_bar(&mut self, list: Key, state: &ListState) {
        let Some((track, thumb)) = state.bar() else { return };
        let theme = self.theme;
        let bar = list.child(Key(0).child("bar"));
        let busy = state.grab.is_some() || self.response(bar).hovered;
        let track = Spec::widget("bar", Sense::Block, Role::ScrollBar, "Scroll bar")
            .place(track.inset(-2.0));
        let inside = thumb.moved(2.0 - state.bar().map_or(0.0, |(t, _)| t.x), 0.0);
        let inside = Area { y: thumb.y + 2.0 - state.bar().map_or(0.0, |(t, _)| t.y), ..inside };
        let strength = if busy { 70 } else { 38 };
        self.with(track, |ui| {
            let thumb = Spec::layout("thumb")
                .place(inside.inset(1.0))
                .look(Look::fill(color::percent(theme.line2, strength)).radius(3.0));
            ui.leaf(thumb);
        });
    }

    /// Takes a list to its end; from there it follows.
    pub fn follow(&mut self, list: Key) {
        if let Some(state) = self.lists.get_mut(&list) {
            state.follow();
        }
        self.unsettled = true;
    }

    /// Chooses no row of the list.
    pub fn deselect(&mut self, list: Key) {
        if let Some(state) = self.lists.get_mut(&list) {
            state.selected = None;
        }
        self.unsettled = true;
    }

    pub(crate) fn settle_lists(&mut self) -> bool {
        let mut settled = true;
        for (key, state) in &mut self.lists {
            let area = self.tree.by_key(*key).map_or(state.area, |node| node.area);
            settled &= area == state.area;
            state.area = area;
        }
        settled
    }

    pub(crate) fn focus_list_of(&mut self, row: Key) {
        let parent = self.tree.by_key(row).and_then(|node| node.parent);
        if let Some(key) = parent.map(|id| self.tree[id].key)
            && self.lists.contains_key(&key)
        {
            self.focus.take(key, false);
        }
    }

    /// The pointer went down on `key`; true if that is the bar of a list.
    pub(crate) fn press_scroll_bar(&mut self, key: Key, y: f32) -> bool {
        for (list, state) in &mut self.lists {
            if list.child(Key(0).child("bar")) != key {
                continue;
            }
            let Some((_, thumb)) = state.bar() else { return true };
            let y = y - state.area.y;
            let grab = y - thumb.y;
            let on_thumb = (0.0..thumb.h).contains(&grab);
            let grab = if on_thumb { grab } else { thumb.h / 2.0 };
            state.grab = Some(grab);
            state.drag_to(y - grab);
            return true;
        }
        false
    }

    pub(crate) fn drag_scroll_bar(&mut self, key: Key, y: f32) -> bool {
        for (list, state) in &mut self.lists {
            if let Some(grab) = state.grab
                && list.child(Key(0).child("bar")) == key
            {
                state.drag_to(y - state.area.y - grab);
                return true;
            }
        }
        false
    }

    pub(crate) fn release_scroll_bars(&mut self) {
        for state in self.lists.values_mut() {
            state.grab = None;
        }
    }
}

#[cfg(test)]
mod tests;
