//! The cards along the top: the numbers one looks at first.

use std::sync::Arc;

use accesskit::Role;
use grace_gpu::scene::Color;
use grace_ipc::message::Stats;
use grace_ui::node::{Sense, Spec};
use grace_ui::style::Layout;
use grace_ui::theme::Theme;
use grace_ui::ui::Ui;
use grace_ui::widget::card::Figure;

use crate::model::Model;
use crate::trend::Trend;
use crate::units;

const HEIGHT: f32 = 104.0;

pub(super) fn build(model: &Model, ui: &mut Ui) {
    // Greyed while the connection is gone: these were the numbers then.
    let theme = if model.connected() { ui.theme() } else { ui.theme().faded() };
    let row = Spec::widget("figures", Sense::None, Role::List, "Numbers")
        .lay(Layout::row().gap(12.0).height(HEIGHT));
    let all = figures(model, &theme);
    let shown = match ui.window().w {
        w if w < 620.0 => 2,
        w if w < 860.0 => 3,
        _ => all.len(),
    };
    ui.with(row, |ui| {
        for figure in all.iter().take(shown) {
            ui.figure(figure.caption.clone(), figure, &theme);
        }
    });
}

fn figures(model: &Model, theme: &Theme) -> [Figure; 5] {
    let stats = model.stats.as_ref();
    let trends = &model.trends;
    let plain = |caption: &str, value: Option<String>, note: String, trend: &Trend| {
        figure(caption, value, note, theme.text2, trend, theme.accent)
    };
    let refused = |stats: &Stats| match stats.messages_refused {
        0 => "none refused".to_owned(),
        refused => format!("{} refused", units::count(refused)),
    };
    let failed = stats.map_or(0, |stats| stats.logins_failed);
    [
        plain(
            "Sessions now",
            stats.map(|stats| units::count(stats.mail_sessions_open())),
            stats.map(sessions_note).unwrap_or_default(),
            &trends.sessions,
        ),
        plain(
            "Messages in",
            stats.map(|stats| units::count(stats.messages_accepted)),
            stats.map(refused).unwrap_or_default(),
            &trends.accepted,
        ),
        plain(
            "Delivered",
            stats.map(|stats| units::count(stats.messages_delivered)),
            stats.map(delivered_note).unwrap_or_default(),
            &trends.delivered,
        ),
        plain(
            "Stored",
            stats.map(|stats| units::bytes(stats.stored_bytes)),
            stats.map(stored_note).unwrap_or_default(),
            &trends.stored,
        ),
        figure(
            "Failed logins",
            stats.map(|stats| units::count(stats.logins_failed)),
            stats
                .map(|stats| format!("{} good", units::count(stats.logins_ok)))
                .unwrap_or_default(),
            theme.text2,
            &trends.failed,
            if failed > 0 { theme.err } else { theme.accent },
        ),
    ]
}

fn figure(
    caption: &str,
    value: Option<String>,
    note: String,
    note_color: Color,
    trend: &Trend,
    trend_color: Color,
) -> Figure {
    Figure {
        caption: caption.into(),
        // Not known is not zero.
        value: value.map_or_else(|| Arc::from("–"), Arc::from),
        note: note.into(),
        note_color,
        trend: trend.line(),
        trend_color,
    }
}

/// `imap 3 · smtp 1`, the busiest doors first.
fn sessions_note(stats: &Stats) -> String {
    let mail = grace_ipc::event::Service::Admin;
    let mut open: Vec<_> =
        stats.sessions.iter().filter(|one| one.open > 0 && one.service != mail).collect();
    open.sort_by_key(|one| std::cmp::Reverse(one.open));
    if open.is_empty() {
        return "nobody is connected".to_owned();
    }
    let parts: Vec<String> =
        open.iter().take(3).map(|one| format!("{} {}", one.service.name(), one.open)).collect();
    parts.join(" · ")
}

fn delivered_note(stats: &Stats) -> String {
    match stats.messages_appended {
        0 => units::of(stats.accounts, "account", "accounts"),
        stored => format!("{} put in by clients", units::count(stored)),
    }
}

fn stored_note(stats: &Stats) -> String {
    units::of(stats.messages_stored, "message", "messages")
}
