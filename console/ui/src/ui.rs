//! The toolkit's state and the walk that builds boxes.
//!
//! A frame: [`Ui::input`] for everything that happened since the last one (answered from where
//! things stood then), [`Ui::begin`], the program's boxes, [`Ui::end`] (layout), and, when
//! [`Settled::Yes`], `paint` and `access`. Invariants: what happened is told to the program in
//! exactly one build; kept state is dropped when its box is no longer built. Not here: the layout
//! algorithm, drawing.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use accesskit::Role;

use crate::focus::Focus;
use crate::geometry::Area;
use crate::input::{Clipboard, Cursor, Input, KeyName, KeyPress};
use crate::key::Key;
use crate::layout;
use crate::measure::{Cached, Measure};
use crate::node::{Node, NodeId, Sense, Spec, Tree};
use crate::style::{Layout, Stratum};
use crate::theme::{self, Theme};
use crate::widget::list::ListState;
use crate::widget::text_box::TextBox;

/// Two presses within this time and distance are a double click, as GTK has it.
const DOUBLE_CLICK: Duration = Duration::from_millis(400);
const DOUBLE_CLICK_DISTANCE: f32 = 5.0;

/// The window as the frame finds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Width and height in physical pixels.
    pub size: (u32, u32),
    /// Physical pixels per logical one.
    pub scale: f32,
    /// Time since the program started.
    pub now: Duration,
}

/// Whether the frame can be painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Everything stands.
    Yes,
    /// A list learned its size only now: build once more.
    No,
}

/// What happened to a widget since the last frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Response {
    /// It was clicked, or pressed with the keyboard or by a screen reader.
    pub clicked: bool,
    /// The pointer is over it.
    pub hovered: bool,
    /// The button is down on it.
    pub pressed: bool,
    /// It has the focus.
    pub focused: bool,
}

/// The toolkit.
pub struct Ui {
    pub(crate) frame: Frame,
    pub(crate) theme: Theme,
    pub(crate) glass: bool,
    pub(crate) measure: Cached,
    pub(crate) clipboard: Box<dyn Clipboard>,
    pub(crate) tree: Tree,
    pub(crate) stack: Vec<NodeId>,
    seen: HashSet<Key>,
    pub(crate) pointer: Option<(f32, f32)>,
    pub(crate) hot: Option<Key>,
    pub(crate) active: Option<Key>,
    last_press: Option<(Duration, f32, f32)>,
    pub(crate) focus: Focus,
    pub(crate) clicked: HashSet<Key>,
    pub(crate) edits: HashMap<Key, TextBox>,
    pub(crate) edited: HashSet<Key>,
    pub(crate) lists: HashMap<Key, ListState>,
    pub(crate) window_focused: bool,
    /// When the caret was last moved: it blinks from then, and rests after a while.
    pub(crate) caret_since: Duration,
    pub(crate) caret_area: Option<Area>,
    pub(crate) wake: Option<Duration>,
    /// Something was changed during the build that boxes built before it show.
    pub(crate) unsettled: bool,
}

impl Ui {
    /// A toolkit without boxes.
    pub fn new(measure: Box<dyn Measure>, clipboard: Box<dyn Clipboard>) -> Self {
        Self {
            frame: Frame { size: (0, 0), scale: 1.0, now: Duration::ZERO },
            theme: theme::DARK,
            glass: true,
            measure: Cached::new(measure),
            clipboard,
            tree: Tree::default(),
            stack: Vec::new(),
            seen: HashSet::new(),
            pointer: None,
            hot: None,
            active: None,
            last_press: None,
            focus: Focus::default(),
            clicked: HashSet::new(),
            edits: HashMap::new(),
            edited: HashSet::new(),
            lists: HashMap::new(),
            window_focused: true,
            caret_since: Duration::ZERO,
            caret_area: None,
            wake: None,
            unsettled: false,
        }
    }

    /// Chooses the colors.
    pub fn set_theme(&mut self, theme: Theme) {
        self.theme = theme;
    }

    /// The colors.
    pub fn theme(&self) -> Theme {
        self.theme
    }

    /// Whether glass is blurred or solid.
    pub fn set_glass(&mut self, glass: bool) {
        self.glass = glass;
    }

    /// The boxes of the frame.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Physical pixels per logical one.
    pub fn scale(&self) -> f32 {
        self.frame.scale
    }

    /// The window's size in logical pixels.
    pub fn window(&self) -> Area {
        let (w, h) = self.frame.size;
        Area::new(0.0, 0.0, pixels(w) / self.frame.scale, pixels(h) / self.frame.scale)
    }

    /// When the next frame is needed without anything happening, if ever.
    pub fn wake_at(&self) -> Option<Duration> {
        self.wake
    }

    /// Where the caret of the text box with the focus stands; `None`: no text is being edited.
    pub fn caret(&self) -> Option<Area> {
        self.caret_area
    }

    /// What the pointer should look like where it is.
    pub fn cursor(&self) -> Cursor {
        let under = self.active.or(self.hot).and_then(|key| self.tree.by_key(key));
        match under.map(|node| node.spec.sense) {
            Some(Sense::Button | Sense::Click) => Cursor::Hand,
            Some(Sense::Text) => Cursor::Text,
            _ => Cursor::Arrow,
        }
    }

