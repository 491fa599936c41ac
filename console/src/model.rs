//! What the console knows: a value without a clock, a window or a socket.
//!
//! Invariants: it changes only by [`Model::update`] (the daemon), [`Model::apply`] (a person) and
//! [`Model::tick`] (time); what was known stays when the connection breaks. Not here: how it looks
//! (`screen`), where it comes from (`link`).

use std::time::Duration;

use grace_ipc::message::{ServerInfo, Stats};
use grace_ipc::role::Role;

use crate::filter::Filter;
use crate::link::Update;
use crate::stream::{Scope, Stream};
use crate::trend::{Shows, Trend};
use crate::units::Zone;

/// The connection to the daemon. Times are since the console started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// The first try is under way.
    Connecting,
    /// It stands.
    Connected,
    /// It broke, or never stood.
    Lost { since: Duration, reason: String, retry_at: Duration, trying: bool },
}

/// What a person can do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Filter(String),
    Show(Scope),
    /// Show only the connection of the chosen row.
    FollowTrace,
    TogglePause,
    ToggleTheme,
    RetryNow,
    Select(Option<u64>),
    /// Give the keyboard to the filter; done as soon as the screen saw it.
    AskFilter(bool),
    /// Choose no row any more; likewise.
    AskDeselect(bool),
}

/// Which colors are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThemeWish {
    System,
    Dark,
    Light,
}

/// The lines on the cards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trends {
    pub(crate) sessions: Trend,
    pub(crate) accepted: Trend,
    pub(crate) delivered: Trend,
    pub(crate) stored: Trend,
    pub(crate) failed: Trend,
}

/// What the console knows.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now: Duration,
    pub(crate) zone: Zone,
    pub(crate) link: LinkState,
    pub(crate) server: Option<ServerInfo>,
    pub(crate) role: Option<Role>,
    pub(crate) software: String,
    pub(crate) stats: Option<Stats>,
    pub(crate) trends: Trends,
    pub(crate) stream: Stream,
    pub(crate) filter: String,
    pub(crate) paused: bool,
    pub(crate) selected: Option<u64>,
    pub(crate) wish: ThemeWish,
    pub(crate) system_dark: bool,
    /// The device draws in software; said once, in the side bar.
    pub(crate) software_gpu: bool,
    pub(crate) ask_filter: bool,
    pub(crate) ask_deselect: bool,
    last_event_us: u64,
}

impl Model {
    pub(crate) fn new(zone: Zone, wish: ThemeWish) -> Self {
        Self {
            now: Duration::ZERO,
            zone,
            link: LinkState::Connecting,
            server: None,
            role: None,
            software: String::new(),
            stats: None,
            trends: Trends::default(),
            stream: Stream::new(zone),
            filter: String::new(),
            paused: false,
            selected: None,
            wish,
            system_dark: true,
            software_gpu: false,
            ask_filter: false,
            ask_deselect: false,
            last_event_us: 0,
        }
    }

