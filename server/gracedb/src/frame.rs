//! Everything of one moment: the rows, and the files that they and their large values stand in.
//!
//! ```text
//!   now       the runs, the rows in memory, the segments up to the end of the journal
//!   earlier   the runs of a restore point, the journal replayed from there, and the segments that
//!             no later transaction needs, too
//! ```
//! Invariants: while a frame is held, none of its files is removed; nothing is changed by looking.
//! Not here: what it is looked at for (`verify`, `copy`), how long files are kept (`manifest`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::copy::Moment;
use crate::error::Error;
use crate::index::run::Reading;
use crate::local::View;
use crate::manifest::Manifest;
use crate::recover::{self, Replayed, Tail, Until};
use crate::seal::Keyring;
use crate::state::State;
use crate::version::Yard;

/// One moment of a database.
pub(crate) struct Frame {
    pub(crate) reading: Arc<Reading>,
    pub(crate) manifest: Manifest,
    /// The keys that its files are written with, whatever becomes of them later.
    pub(crate) keys: Keyring,
    pub(crate) view: View,
    /// The journal segments that rows may point into, with their ends.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// When its newest transaction was made, in milliseconds since 1970 UTC.
    pub(crate) time_ms: u64,
}

impl Frame {
    /// What the runs of a manifest and the journal after them say, up to a transaction.
    pub(crate) fn replay(
        reading: &Arc<Reading>,
        manifest: &Manifest,
        until: Until,
    ) -> Result<Self, Error> {
        let version = recover::version(manifest, reading, &Arc::new(Yard::default()));
        let flushed = manifest.flushed();
        let state = State { sequence: flushed.sequence, ..State::new(version) };
        let replayed = recover::read(&reading.files, state, flushed, false, until)?;
        let Replayed { state, tail, complete, time_ms, .. } = replayed;
        let mut segments: BTreeMap<u64, u64> = complete.into_iter().collect();
        let last = match tail {
            Tail::In(header, end) => {
                segments.insert(header.number, end);
                header.number
            }
            Tail::Begin(number) => number - 1,
        };
        for (number, segment) in manifest.segments.range(..=last) {
            if segment.gone.is_none_or(|gone| gone > state.sequence) {
                segments.entry(*number).or_insert(segment.end);
            }
        }
        let point = manifest.points.last().copied().unwrap_or_default();
        let view = View::new(state, Arc::clone(&reading.files));
        let keys = reading.files.keys();
        let (reading, manifest) = (Arc::clone(reading), manifest.clone());
        let time_ms = time_ms.unwrap_or(point.when.time_ms);
        Ok(Self { reading, manifest, keys, view, segments, time_ms })
    }

    /// The database as it was at an earlier moment; `newest` is its newest transaction.
    pub(crate) fn earlier(
        reading: &Arc<Reading>,
        manifest: &Manifest,
        moment: Moment,
        newest: u64,
    ) -> Result<Self, Error> {
        let (point, until) = match moment {
            Moment::Newest => {
                (manifest.point_for(newest), Until { sequence: newest, ..Until::ALL })
            }
            Moment::Transaction(sequence) if sequence <= newest => {
                (manifest.point_for(sequence), Until { sequence, ..Until::ALL })
            }
            Moment::Transaction(_) => (None, Until::ALL),
            Moment::Time { ms } => {
                (manifest.point_before(ms), Until { sequence: newest, time_ms: ms })
            }
        };
        let refused = || Error::NotRestorable { moment, first: manifest.restorable, last: newest };
        let manifest = manifest.as_of(&point.ok_or_else(refused)?);
        let frame = Self::replay(reading, &manifest, until)?;
        if frame.view.state.sequence < manifest.restorable {
            return Err(refused());
        }
        Ok(frame)
    }
}
