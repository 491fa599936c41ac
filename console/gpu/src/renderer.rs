//! The renderer as the console sees it: give it a window and scenes, get pictures.
//!
//! Invariants: an unchanged scene draws and presents nothing; after any error the device is set up
//! anew with the next scene, and that scene is drawn whole.
//! Not here: how it is drawn (`vulkan`).

use std::rc::Rc;
use std::time::{Duration, Instant};

use raw_window_handle::{HasDisplayHandle, HasWindowHandle};

use crate::batch::Batch;
use crate::damage::{Plan, View};
use crate::error::Error;
use crate::scene::{Rect, Scene};
use crate::text::{self, Fonts};
use crate::vulkan::blur::PANELS_MAX;
use crate::vulkan::gpu::{Gpu, Job, Outcome};
use crate::vulkan::instance;
use crate::vulkan::swapchain::Window;

/// A window being dragged larger is out of date again and again; the next event tries anew.
const ATTEMPTS_MAX: usize = 3;

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
    /// The window took no picture just now (hidden, or changing its size faster than we draw):
    /// give the scene again in a moment.
    pub postponed: bool,
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

const POSTPONED: FrameReport = FrameReport {
    drawn: false,
    damage: Vec::new(),
    glass_chains: 0,
    cpu_time: Duration::ZERO,
    recovered: false,
    postponed: true,
};

/// Draws scenes into a window or into memory.
pub struct Renderer {
    /// Absent after an error, until the next scene.
    gpu: Option<Gpu>,
    window: Option<Rc<dyn Window>>,
    fonts: Fonts,
    options: Options,
    device: DeviceInfo,
    before_present: Box<dyn FnMut()>,
    /// As the window system says.
    size: (u32, u32),
    /// Of the images; `None`: none are made, or they no longer fit.
    images: Option<(u32, u32)>,
    /// What the scene image shows, and whether glass is blurred in it; `None`: unknown.
    shown: Option<(Scene, bool)>,
    /// The window has lost its picture.
    is_exposed: bool,
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
        Self::start(Some(Rc::new(window)), size, fonts, options)
    }

    /// Draws into memory only: for tests and pictures.
    pub fn offscreen(size: (u32, u32), fonts: Fonts, options: Options) -> Result<Self, Error> {
        Self::start(None, size, fonts, options)
    }

    fn start(
        window: Option<Rc<dyn Window>>,
        size: (u32, u32),
        fonts: Fonts,
        options: Options,
    ) -> Result<Self, Error> {
        let gpu = Gpu::new(window.as_ref(), &options)?;
        let device = gpu.device.info.clone();
        Ok(Self {
            gpu: Some(gpu),
            window,
            fonts,
            options,
            device,
            before_present: Box::new(|| ()),
            size,
            images: None,
            shown: None,
            is_exposed: false,
        })
    }

    /// Called right before a picture is handed to the window system. On Wayland the window's
    /// `pre_present_notify` belongs here: with it a hidden window asks for no frames.
    pub fn set_before_present(&mut self, notify: impl FnMut() + 'static) {
        self.before_present = Box::new(notify);
    }

    /// Draws what differs from the scene before and presents it; an equal scene does nothing.
    ///
    /// A lost device is set up again at once. After any other error the next call does so; when
    /// that fails too there is no point in a third.
    pub fn render(&mut self, scene: &Scene) -> Result<FrameReport, Error> {
        let start = Instant::now();
        let was_lost = self.gpu.is_none();
        let mut drawn = self.try_render(scene);
        let mut recovered = was_lost;
        if let Err(Error::DeviceLost) = drawn {
            self.forget();
            drawn = self.try_render(scene);
            recovered = true;
        }
        match drawn {
            Ok(report) => Ok(FrameReport { cpu_time: start.elapsed(), recovered, ..report }),
            Err(e) => {
                self.forget();
                Err(e)
            }
        }
    }

    /// The window has a new inner size; takes effect with the next scene. A size of zero (a
    /// minimized window) draws nothing until the next call.
    pub fn resize(&mut self, width: u32, height: u32) {
        if self.size != (width, height) {
            self.size = (width, height);
            self.images = None;
        }
    }

    /// The window system has lost the window's picture (it was covered and there is no compositor;
    /// a redraw was asked for that we did not ask for): the next scene is presented even if it is
    /// the same.
    pub fn expose(&mut self) {
        self.is_exposed = true;
    }

    /// The scene drawn last, from memory or window alike.
    pub fn read_pixels(&mut self) -> Result<Picture, Error> {
        match &mut self.gpu {
            Some(gpu) => gpu.read_pixels(),
            None => Err(Error::DeviceLost),
        }
    }

    /// The device in use.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Whether glass is blurred.
    pub fn blurs(&self) -> bool {
        match self.options.effects {
            Effects::Auto => !self.device.software,
            Effects::Full => true,
            Effects::Reduced => false,
        }
    }

    /// How many messages the validation layers have given so far, in the whole process.
    pub fn validation_messages(&self) -> u64 {
        instance::messages_count()
    }

    /// The first of those messages, word for word.
    pub fn validation_log(&self) -> Vec<String> {
        instance::messages()
    }

    /// Gives everything of the device back; the next scene starts from nothing.
    fn forget(&mut self) {
        self.gpu = None;
        self.images = None;
        self.shown = None;
    }

    fn try_render(&mut self, scene: &Scene) -> Result<FrameReport, Error> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(report) = self.attempt(scene)? {
                return Ok(report);
            }
        }
        Ok(POSTPONED)
    }

    /// One attempt; `None`: the window has changed meanwhile.
    fn attempt(&mut self, scene: &Scene) -> Result<Option<FrameReport>, Error> {
        if self.size.0 == 0 || self.size.1 == 0 {
            return Ok(Some(FrameReport::default()));
        }
        let gpu = match &mut self.gpu {
            Some(gpu) => gpu,
            None => {
                let gpu = Gpu::new(self.window.as_ref(), &self.options)?;
                self.device = gpu.device.info.clone();
                self.gpu.insert(gpu)
            }
        };
        if self.images.is_none() {
            self.shown = None;
            self.images = gpu.resize(self.size)?;
        }
        let Some(size) = self.images else { return Ok(Some(FrameReport::default())) };
        let panels: usize = scene.strata.iter().map(|stratum| stratum.glass.len()).sum();
        let blurs = self.blurs() && panels <= PANELS_MAX;

        let mut fonts = self.fonts.lock();
        let mut text_bounds = |text: &crate::scene::Text| {
            let layout = fonts.layout(&text.text, text.style, text.max_width, text.wrap);
            text::bounds(text, layout.size())
        };
        let mut view = View { size, blurs, text_bounds: &mut text_bounds };
        let plan = match &self.shown {
            Some((before, blurred)) if *blurred == blurs => Plan::between(before, scene, &mut view),
            _ => Plan::full(scene, &view),
        };
        if plan.region.is_empty() && !self.is_exposed {
            return Ok(Some(FrameReport::default()));
        }
        let batch = Batch::new(scene, &plan, blurs, &mut text_bounds);
        let job = Job { scene, region: plan.region.rects(), batch: &batch };
        let Some(gpu) = &mut self.gpu else { return Err(Error::DeviceLost) };
        let outcome = gpu.draw(&job, &mut fonts, &mut self.before_present)?;
        match outcome {
            Outcome::Shown => {}
            Outcome::Busy => return Ok(Some(POSTPONED)),
            Outcome::OutOfDate => {
                self.images = None;
                return Ok(None);
            }
        }
        self.shown = Some((scene.clone(), blurs));
        self.is_exposed = false;
        Ok(Some(FrameReport {
            drawn: true,
            damage: plan.region.rects().iter().map(|rect| rect.to_rect()).collect(),
            glass_chains: count(plan.stale.iter().map(Vec::len).sum()),
            ..FrameReport::default()
        }))
    }
}