    /// The copied text goes here.
    pub fn copy(&mut self, text: String) {
        self.clipboard.write(text);
    }

    /// Takes one thing that happened, at `now`. False: nothing here wanted it, so it may be a
    /// shortcut of the program.
    pub fn input(&mut self, now: Duration, input: Input) -> bool {
        self.frame.now = now;
        match input {
            Input::PointerMoved(x, y) => self.point(Some((x, y))),
            Input::PointerLeft => self.point(None),
            Input::Pressed { shift } => self.press(shift),
            Input::Released => self.release(),
            Input::Wheel(by) => self.wheel(by),
            Input::Key(press) => return self.key(&press),
            Input::Preedit(text) => {
                if let Some(state) = self.focus.key().and_then(|key| self.edits.get_mut(&key)) {
                    state.edit.set_preedit(text);
                }
            }
            Input::Commit(text) => self.commit(&text),
            Input::WindowFocused(focused) => {
                self.window_focused = focused;
                self.caret_since = now;
            }
        }
        true
    }

    fn point(&mut self, at: Option<(f32, f32)>) {
        self.pointer = at;
        self.hot = at.and_then(|(x, y)| self.under(x, y, |sense| sense != Sense::None));
        let (Some((x, y)), Some(active)) = (at, self.active) else { return };
        if self.drag_scroll_bar(active, y) {
            return;
        }
        if let Some(byte) = self.byte_at(active, x)
            && let Some(state) = self.edits.get_mut(&active)
        {
            state.edit.place(byte, true);
            self.caret_since = self.frame.now;
        }
    }

    fn press(&mut self, shift: bool) {
        let Some((x, y)) = self.pointer else { return };
        let double = self.last_press.is_some_and(|(at, px, py)| {
            let near = (px - x).abs().max((py - y).abs()) <= DOUBLE_CLICK_DISTANCE;
            near && self.frame.now.saturating_sub(at) <= DOUBLE_CLICK
        });
        self.last_press = (!double).then_some((self.frame.now, x, y));
        self.active = self.hot;
        let Some(key) = self.hot else {
            self.focus.clear();
            return;
        };
        let sense = self.tree.by_key(key).map_or(Sense::None, |node| node.spec.sense);
        if sense.takes_focus() {
            self.focus.take(key, false);
        } else if sense == Sense::Click {
            self.focus_list_of(key);
        } else {
            self.focus.clear();
        }
        if self.press_scroll_bar(key, y) || sense != Sense::Text {
            return;
        }
        if let Some(byte) = self.byte_at(key, x)
            && let Some(state) = self.edits.get_mut(&key)
        {
            if double {
                state.edit.select_word(byte);
            } else {
                state.edit.place(byte, shift);
            }
            self.caret_since = self.frame.now;
        }
    }

    fn release(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.release_scroll_bars();
        let clickable = |node: &Node| matches!(node.spec.sense, Sense::Button | Sense::Click);
        if self.hot == Some(active) && self.tree.by_key(active).is_some_and(clickable) {
            self.click(active);
        }
        if let Some((x, y)) = self.pointer {
            self.hot = self.under(x, y, |sense| sense != Sense::None);
        }
    }

    /// A click, wherever it came from.
    pub(crate) fn click(&mut self, key: Key) {
        if self.tree.by_key(key).is_some_and(|node| !node.spec.meaning.disabled) {
            self.clicked.insert(key);
        }
    }

    fn wheel(&mut self, by: f32) {
        let Some((x, y)) = self.pointer else { return };
        if let Some(key) = self.under(x, y, |sense| sense == Sense::List)
            && let Some(list) = self.lists.get_mut(&key)
        {
            list.scroll(-f64::from(by));
        }
        // What is under the pointer is another row now; the next build says which.
    }

    fn key(&mut self, press: &KeyPress) -> bool {
        if let Some(key) = self.focus.key() {
            if let Some(TextBox { edit, .. }) = self.edits.get_mut(&key) {
                let before = edit.text().to_owned();
                if edit.key(press, &mut *self.clipboard) {
                    if before != edit.text() {
                        self.edited.insert(key);
                    }
                    self.caret_since = self.frame.now;
                    return true;
                }
            }
            if let Some(list) = self.lists.get_mut(&key)
                && list.key(press)
            {
                self.focus.show();
                return true;
            }
            let button = self.tree.by_key(key).is_some_and(|node| node.spec.sense == Sense::Button);
            let plain = !press.mods.ctrl && !press.mods.alt;
            if button && plain && matches!(press.key, KeyName::Enter | KeyName::Space) {
                self.click(key);
                return true;
            }
        }
        if press.key == KeyName::Tab && !press.mods.ctrl && !press.mods.alt {
            self.focus.step(&self.tree, press.mods.shift);
            self.caret_since = self.frame.now;
            return true;
        }
        false
    }

