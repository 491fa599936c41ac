//! The settings in `[queue]` as the queue knows them.

use std::time::Duration;

use grace_queue::settings::{Limits, Schedule, Settings};

use crate::config::limits::Outgoing;

/// What the queue goes by.
pub(super) fn settings(settings: &Outgoing) -> Settings {
    let seconds = Duration::from_secs;
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let per_minute = settings.attempts_per_minute_max;
    Settings {
        schedule: Schedule {
            delays: settings.retry_after.iter().map(|span| span.0).collect(),
            late_min: seconds(settings.retry_late_min_minutes * 60),
            late_max: seconds(settings.retry_late_max_minutes * 60),
            lifetime: seconds(settings.lifetime_hours * 3_600),
            last_call: seconds(settings.last_call_s),
            first_notice: seconds(settings.delay_notice_hours * 3_600),
            notice_every: seconds(settings.delay_again_hours * 3_600),
        },
        limits: Limits {
            running_max: size(settings.attempts_max),
            destination_start: count(settings.attempts_per_destination_start),
            destination_max: count(settings.attempts_per_destination_max),
            back_off_first: seconds(settings.back_off_first_s),
            back_off_max: seconds(settings.back_off_max_s),
            attempts_per_minute: (per_minute > 0).then(|| count(per_minute)),
            recipients_max: size(settings.recipients_per_transaction_max),
            ..Limits::default()
        },
    }
}
