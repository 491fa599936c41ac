//! One line of text to type into.
//!
//! Invariants: the caret is always in sight; it blinks only while the box has the keyboard and
//! somebody typed a moment ago, so a forgotten console draws nothing. Not here: editing itself
//! (`text_edit`).

use std::hash::Hash;
use std::time::Duration;

use accesskit::Role;

use crate::color;
use crate::geometry::Area;
use crate::icon::Icon;
use crate::key::Key;
use crate::node::{Content, Sense, Side, Spec, TextRun};
use crate::style::{Layout, Look};
use crate::text_edit::TextEdit;
use crate::theme::Type;
use crate::ui::Ui;
use crate::widget::button::Button;

/// The caret is shown and hidden for this long each, as GTK has it (1,200 ms for both).
const BLINK: Duration = Duration::from_millis(600);
/// After this long without a key the caret stays: nothing then moves on the screen.
const BLINKING_MAX: Duration = Duration::from_secs(6);
/// Room kept right of the caret.
const CARET_ROOM: f32 = 3.0;

/// What is kept of a text box from frame to frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextBox {
    pub(crate) edit: TextEdit,
    /// Where the text is seen.
    inner: Area,
    /// How far the text is moved to the left.
    scroll: f32,
}

/// A text box to be built.
#[derive(Debug, Clone, Copy)]
pub struct TextField<'a> {
    /// Its name for people.
    pub label: &'a str,
    /// What it says while it is empty.
    pub placeholder: &'a str,
    /// What it holds.
    pub value: &'a str,
    /// The key that takes one here, shown while it is empty.
    pub hint: &'a str,
}

impl Ui {
    /// Builds a text box. What was typed is given back once; the program keeps it and hands it in
    /// as the value from then on.
    pub fn text_box(
        &mut self,
        id: impl Hash,
        field: &TextField<'_>,
        layout: Layout,
    ) -> Option<String> {
        let key = self.key_of(&id);
        let mut state = self.edits.remove(&key).unwrap_or_default();
        let mut typed = self.edited.contains(&key).then(|| state.edit.text().to_owned());
        if typed.is_none() {
            state.edit.set(field.value);
        }
        let (theme, focused) = (self.theme, self.focus.key() == Some(key));
        let hovered = self.hot == Some(key);
        // The border is the ring here: a text box shows that it has the keyboard however it got it.
        let border = if focused { (2.0, theme.accent) } else { (1.0, theme.line2) };
        let fill =
            if hovered && !focused { color::mix(theme.bg3, theme.text0, 0.04) } else { theme.bg3 };
        let spec = Spec::widget(&id, Sense::Text, Role::SearchInput, field.label)
            .value(state.edit.text())
            .lay(layout.height(32.0).pad4([0.0, 4.0, 0.0, 10.0]).gap(8.0).middle())
            .look(Look::fill(fill).border(border.0, border.1).radius(8.0));
        let mut clear = false;
        self.with(spec, |ui| {
            ui.icon(Icon::Lens, 16.0, theme.text1);
            ui.edit_line(&mut state, field, focused);
            if !state.edit.text().is_empty() {
                clear = ui.button("clear", &Button::icon(Icon::Cross, "Clear filter")).clicked;
            } else if !field.hint.is_empty() {
                ui.key_cap(field.hint);
            }
        });
        if clear {
            state.edit.set("");
            typed = Some(String::new());
            self.focus.take(key, false);
        }
        self.edits.insert(key, state);
        typed
    }