    fn commit(&mut self, text: &str) {
        let Some(key) = self.focus.key() else { return };
        if let Some(state) = self.edits.get_mut(&key) {
            state.edit.commit(text);
            self.edited.insert(key);
            self.caret_since = self.frame.now;
        }
    }

    /// The topmost box under a point whose sense is wanted. A box above that wants something else
    /// does not hide it: the wheel reaches a list through the bar that floats over it.
    fn under(&self, x: f32, y: f32, wanted: impl Fn(Sense) -> bool) -> Option<Key> {
        let mut best: Option<&Node> = None;
        for node in self.tree.iter() {
            if wanted(node.spec.sense)
                && node.visible().contains(x, y)
                && best.is_none_or(|best| node.stratum >= best.stratum)
            {
                best = Some(node);
            }
        }
        best.map(Node::key)
    }

    /// Starts a build. What a widget is told in it happened before now.
    pub fn begin(&mut self, frame: Frame) {
        self.frame = frame;
        self.stack.clear();
        self.seen.clear();
        self.caret_area = None;
        self.wake = None;
        self.unsettled = false;
        self.tree.clear();
        let window = self.window();
        let mut spec = Spec::widget("root", Sense::None, Role::Window, "Grace console");
        spec.layout = Layout::row().width(window.w).height(window.h);
        let root = self.tree.push(Node {
            key: Key::ROOT,
            parent: None,
            children: Vec::new(),
            spec,
            stratum: Stratum::Content,
            area: window,
            clip: window,
        });
        self.seen.insert(Key::ROOT);
        self.stack.push(root);
    }

    /// Ends the build: everything gets its place.
    pub fn end(&mut self) -> Settled {
        layout::run(&mut self.tree);
        let seen = &self.seen;
        self.edits.retain(|key, _| seen.contains(key));
        self.lists.retain(|key, _| seen.contains(key));
        self.clicked.clear();
        self.edited.clear();
        self.focus.keep_if(|key| seen.contains(&key));
        if self.active.is_some_and(|key| !seen.contains(&key)) {
            self.active = None;
        }
        let hot = self.hot;
        if let Some((x, y)) = self.pointer {
            self.hot = self.under(x, y, |sense| sense != Sense::None);
        }
        let settled = self.settle_lists() & self.settle_text_boxes();
        // What the pointer is over is drawn differently, so a box that moved under it counts.
        if settled && hot == self.hot && !self.unsettled { Settled::Yes } else { Settled::No }
    }

    /// The key a child `spec` of the box being built would get.
    pub fn key_of(&self, id: impl Hash) -> Key {
        self.here().child(Key(0).child(id))
    }

    /// The key of the box being built.
    pub(crate) fn here(&self) -> Key {
        self.stack.last().map_or(Key::ROOT, |id| self.tree[*id].key)
    }

    /// Builds a box with children.
    pub fn with(&mut self, spec: Spec, children: impl FnOnce(&mut Self)) -> Response {
        let (id, response) = self.push(spec);
        self.stack.push(id);
        children(self);
        self.stack.pop();
        response
    }

    /// Builds a box without children.
    pub fn leaf(&mut self, spec: Spec) -> Response {
        self.push(spec).1
    }

    fn push(&mut self, spec: Spec) -> (NodeId, Response) {
        let parent = self.stack.last().copied();
        let mut key = self.here().child(spec.id.0);
        // Two siblings of one id would share focus and state; the second gets a name of its own.
        let mut again = 0_u32;
        while !self.seen.insert(key) {
            again += 1;
            key = key.child(again);
        }
        let stratum = spec
            .stratum
            .unwrap_or_else(|| parent.map_or(Stratum::Content, |parent| self.tree[parent].stratum));
        let response = self.response(key);
        let node = Node {
            key,
            parent,
            children: Vec::new(),
            spec,
            stratum,
            area: Area::default(),
            clip: Area::EVERYWHERE,
        };
        let id = self.tree.push(node);
        if let Some(parent) = parent {
            self.tree[parent].children.push(id);
        }
        (id, response)
    }

    pub(crate) fn response(&self, key: Key) -> Response {
        Response {
            clicked: self.clicked.contains(&key),
            hovered: self.hot == Some(key) && self.active.is_none_or(|active| active == key),
            pressed: self.active == Some(key) && self.hot == Some(key),
            focused: self.focus.key() == Some(key),
        }
    }

    /// Gives a box the focus, as if Tab had gone there.
    pub fn focus(&mut self, key: Key) {
        self.focus.take(key, true);
        self.caret_since = self.frame.now;
        self.unsettled = true;
    }

    /// Takes the focus away.
    pub fn unfocus(&mut self) {
        self.focus.clear();
        self.unsettled = true;
    }

    /// The box with the focus.
    pub fn focused(&self) -> Option<Key> {
        self.focus.key()
    }

    /// Whether keys type text now.
    pub fn editing(&self) -> bool {
        self.focus.key().is_some_and(|key| self.edits.contains_key(&key))
    }
}

/// A count of pixels as a length. No window is wider than an `f32` counts exactly (2^24).
pub(crate) fn pixels(count: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "windows are far smaller than 2^24 pixels")]
    let length = count as f32;
    length
}
