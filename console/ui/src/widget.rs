//! The widgets: each a few boxes with a role, a name and an answer.
//!
//! Not here: what they are used for (`grace-console`).

pub mod button;
pub mod card;
pub mod list;
pub mod text_box;
pub mod words;
