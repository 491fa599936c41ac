//! Scene in, Vulkan out: the only crate of the console that touches the GPU.
//!
//! A frame's way: `scene` (plain data from the toolkit) → `damage` (what differs from the frame
//! before) → `batch` (instances and draw calls, still plain data) → `vulkan` (the scene image, then
//! the window). Only the last step may fail, and only there is unsafe code.
//! Not here: layout, input, colors' meaning (`grace-ui`), windows (`console`).

mod batch;
mod damage;
pub mod error;
mod region;
pub mod renderer;
pub mod scene;
pub mod text;
#[expect(unsafe_code, reason = "Vulkan is a C interface; every other module stays safe")]
mod vulkan;
