//! The little lines on the cards: how a number went lately.
//!
//! A line ends at the last change, not at this moment: while nothing happens, nothing moves.
//! Invariants: samples older than the window are dropped. Not here: drawing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a line covers at most and at least, and in how many steps.
const WINDOW: Duration = Duration::from_secs(120);
const WINDOW_MIN: Duration = Duration::from_secs(15);
const STEPS: usize = 30;
/// Samples kept: the daemon sends at most a few a second.
const SAMPLES_MAX: usize = 1_200;

/// A number over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trend {
    samples: VecDeque<(Duration, u64)>,
    line: Arc<[f32]>,
}

/// What the line shows of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The number itself.
    Level,
    /// How much it grew in each step.
    Growth,
}

impl Trend {
    /// Notes a value. Without a change nothing moves.
    pub(crate) fn note(&mut self, now: Duration, value: u64, shows: Shows) {
        if self.samples.back().is_some_and(|(_, last)| *last == value) {
            return;
        }
        self.samples.push_back((now, value));
        let oldest = now.saturating_sub(WINDOW);
        // One sample from before the window stays: it says where the line begins.
        while self.samples.len() > SAMPLES_MAX
            || self.samples.get(1).is_some_and(|(at, _)| *at < oldest)
        {
            self.samples.pop_front();
        }
        self.line = scaled(&self.steps(now, shows));
    }

    /// The line, 0.0..=1.0; empty until enough is known for one.
    pub(crate) fn line(&self) -> Arc<[f32]> {
        self.line.clone()
    }

    /// The values at equal steps up to now; none while too little is known for a line.
    fn steps(&self, now: Duration, shows: Shows) -> Vec<u64> {
        let known = self.samples.front().map_or(Duration::ZERO, |(at, _)| now.saturating_sub(*at));
        if known < WINDOW_MIN {
            return Vec::new();
        }
        let step = known.min(WINDOW) / u32::try_from(STEPS).unwrap_or(1);
        let back = |index: usize| step * u32::try_from(STEPS - 1 - index).unwrap_or(0);
        let times = (0..STEPS).map(|index| now.saturating_sub(back(index)));
        times
            .map(|until| match shows {
                Shows::Level => self.value_at(until),
                Shows::Growth => {
                    let before = self.value_at(until.saturating_sub(step));
                    self.value_at(until).saturating_sub(before)
                }
            })
            .collect()
    }

    /// The value then; before the first sample, the first one.
    fn value_at(&self, time: Duration) -> u64 {
        let past = self.samples.partition_point(|(at, _)| *at <= time);
        let at = past.saturating_sub(1);
        self.samples.get(at).map_or(0, |(_, value)| *value)
    }
}

/// Between the least and the greatest; a flat line lies low.
#[expect(clippy::cast_precision_loss, reason = "a line a few pixels high")]
fn scaled(values: &[u64]) -> Arc<[f32]> {
    let least = values.iter().copied().min().unwrap_or(0);
    let range = values.iter().copied().max().unwrap_or(0).saturating_sub(least).max(1);
    values.iter().map(|value| (value - least) as f32 / range as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_while_nothing_changes() {
        let mut trend = Trend::default();
        assert!(trend.line().is_empty());
        trend.note(Duration::from_secs(1), 5, Shows::Level);
        trend.note(Duration::from_secs(2), 7, Shows::Level);
        assert!(trend.line().is_empty(), "one second is no line");
        trend.note(Duration::from_secs(61), 9, Shows::Level);
        let line = trend.line();
        assert_eq!((line.len(), line.last()), (STEPS, Some(&1.0)));
        trend.note(Duration::from_secs(600), 9, Shows::Level);
        assert!(Arc::ptr_eq(&trend.line(), &line));
    }

    #[test]
    fn growth_is_a_peak_where_it_grew() {
        let mut trend = Trend::default();
        trend.note(Duration::from_secs(0), 0, Shows::Growth);
        trend.note(Duration::from_secs(100), 50, Shows::Growth);
        trend.note(Duration::from_secs(119), 51, Shows::Growth);
        let line = trend.line();
        let peak = line.iter().position(|value| *value == 1.0).expect("a peak");
        assert!((20..28).contains(&peak), "{peak}");
        assert!(line.last().is_some_and(|last| *last < 0.1));
    }

    #[test]
    fn samples_are_bounded() {
        let mut trend = Trend::default();
        for tick in 0..100_000 {
            trend.note(Duration::from_millis(tick), tick, Shows::Growth);
        }
        assert!(trend.samples.len() <= SAMPLES_MAX);
    }
}
