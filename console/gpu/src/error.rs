//! What can go wrong between the scene and the screen.
//!
//! Every kind says what to do next; the Vulkan result code stays in the text for bug reports.

use std::error::Error as StdError;
use std::fmt;

/// Why nothing could be drawn.
#[derive(Debug)]
pub enum Error {
    /// No Vulkan on this machine, or no device that can show this window.
    NoDevice(String),
    /// The window's surface cannot be drawn to.
    Surface(String),
    /// The device went away and could not be taken back: try again later, or start anew.
    DeviceLost,
    /// The device or the machine has no memory left for this.
    OutOfMemory(String),
    /// A call failed that has no reason to; a bug here or in the driver.
    Driver(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(why) => write!(
                f,
                "no usable Vulkan device: {why}; install a Vulkan driver (mesa-vulkan-drivers \
                 draws without a graphics card)"
            ),
            Self::Surface(why) => write!(f, "this window cannot be drawn to with Vulkan: {why}"),
            Self::DeviceLost => write!(f, "the graphics device was lost and did not come back"),
            Self::OutOfMemory(what) => write!(f, "out of memory while {what}"),
            Self::Driver(what) => write!(f, "the graphics driver failed while {what}"),
        }
    }
}

impl StdError for Error {}
