//! The words the daemon and its admin programs speak.

pub mod event;
