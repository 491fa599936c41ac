//! The window system's words in ours: keys, the clipboard, the pointer.
//!
//! Not here: the window itself (`app`).

pub(crate) mod clipboard;
pub(crate) mod keys;