    fn edit_line(&mut self, state: &mut TextBox, field: &TextField<'_>, focused: bool) {
        let theme = self.theme;
        let edit = &state.edit;
        let (head, tail) = edit.text().split_at(edit.caret());
        let shown = format!("{head}{}{tail}", edit.preedit());
        let kind = Type::Body;
        let caret = edit.caret() + edit.preedit().len();
        let width = state.inner.w;
        let x_of =
            |ui: &mut Self, byte: usize| ui.text_width(shown.get(..byte).unwrap_or_default(), kind);
        let caret_x = x_of(self, caret);
        let whole = self.text_width(&shown, kind);
        if width > 0.0 {
            state.scroll = state
                .scroll
                .min((whole + CARET_ROOM - width).max(0.0))
                .min(caret_x)
                .max(caret_x + CARET_ROOM - width)
                .max(0.0);
        }
        let scroll = state.scroll;
        let (from, to) = edit.selection();
        let select = (focused && from != to && edit.preedit().is_empty())
            .then(|| (x_of(self, from) - scroll, x_of(self, to) - scroll));
        let preedit = (!edit.preedit().is_empty())
            .then(|| (x_of(self, edit.caret()) - scroll, caret_x - scroll));
        let inner = Spec::layout("inner").lay(Layout::row().grow().height(24.0)).clip();
        let placeholder = shown.is_empty();
        self.with(inner, |ui| {
            if let Some((x0, x1)) = select {
                let area = Area::new(x0, 2.0, x1 - x0, 20.0);
                let look = Look::fill(color::percent(theme.accent, 38)).radius(3.0);
                ui.leaf(Spec::layout("selection").place(area).look(look));
            }
            let (text, color) = if placeholder {
                (field.placeholder, theme.text1)
            } else {
                (shown.as_str(), theme.text0)
            };
            let natural_width = ui.text_width(text, kind);
            let run = TextRun {
                text: text.into(),
                kind,
                color,
                side: Side::Left,
                natural_width,
                whole: !placeholder,
            };
            let room = if placeholder { width } else { natural_width };
            let area = Area::new(-scroll, 2.0, room, 20.0);
            ui.leaf(Spec::layout("line").place(area).content(Content::Text(run)));
            if let Some((x0, x1)) = preedit {
                let area = Area::new(x0, 20.0, x1 - x0, 1.0);
                ui.leaf(Spec::layout("preedit").place(area).look(Look::fill(theme.text0)));
            }
            if focused && ui.caret_shows() {
                let area = Area::new(caret_x - scroll, 3.0, 1.5, 18.0);
                ui.leaf(Spec::layout("caret").place(area).look(Look::fill(theme.accent)));
            }
        });
        if focused {
            let at = Area::new(state.inner.x + caret_x - scroll, state.inner.y, 1.5, 24.0);
            self.caret_area = Some(at);
        }
    }

    /// Whether the caret is in its visible half, and when that ends.
    fn caret_shows(&mut self) -> bool {
        let since = self.frame.now.saturating_sub(self.caret_since);
        if !self.window_focused || since >= BLINKING_MAX {
            return self.window_focused;
        }
        let halves = since.as_millis() / BLINK.as_millis().max(1);
        let next = self.caret_since + BLINK * u32::try_from(halves + 1).unwrap_or(1);
        self.wake = Some(self.wake.map_or(next, |wake| wake.min(next)));
        halves.is_multiple_of(2)
    }

    /// Builds the picture of a key.
    pub fn key_cap(&mut self, keys: &str) {
        let theme = self.theme;
        let spec = Spec::layout(("keys", keys))
            .lay(Layout::row().height(20.0).pad2(0.0, 7.0).middle())
            .look(Look::fill(color::percent(theme.text0, 6)).border(1.0, theme.line).radius(5.0));
        self.with(spec, |ui| ui.text(keys, Type::Caption, theme.text1));
    }

    /// The byte of a text box nearest to a place in the window.
    pub(crate) fn byte_at(&mut self, key: Key, x: f32) -> Option<usize> {
        let state = self.edits.get(&key)?;
        let text = state.edit.text().to_owned();
        let wanted = x - state.inner.x + state.scroll;
        let mut best = (f32::INFINITY, 0);
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        for byte in ends {
            let head = text.get(..byte).unwrap_or_default();
            let distance = (self.text_width(head, Type::Body) - wanted).abs();
            if distance < best.0 {
                best = (distance, byte);
            }
        }
        Some(best.1)
    }

    pub(crate) fn settle_text_boxes(&mut self) -> bool {
        let mut settled = true;
        for (key, state) in &mut self.edits {
            let inner = key.child(Key(0).child("inner"));
            let area = self.tree.by_key(inner).map_or(state.inner, |node| node.area);
            settled &= area == state.inner;
            state.inner = area;
        }
        settled
    }
}
