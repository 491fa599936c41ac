//! Buttons: plain, primary, quiet, chips, entries of the side bar.
//!
//! Invariants: every button has a name, also one that shows only an icon; none is lower than 28.

use std::hash::Hash;
use std::sync::Arc;

use accesskit::Role;
use grace_gpu::scene::Color;

use crate::color;
use crate::icon::{Icon, Mark};
use crate::node::{Content, Sense, Spec};
use crate::style::{Justify, Layout, Look};
use crate::theme::Type;
use crate::ui::{Response, Ui};
use crate::widget::words::Words;

/// How much a button stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// With a border.
    #[default]
    Plain,
    /// Filled: the one thing to do here.
    Primary,
    /// No border until the pointer is over it.
    Quiet,
    /// A small round one that can be on.
    Chip,
}

/// A button to be built.
#[derive(Debug, Clone)]
pub struct Button {
    label: Arc<str>,
    shown: Option<Arc<str>>,
    icon: Option<Icon>,
    kind: Kind,
    on: Option<bool>,
    hint: Option<Arc<str>>,
}

impl Button {
    /// A button that shows its name.
    pub fn new(label: impl Into<Arc<str>>) -> Self {
        let label = label.into();
        let shown = Some(label.clone());
        Self { label, shown, icon: None, kind: Kind::Plain, on: None, hint: None }
    }

    /// A button that shows an icon only.
    pub fn icon(icon: Icon, label: impl Into<Arc<str>>) -> Self {
        let label = label.into();
        Self { label, shown: None, icon: Some(icon), kind: Kind::Quiet, on: None, hint: None }
    }

    /// With an icon before its name.
    pub fn with_icon(self, icon: Icon) -> Self {
        Self { icon: Some(icon), ..self }
    }

    /// How much it stands out.
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Whether it is switched on.
    pub fn on(self, on: bool) -> Self {
        Self { on: Some(on), ..self }
    }

    /// The keys that do the same, shown beside the name.
    pub fn hint(self, keys: impl Into<Arc<str>>) -> Self {
        Self { hint: Some(keys.into()), ..self }
    }
}

impl Ui {
    /// Builds a button.
    pub fn button(&mut self, id: impl Hash, button: &Button) -> Response {
        let key = self.key_of(&id);
        let response = self.response(key);
        let (look, ink) = self.button_look(button, response);
        let shown = button.shown.is_some();
        let (height, side) = match button.kind {
            Kind::Chip => (28.0, 12.0),
            _ => (32.0, if shown { 14.0 } else { 0.0 }),
        };
        let mut layout =
            Layout::row().height(height).gap(8.0).pad2(0.0, side).middle().justify(Justify::Center);
        if !shown {
            layout = layout.width(height);
        }
        let mut spec = Spec::widget(&id, Sense::Button, Role::Button, button.label.clone())
            .lay(layout)
            .look(look);
        if let Some(on) = button.on {
            spec = spec.toggled(on);
        }
        let hint_color = self.theme.text1;
        self.with(spec, |ui| {
            if let Some(icon) = button.icon {
                ui.icon(icon, 16.0, ink);
            }
            if let Some(text) = &button.shown {
                let kind = if button.kind == Kind::Chip { Type::Small } else { Type::BodyStrong };
                ui.text(text.clone(), kind, ink);
            }
            if let Some(keys) = &button.hint {
                ui.text(keys.clone(), Type::Caption, hint_color);
            }
        })
    }

    fn button_look(&self, button: &Button, response: Response) -> (Look, Color) {
        let theme = self.theme;
        let on = button.on == Some(true);
        let lift = |base: Color| {
            if response.pressed {
                color::mix(base, theme.text0, 0.16)
            } else if response.hovered {
                color::mix(base, theme.text0, 0.08)
            } else {
                base
            }
        };
        let veil = |share: u8| color::percent(theme.text0, share);
        let over = if response.pressed {
            Some(14)
        } else if response.hovered {
            Some(8)
        } else {
            None
        };
        match button.kind {
            Kind::Primary => (Look::fill(lift(theme.accent_fill)).radius(8.0), theme.on_accent),
            Kind::Plain => {
                let fill = over.map_or(Look::none(), |share| Look::fill(veil(share)));
                (fill.border(1.0, theme.line2).radius(8.0), theme.text0)
            }
            Kind::Quiet if on => {
                (Look::fill(color::percent(theme.accent, 22)).radius(8.0), theme.accent)
            }
            Kind::Quiet => {
                let fill = over.map_or(Look::none(), |share| Look::fill(veil(share)));
                (fill.radius(8.0), if over.is_some() { theme.text0 } else { theme.text1 })
            }
            Kind::Chip if on => {
                let fill = color::percent(theme.accent, if over.is_some() { 34 } else { 24 });
                (Look::fill(fill).border(1.0, theme.accent).radius(14.0), theme.text0)
            }
            Kind::Chip => {
                let fill = over.map_or(Look::none(), |share| Look::fill(veil(share)));
                (fill.border(1.0, theme.line2).radius(14.0), theme.text1)
            }
        }
    }

    /// Builds an entry of the side bar: icon, name, a count at the right.
    pub fn nav(
        &mut self,
        id: impl Hash,
        icon: Icon,
        label: &str,
        count: &str,
        selected: bool,
    ) -> Response {
        let key = self.key_of(&id);
        let (response, theme) = (self.response(key), self.theme);
        let look = if selected {
            Look::fill(color::percent(theme.accent, 22)).mark(theme.accent)
        } else if response.hovered {
            Look::fill(color::percent(theme.text0, 7))
        } else {
            Look::none()
        };
        let ink = if selected { theme.text0 } else { theme.text1 };
        let spec = Spec::widget(&id, Sense::Button, Role::Tab, label)
            .value(count)
            .selected(selected)
            .inset_focus()
            .lay(Layout::row().height(32.0).gap(10.0).pad2(0.0, 12.0).middle())
            .look(look.radius(6.0));
        self.with(spec, |ui| {
            ui.icon(icon, 16.0, if selected { theme.accent } else { theme.text1 });
            let kind = if selected { Type::BodyStrong } else { Type::Body };
            ui.write(Words::new(label, kind, ink).grow());
            ui.text(count, Type::SmallStrong, ink);
        })
    }

    /// Builds an icon.
    pub fn icon(&mut self, icon: Icon, side: f32, color: Color) {
        let spec = Spec::layout(("icon", icon))
            .lay(Layout::row().width(side).height(side))
            .content(Content::Icon(icon, color));
        self.leaf(spec);
    }

    /// Builds the shape of a state.
    pub fn mark(&mut self, mark: Mark, color: Color) {
        let spec = Spec::layout(("mark", mark))
            .lay(Layout::row().width(10.0).height(10.0))
            .content(Content::Mark(mark, color));
        self.leaf(spec);
    }
}
