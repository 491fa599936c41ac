//! What the house tells about itself: the event bus, the counters, the log, and the word to stop.
//!
//! Not here: who may read it over the admin protocol (`admin`).

pub mod bus;
pub mod counters;
pub mod log;
pub mod stop;