    /// Whether dark colors are to be shown.
    pub(crate) fn dark(&self) -> bool {
        match self.wish {
            ThemeWish::System => self.system_dark,
            ThemeWish::Dark => true,
            ThemeWish::Light => false,
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.link == LinkState::Connected
    }

    /// Takes what the daemon said, at `now`.
    pub(crate) fn update(&mut self, now: Duration, update: Update) {
        self.now = now;
        match update {
            Update::Trying => {
                if let LinkState::Lost { trying, .. } = &mut self.link {
                    *trying = true;
                }
            }
            Update::Connected { info, role, software } => {
                let other_life =
                    self.server.as_ref().is_some_and(|old| old.started_us != info.started_us);
                if other_life {
                    self.trends = Trends::default();
                }
                self.link = LinkState::Connected;
                (self.server, self.role, self.software) = (Some(info), Some(role), software);
            }
            Update::Stats(stats) => self.take_stats(now, stats),
            Update::Events { lost, events } => {
                if lost > 0 {
                    let time = events.first().map_or(self.last_event_us, |event| event.time_us);
                    self.stream.add_gap(lost, time);
                }
                for event in &events {
                    self.stream.add(event);
                    self.last_event_us = event.time_us;
                }
            }
            Update::Lost { reason, retry_in } => {
                let since = match &self.link {
                    LinkState::Lost { since, .. } => *since,
                    _ => now,
                };
                let retry_at = now + retry_in;
                self.link = LinkState::Lost { since, reason, retry_at, trying: false };
            }
        }
    }

    fn take_stats(&mut self, now: Duration, stats: Stats) {
        let trends = &mut self.trends;
        trends.sessions.note(now, stats.mail_sessions_open(), Shows::Level);
        trends.accepted.note(now, stats.messages_accepted, Shows::Growth);
        trends.delivered.note(now, stats.messages_delivered, Shows::Growth);
        trends.stored.note(now, stats.stored_bytes, Shows::Level);
        trends.failed.note(now, stats.logins_failed, Shows::Growth);
        self.stats = Some(stats);
    }

    /// Does what a person asked for. Asking the daemon to be tried again is the program's part.
    pub(crate) fn apply(&mut self, action: &Action) {
        match action {
            Action::Filter(text) => {
                self.filter.clone_from(text);
                self.stream.show(Filter::parse(text), self.stream.scope());
            }
            Action::Show(scope) => {
                self.stream.show(Filter::parse(&self.filter), *scope);
            }
            Action::FollowTrace => {
                let row = self.selected.and_then(|number| self.stream.row(number));
                if let Some(trace) = row.map(|row| row.trace).filter(|trace| trace.0 != 0) {
                    self.apply(&Action::Filter(Filter::trace(trace)));
                }
            }
            Action::TogglePause => {
                self.paused = !self.paused;
                self.stream.pause(self.paused);
            }
            Action::ToggleTheme => {
                self.wish = if self.dark() { ThemeWish::Light } else { ThemeWish::Dark };
            }
            Action::RetryNow => {}
            Action::Select(row) => self.selected = *row,
            Action::AskFilter(ask) => self.ask_filter = *ask,
            Action::AskDeselect(ask) => self.ask_deselect = *ask,
        }
    }

    /// Time went by.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    /// When the screen changes by itself: the seconds of a lost connection are counted.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        match &self.link {
            LinkState::Lost { since, .. } => {
                let gone = self.now.saturating_sub(*since).as_secs() + 1;
                Some(*since + Duration::from_secs(gone))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(reason: &str, retry_in: u64) -> Update {
        Update::Lost { reason: reason.to_owned(), retry_in: Duration::from_secs(retry_in) }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lost_connection_counts_from_its_first_loss() {
        let mut model = Model::new(Zone::Utc, ThemeWish::Dark);
        assert_eq!(model.wake_at(), None);
        model.update(at(10), lost("closed", 1));
        model.update(at(11), Update::Trying);
        assert!(matches!(model.link, LinkState::Lost { trying: true, .. }));
        model.update(at(11), lost("refused", 2));
        assert!(matches!(&model.link, LinkState::Lost { since, retry_at, reason, trying: false }
                if *since == at(10) && *retry_at == at(13) && reason == "refused"));
        assert_eq!(model.wake_at(), Some(at(12)), "the next second");
    }

    #[test]
    fn what_was_known_stays_when_the_connection_breaks() {
        let mut model = Model::new(Zone::Utc, ThemeWish::Dark);
        let stats = Stats { messages_accepted: 7, ..Stats::default() };
        model.update(at(1), Update::Stats(stats));
        model.update(at(2), lost("closed", 1));
        assert_eq!(model.stats.as_ref().map(|stats| stats.messages_accepted), Some(7));
    }

    #[test]
    fn the_theme_follows_the_system_until_told() {
        let mut model = Model::new(Zone::Utc, ThemeWish::System);
        assert!(model.dark());
        model.system_dark = false;
        assert!(!model.dark());
        model.apply(&Action::ToggleTheme);
        assert!(model.dark());
        model.apply(&Action::ToggleTheme);
        assert!(!model.dark());
    }
}