fn count(things: usize) -> u32 {
    u32::try_from(things).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Color, Glass, Quad, Stratum};

    /// A lost device cannot be had on demand; what is done about it can.
    #[test]
    fn a_lost_device_is_set_up_again_and_draws_the_same() {
        let options = Options { validation: true, effects: Effects::Full, ..Options::default() };
        let mut renderer = match Renderer::offscreen((200, 100), Fonts::bundled(), options) {
            Err(Error::NoDevice(why)) if !why.contains("layers") => {
                eprintln!("SKIPPED, NOTHING TESTED: no Vulkan device ({why})");
                return;
            }
            renderer => renderer.unwrap(),
        };
        let rect = Rect { x: 20.0, y: 20.0, w: 90.0, h: 60.0 };
        let quad = Quad {
            rect,
            clip: rect,
            fill: [Color::rgb(0xFF_00_00), Color::rgb(0x00_FF_00)],
            radius: 8.0,
            border_width: 1.0,
            border: Color::rgb(0xFF_FF_FF),
            shadow_sigma: 0.0,
        };
        let edge = Color::rgb(0xFF_FF_FF).alpha(20);
        let tint = Color::rgb(0).alpha(80);
        let glass = Glass { rect, radius: 8.0, tint, iterations: 2, offset: 2.0, edge };
        let below = Stratum { quads: vec![quad], ..Stratum::default() };
        let above = Stratum { glass: vec![glass], ..Stratum::default() };
        let scene =
            Scene { size: (200, 100), background: Color::rgb(0), strata: vec![below, above] };
        assert!(!renderer.render(&scene).unwrap().recovered);
        let before = renderer.read_pixels().unwrap();
        renderer.forget();
        let report = renderer.render(&scene).unwrap();
        assert!(report.recovered && report.drawn);
        assert_eq!(renderer.read_pixels().unwrap(), before);
        assert!(!renderer.render(&scene).unwrap().recovered);
        assert_eq!(renderer.validation_log(), [""; 0]);
    }
}
