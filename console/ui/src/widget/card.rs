//! Cards, and the card with one number on it.
//!
//! Invariants: what a number card shows is also its accessible name. Not here: what is counted.

use std::hash::Hash;
use std::sync::Arc;

use accesskit::Role;
use grace_gpu::scene::Color;

use crate::color;
use crate::node::{Content, Sense, Spec};
use crate::style::{Layout, Look, Shadow};
use crate::theme::{Theme, Type};
use crate::ui::Ui;
use crate::widget::words::Words;

/// A number worth a card.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What is counted.
    pub caption: Arc<str>,
    /// How many.
    pub value: Arc<str>,
    /// What else there is to say, in a few words.
    pub note: Arc<str>,
    /// The color of that.
    pub note_color: Color,
    /// How it went, 0.0..=1.0 from left to right; empty: no line.
    pub trend: Arc<[f32]>,
    /// The color of the line.
    pub trend_color: Color,
}

impl Ui {
    /// What a card looks like.
    pub fn card_look(theme: &Theme) -> Look {
        let share = if theme.dark { 88 } else { 94 };
        let shadow = Shadow {
            down: if theme.dark { 4.0 } else { 2.0 },
            sigma: if theme.dark { 10.0 } else { 6.0 },
            color: color::percent(Color::rgb(0), if theme.dark { 30 } else { 7 }),
        };
        Look::fill(color::percent(theme.bg2, share))
            .border(1.0, theme.line)
            .radius(12.0)
            .shadow(shadow)
    }

    /// Builds a card with one number.
    pub fn figure(&mut self, id: impl Hash, figure: &Figure, theme: &Theme) {
        let label = if figure.note.is_empty() {
            format!("{}: {}", figure.caption, figure.value)
        } else {
            format!("{}: {}, {}", figure.caption, figure.value, figure.note)
        };
        let spec = Spec::widget(id, Sense::None, Role::Group, label)
            .lay(Layout::column().even().pad4([14.0, 16.0, 12.0, 16.0]).gap(2.0))
            .look(Self::card_look(theme));
        self.with(spec, |ui| {
            ui.write(Words::new(figure.caption.clone(), Type::Small, theme.text2).shrink());
            let line = Spec::layout("line").lay(Layout::row().gap(12.0).middle().height(36.0));
            ui.with(line, |ui| {
                ui.text(figure.value.clone(), Type::Display, theme.text0);
                ui.spring();
                if figure.trend.len() > 1 {
                    let spark = Spec::layout("spark")
                        .lay(Layout::row().grow().height(24.0).max_width(84.0))
                        .content(Content::Spark(figure.trend.clone(), figure.trend_color));
                    ui.leaf(spark);
                }
            });
            ui.write(Words::new(figure.note.clone(), Type::Caption, figure.note_color).shrink());
        });
    }
}
