//! Scene in, Vulkan out: the only crate of the console that touches the GPU.

pub mod scene;
