//! The console's toolkit: layout, text, focus, widgets and themes, made into a scene.
//!
//! The program builds its boxes anew whenever something changed; what must outlive a build (focus,
//! scroll positions, half-typed text) is kept here under stable keys. A widget's answer comes from
//! where it stood in the last frame, so one walk over the boxes is enough. Invariants: whatever can
//! be clicked or focused has a role and a name; logical coordinates become whole pixels once, while
//! painting. Not here: Vulkan, windows, mail.

pub mod access;
pub mod color;
pub mod dump;
pub mod focus;
pub mod geometry;
pub mod icon;
pub mod input;
pub mod key;
mod layout;
pub mod measure;
pub mod node;
pub mod paint;
pub mod style;
pub mod testing;
pub mod text_edit;
pub mod theme;
pub mod ui;
pub mod widget;
