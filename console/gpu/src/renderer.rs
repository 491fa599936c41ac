//! The renderer as the console sees it: give it a window and scenes, get pictures.

use std::time::Duration;

use raw_window_handle::{HasDisplayHandle, HasWindowHandle};

use crate::error::Error;
use crate::scene::{Rect, Scene};
use crate::text::Fonts;

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ask the Vulkan validation layers to watch, and count what they say. Slow; for tests.
    pub validation: bool,
    /// Part of the name of the device to use, in any case; the best one where `None`.
    pub gpu: Option<String>,
    /// Whether glass is blurred.
    pub effects: Effects,
}

/// Whether glass is blurred or plainly tinted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effects {
    /// Blurred, but plain where the device is software: there a blur costs tens of milliseconds.
    #[default]
    Auto,
    /// Blurred everywhere.
    Full,
    /// Plain everywhere.
    Reduced,
}

/// The device that draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// As the driver calls it.
    pub name: String,
    /// It is the processor itself; the console says so once and takes effects back.
    pub software: bool,
}

/// What one call of [`Renderer::render`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameReport {
    /// Whether anything was drawn and presented; an unchanged scene is not.
    pub drawn: bool,
    /// The parts drawn anew: disjoint whole pixels.
    pub damage: Vec<Rect>,
    /// Blurs computed.
    pub glass_chains: u32,
    /// Time this thread spent in the call.
    pub cpu_time: Duration,
    /// The device had been lost and was set up again.
    pub recovered: bool,
}

/// A picture of the scene: RGBA, 8 bits a channel, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width * height * 4` bytes.
    pub rgba: Vec<u8>,
}

/// Draws scenes into a window or into memory.
pub struct Renderer {
    fonts: Fonts,
    device: DeviceInfo,
    before_present: Box<dyn FnMut()>,
}

impl Renderer {
    /// Draws into `window`, which is kept alive as long as the renderer (give it an `Arc`).
    /// `size` is the window's inner size in physical pixels.
    pub fn new(
        window: impl HasWindowHandle + HasDisplayHandle + 'static,
        size: (u32, u32),
        fonts: Fonts,
        options: Options,
    ) -> Result<Self, Error> {
        let _ = (window, size, options, fonts);
        Err(Error::NoDevice("not built yet".into()))
    }

    /// Draws into memory only: for tests and pictures.
    pub fn offscreen(size: (u32, u32), fonts: Fonts, options: Options) -> Result<Self, Error> {
        let _ = (size, options, fonts);
        Err(Error::NoDevice("not built yet".into()))
    }

    /// Called right before a picture is handed to the window system. On Wayland the window's
    /// `pre_present_notify` belongs here: with it a hidden window asks for no frames.
    pub fn set_before_present(&mut self, notify: impl FnMut() + 'static) {
        self.before_present = Box::new(notify);
    }

    /// Draws what differs from the scene before and presents it; an equal scene does nothing.
    pub fn render(&mut self, scene: &Scene) -> Result<FrameReport, Error> {
        let _ = (scene, &self.fonts);
        (self.before_present)();
        Ok(FrameReport::default())
    }

    /// The window has a new inner size; takes effect with the next scene. A size of zero (a
    /// minimized window) draws nothing until the next call.
    pub fn resize(&mut self, width: u32, height: u32) {
        let _ = (width, height, &self.fonts);
    }

    /// The scene drawn last, from memory or window alike.
    pub fn read_pixels(&mut self) -> Result<Picture, Error> {
        Err(Error::DeviceLost)
    }

    /// The device in use.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// How many messages the validation layers have given so far, in the whole process.
    pub fn validation_messages(&self) -> u64 {
        0
    }
}
