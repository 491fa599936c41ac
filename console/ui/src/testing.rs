//! A window without a window: drives a screen as a person would and looks at what it shows.
//!
//! Things are found by role and name, as assistive programs find them, so a widget that cannot be
//! found here cannot be used there. Not here: pictures.

use std::time::Duration;

use accesskit::Role;
use grace_gpu::scene::Scene;

use crate::geometry::Area;
use crate::input::{Input, KeyName, KeyPress, Mods, PrivateClipboard};
use crate::key::Key;
use crate::measure::{FixedWidth, Measure};
use crate::ui::{Frame, Settled, Ui};
use crate::{dump, paint};

/// Builds in a frame until nothing changes any more; a screen that never rests is a bug.
pub const PASSES_MAX: usize = 6;

/// Builds a screen; true: the state changed, build once more.
type Build<S> = dyn FnMut(&mut Ui, &mut S) -> bool;

/// A screen under test: `S` is the program's state, `build` its screen.
pub struct Harness<S> {
    /// The toolkit.
    pub ui: Ui,
    /// The program's state.
    pub state: S,
    build: Box<Build<S>>,
    frame: Frame,
}

/// A box that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its stable name.
    pub key: Key,
    /// Where it stands.
    pub area: Area,
    /// What of it is seen.
    pub visible: Area,
    /// Its value.
    pub value: Option<String>,
    /// Whether it is chosen or switched on.
    pub on: bool,
}

impl<S> Harness<S> {
    /// A window of `w` by `h` logical pixels. `build` says whether the state changed, so that the
    /// screen is built once more.
    pub fn new(
        (w, h): (u32, u32),
        scale: f32,
        state: S,
        build: impl FnMut(&mut Ui, &mut S) -> bool + 'static,
    ) -> Self {
        Self::with_fonts((w, h), scale, state, Box::new(FixedWidth), build)
    }

    /// The same with real fonts.
    pub fn with_fonts(
        (w, h): (u32, u32),
        scale: f32,
        state: S,
        measure: Box<dyn Measure>,
        build: impl FnMut(&mut Ui, &mut S) -> bool + 'static,
    ) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test sizes")]
        let physical = |logical: u32| (f64::from(logical) * f64::from(scale)).round() as u32;
        let ui = Ui::new(measure, Box::new(PrivateClipboard::default()));
        let frame = Frame { size: (physical(w), physical(h)), scale, now: Duration::ZERO };
        let mut harness = Self { ui, state, build: Box::new(build), frame };
        harness.run();
        harness
    }

    /// Builds until everything stands.
    pub fn run(&mut self) {
        for _ in 0..PASSES_MAX {
            self.ui.begin(self.frame);
            let changed = (self.build)(&mut self.ui, &mut self.state);
            if self.ui.end() == Settled::Yes && !changed {
                return;
            }
        }
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.frame.now += time;
        self.run();
    }

    /// The picture.
    pub fn scene(&self) -> Scene {
        paint::scene(&self.ui)
    }

    /// The boxes as text.
    pub fn dump(&self) -> String {
        dump::boxes(&self.ui)
    }

    /// Hands in one thing that happened; true if the toolkit wanted it.
    pub fn input(&mut self, input: Input) -> bool {
        let wanted = self.ui.input(self.frame.now, input);
        self.run();
        wanted
    }

    /// The first box with this role whose name begins so.
    pub fn find(&self, role: Role, label: &str) -> Option<Found> {
        let mut nodes = self.ui.tree.iter();
        let node = nodes.find(|node| node.role() == role && node.label().starts_with(label))?;
        Some(Found {
            key: node.key,
            area: node.area,
            visible: node.visible(),
            value: node.value().map(str::to_owned),
            on: node.is_on(),
        })
    }

    /// Every text in sight, in reading order.
    pub fn texts(&self) -> Vec<String> {
        let nodes = self.ui.tree.iter().filter(|node| !node.visible().is_empty());
        nodes.filter_map(|node| node.text().map(str::to_owned)).collect()
    }

    /// Whether a text is in sight.
    pub fn shows(&self, text: &str) -> bool {
        self.texts().iter().any(|shown| shown.contains(text))
    }

    /// Clicks in the middle of a box; false: there is none, or it is out of sight.
    pub fn click(&mut self, role: Role, label: &str) -> bool {
        let Some(found) = self.find(role, label) else { return false };
        let Area { x, y, w, h } = found.visible;
        if found.visible.is_empty() {
            return false;
        }
        self.click_at(x + w / 2.0, y + h / 2.0);
        true
    }

    /// Clicks at a place.
    pub fn click_at(&mut self, x: f32, y: f32) {
        self.input(Input::PointerMoved(x, y));
        self.input(Input::Pressed { shift: false });
        self.input(Input::Released);
    }

    /// Turns the wheel over a place; positive: the content moves down.
    pub fn wheel_at(&mut self, x: f32, y: f32, by: f32) {
        self.input(Input::PointerMoved(x, y));
        self.input(Input::Wheel(by));
    }

    /// Presses a key alone.
    pub fn press(&mut self, key: KeyName) -> bool {
        self.input(Input::Key(KeyPress::plain(key)))
    }

    /// Presses a key with others held.
    pub fn chord(&mut self, key: KeyName, mods: Mods) -> bool {
        self.input(Input::Key(KeyPress::with(key, mods)))
    }

    /// Types a text, key by key.
    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            let key = if c == ' ' { KeyName::Space } else { KeyName::Char(c) };
            let press = KeyPress { key, text: Some(c.to_string()), mods: Mods::NONE };
            self.input(Input::Key(press));
        }
    }

    /// Boxes that can be clicked or focused but have no name: always empty.
    pub fn nameless(&self) -> Vec<String> {
        let nodes =
            self.ui.tree.iter().filter(|node| {
                node.spec.sense != crate::node::Sense::None && node.label().is_empty()
            });
        nodes.map(|node| format!("{:?}", node.role())).collect()
    }
}
