//! Counts by the minute and by the hour: written, cut, and read.
//!
//! Not here: counting (`telemetry::counters`), when this is done ([`super`]).

use std::ops::Range;

use gracedb::error::Error as StoreError;
use gracedb::view::View as _;
use gracedb::write::WriteTx;

use grace_ipc::event::Service;

use super::History;
use crate::store::failure::Failure;
use crate::store::statistics::{Figure, Resolution, StatisticRow};
use crate::telemetry::counters::Counters;

impl History {
    /// What was counted by the minute, or by the hour, in times that begin within a range of
    /// seconds since 1970 UTC; the oldest first. Where there is no row nothing was counted.
    ///
    /// # Errors
    /// The database failed.
    pub fn statistics(
        &self,
        resolution: Resolution,
        begin_s: Range<u64>,
    ) -> Result<Vec<StatisticRow>, Failure> {
        let number = resolution as u8;
        let rows = self
            .db
            .snapshot()
            .range::<StatisticRow>((number, begin_s.start)..(number, begin_s.end));
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What was written of the counters already.
#[derive(Debug, Default)]
pub(super) struct Tally {
    written: [u64; Figure::ALL.len()],
}

impl Tally {
    /// What was counted since the last time, where it is more than nothing.
    pub(super) fn take(&mut self, counters: &Counters, traces_lost: u64) -> Vec<(Figure, u64)> {
        let mut counts = Vec::new();
        for (figure, written) in Figure::ALL.into_iter().zip(&mut self.written) {
            let now = value(figure, counters, traces_lost);
            let more = now.saturating_sub(std::mem::replace(written, now));
            if more > 0 {
                counts.push((figure, more));
            }
        }
        counts
    }
}

fn value(figure: Figure, counters: &Counters, traces_lost: u64) -> u64 {
    let connections = |service| counters.connections(service).0;
    match figure {
        Figure::ConnectionsSmtp => connections(Service::Smtp),
        Figure::ConnectionsSubmission => connections(Service::Submission),
        Figure::ConnectionsSubmissions => connections(Service::Submissions),
        Figure::ConnectionsImap => connections(Service::Imap),
        Figure::ConnectionsImaps => connections(Service::Imaps),
        Figure::ConnectionsRefused => counters.connections_refused.get(),
        Figure::CommandsRefused => counters.commands_refused.get(),
        Figure::LoginsSucceeded => counters.logins_succeeded.get(),
        Figure::LoginsFailed => counters.logins_failed.get(),
        Figure::MessagesAccepted => counters.messages_accepted.get(),
        Figure::MessagesRefused => counters.messages_refused.get(),
        Figure::MessagesDelivered => counters.messages_delivered.get(),
        Figure::MessagesAppended => counters.messages_appended.get(),
        Figure::MessagesExpunged => counters.messages_expunged.get(),
        Figure::TlsFailed => counters.tls_failed.get(),
        Figure::SessionsPanicked => counters.sessions_panicked.get(),
        Figure::TracesLost => traces_lost,
        Figure::DoorRefused => counters.door_refused.get(),
    }
}

/// Adds to the minute and the hour of a time.
pub(super) fn add(
    tx: &mut WriteTx<'_>,
    time_s: u64,
    counts: &[(Figure, u64)],
) -> Result<(), StoreError> {
    for resolution in Resolution::ALL {
        let start_s = time_s - time_s % resolution.seconds();
        let resolution = resolution as u8;
        let row = tx.get::<StatisticRow>(&(resolution, start_s))?;
        let mut row = row.unwrap_or(StatisticRow { resolution, start_s, counts: Vec::new() });
        counts.iter().for_each(|(figure, more)| row.add(*figure, *more));
        tx.put(&row)?;
    }
    Ok(())
}

/// Lets go of counts that are older than they are kept, in seconds: minutes, hours.
pub(super) fn expire(
    tx: &mut WriteTx<'_>,
    now_s: u64,
    (minutes_s, hours_s): (u64, u64),
) -> Result<(), StoreError> {
    for (resolution, kept_s) in [(Resolution::Minute, minutes_s), (Resolution::Hour, hours_s)] {
        let (number, limit_s) = (resolution as u8, now_s.saturating_sub(kept_s));
        let oldest = tx.prefix::<StatisticRow>(&(number,)).next().transpose()?;
        if oldest.is_some_and(|oldest| oldest.start_s < limit_s) {
            tx.delete_range::<StatisticRow>((number, 0)..(number, limit_s))?;
        }
    }
    Ok(())
}
