//! The window system's words in ours: keys, the clipboard, the pointer, the icon.
//!
//! Not here: the window itself (`app`).

pub(crate) mod clipboard;
pub(crate) mod icon;
pub(crate) mod keys;
