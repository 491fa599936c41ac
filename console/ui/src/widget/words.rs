//! Texts, and the space between boxes.
//!
//! Invariants: a text is as wide as it measures unless told to grow or to give way; one that gives
//! way ends in an ellipsis. Not here: text that is edited (`text_box`).

use std::sync::Arc;

use accesskit::Role;
use grace_gpu::scene::Color;

use crate::geometry::Area;
use crate::node::{Content, Sense, Side, Spec, TextRun};
use crate::style::{Align, Direction, Layout, Look};
use crate::theme::Type;
use crate::ui::Ui;

/// A text to be built.
#[derive(Debug, Clone)]
pub struct Words {
    text: Arc<str>,
    kind: Type,
    color: Color,
    side: Side,
    width: Option<f32>,
    grows: bool,
    shrinks: bool,
    place: Option<Area>,
}

impl Words {
    /// A text as wide as it needs to be.
    pub fn new(text: impl Into<Arc<str>>, kind: Type, color: Color) -> Self {
        Self {
            text: text.into(),
            kind,
            color,
            side: Side::Left,
            width: None,
            grows: false,
            shrinks: false,
            place: None,
        }
    }

    /// Takes the space that is left; ends in an ellipsis where that is too little.
    pub fn grow(self) -> Self {
        Self { grows: true, ..self }
    }

    /// Gives way where space is short, and ends in an ellipsis.
    pub fn shrink(self) -> Self {
        Self { shrinks: true, ..self }
    }

    /// Of a fixed width.
    pub fn width(self, width: f32) -> Self {
        Self { width: Some(width), ..self }
    }

    /// In the middle of its box.
    pub fn middle(self) -> Self {
        Self { side: Side::Middle, ..self }
    }

    /// At the right of its box.
    pub fn right(self) -> Self {
        Self { side: Side::Right, ..self }
    }

    /// Stands exactly here, relative to the parent.
    pub fn place(self, area: Area) -> Self {
        Self { place: Some(area), ..self }
    }
}

impl Ui {
    /// Width of a text on one line in logical pixels.
    pub fn text_width(&mut self, text: &str, kind: Type) -> f32 {
        let scale = self.frame.scale;
        self.measure.width(text, &kind.style(scale)) / scale
    }

    /// Builds a text that is as wide as it needs to be.
    pub fn text(&mut self, text: impl Into<Arc<str>>, kind: Type, color: Color) {
        self.write(Words::new(text, kind, color));
    }

    /// Builds a text.
    pub fn write(&mut self, words: Words) {
        let natural_width = self.text_width(&words.text, words.kind);
        let mut layout = Layout::row().height(words.kind.line());
        if let Some(width) = words.width {
            layout = layout.width(width);
        } else if words.grows {
            layout = layout.grow().min_width(0.0);
        } else if words.shrinks && self.stretches() {
            // As wide as the column, which is what it has to fit into.
            layout = layout.shrink();
        } else {
            // Rounded up, so that a text never ends in an ellipsis for want of half a pixel.
            layout = layout.width(natural_width.ceil());
            if words.shrinks {
                layout = layout.shrink();
            }
        }
        let run = TextRun {
            text: words.text,
            kind: words.kind,
            color: words.color,
            side: words.side,
            natural_width,
            whole: false,
        };
        let index = self.stack.last().map_or(0, |id| self.tree[*id].children.len());
        let mut spec = Spec::widget(("text", index), Sense::None, Role::Label, "");
        spec.meaning.value = Some(run.text.clone());
        spec.layout = layout;
        spec.place = words.place;
        spec.content = Content::Text(run);
        self.leaf(spec);
    }

    /// Whether the box being built is a column that makes its children as wide as itself.
    fn stretches(&self) -> bool {
        let layout = self.stack.last().map(|id| self.tree[*id].spec.layout);
        layout.is_some_and(|layout| {
            layout.direction == Direction::Column && layout.align == Align::Stretch
        })
    }

    /// Empty space that takes what is left.
    pub fn spring(&mut self) {
        let index = self.stack.last().map_or(0, |id| self.tree[*id].children.len());
        self.leaf(Spec::layout(("spring", index)).lay(Layout::row().grow()));
    }

    /// A hairline across the direction of its parent.
    pub fn hairline(&mut self, layout: Layout, color: Color) {
        let index = self.stack.last().map_or(0, |id| self.tree[*id].children.len());
        self.leaf(Spec::layout(("hairline", index)).lay(layout).look(Look::fill(color)));
    }
}
