//! When an envelope is tried again, and how many at once per next hop. Pure.
//!
//! [`queue`] is the whole of it: mail goes in, batches to try come out, outcomes come back.
//! [`schedule`] decides when a failed attempt is made again and when we give up, [`capacity`] how
//! much a destination can take at once, `lines` whose turn it is among senders and destinations,
//! [`admin`] what people may do to what waits, [`figures`] what they see of it. The numbers they go
//! by: [`settings`].
//!
//! Invariants: time is passed in and chance comes from a seed, so that a run can be had again; no
//! step costs more than the logarithm of what waits, save an admin's over much of it.
//! Memory, measured with a million messages for one recipient each: 160 bytes for what waits for
//! its time, 240 for what waits for its turn; another recipient of the same transaction takes 4.
//! Not here: sockets, the store, notifications (`grace_mail::dsn`), the clock.

pub mod admin;
pub mod capacity;
mod destinations;
pub mod figures;
mod lines;
pub mod queue;
pub mod random;
pub mod schedule;
pub mod settings;
mod slab;
pub mod time;
mod transaction;
