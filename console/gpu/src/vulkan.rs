//! Everything that touches Vulkan, and so all unsafe code of the house.
//!
//! Every object here destroys itself when dropped and keeps alive what it was made from, so a
//! failure halfway leaks nothing. One queue, one thread; between command buffers of the queue plain
//! barriers order the work.
//! Not here: what to draw (`batch`), when (`renderer`).

pub(crate) mod blur;
pub(crate) mod device;
pub(crate) mod frames;
pub(crate) mod glyphs;
pub(crate) mod gpu;
pub(crate) mod guest;
pub(crate) mod instance;
pub(crate) mod memory;
pub(crate) mod pipelines;
pub(crate) mod recorder;
pub(crate) mod swapchain;
pub(crate) mod target;

use ash::vk;

use crate::error::Error;

/// Turns a failed call into our error; `doing` completes "failed while …".
pub(crate) fn failed(doing: &'static str) -> impl Fn(vk::Result) -> Error {
    move |code| match code {
        vk::Result::ERROR_DEVICE_LOST => Error::DeviceLost,
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY | vk::Result::ERROR_OUT_OF_HOST_MEMORY => {
            Error::OutOfMemory(doing.to_string())
        }
        vk::Result::ERROR_SURFACE_LOST_KHR => {
            Error::Surface("the window system took the surface away".to_string())
        }
        code => Error::Driver(format!("{doing}: {code:?}")),
    }
}
