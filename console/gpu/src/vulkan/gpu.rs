//! A device with its window and scene image: draws batches into the image, copies it to the window.
//!
//! The scene image persists from frame to frame; a frame draws only its region into it. For each
//! stratum in order: blurs of stale glass from what is below, then panels, rectangles and lines in
//! one pass, then a submission, then the texts by the guest's own submission. The last command
//! buffer copies the image to the window.
//! Invariants: between passes the scene image is in COLOR_ATTACHMENT_OPTIMAL; after an error the
//! whole is dropped and made anew, so nothing here repairs itself.
//! Not here: what has changed (`damage`), when to draw (`renderer`).

use std::rc::Rc;
use std::sync::Arc;

use ash::vk;
use gpu_allocator::MemoryLocation;

use crate::batch::Batch;
use crate::error::Error;
use crate::region::PixelRect;
use crate::renderer::{Options, Picture};
use crate::scene::Scene;
use crate::text;
use crate::vulkan::blur::Blurs;
use crate::vulkan::device::Device;
use crate::vulkan::frames::{Frame, Signals};
use crate::vulkan::glyphs::{Glyphon, Text};
use crate::vulkan::instance::Instance;
use crate::vulkan::memory::Buffer;
use crate::vulkan::pipelines::Pipelines;
use crate::vulkan::recorder::Recorder;
use crate::vulkan::swapchain::{Acquired, Formats, Surface, Swapchain, Window};
use crate::vulkan::target::{Target, barrier, record_copy, record_read};

/// Two: one is drawn while the next is recorded.
const FRAMES: usize = 2;

/// All that dies with the device, in the order in which it must go.
pub(crate) struct Gpu {
    text: Box<dyn Text>,
    swapchain: Option<Swapchain>,
    surface: Option<Surface>,
    target: Option<Target>,
    blurs: Blurs,
    frames: Vec<Frame>,
    frame_next: usize,
    pipelines: Pipelines,
    formats: Formats,
    pub(crate) device: Arc<Device>,
}

/// What to draw.
pub(crate) struct Job<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) region: &'a [PixelRect],
    pub(crate) batch: &'a Batch,
}

/// What came of it.
pub(crate) enum Outcome {
    /// It is in the scene image and on its way to the window.
    Shown,
    /// The window has changed: resize, and draw everything.
    OutOfDate,
    /// The window takes no pictures now; nothing was drawn.
    Busy,
}

impl Gpu {
    pub(crate) fn new(window: Option<&Rc<dyn Window>>, options: &Options) -> Result<Self, Error> {
        let instance = Instance::new(options.validation)?;
        let surface = window.map(|window| Surface::new(&instance, window)).transpose()?;
        let check = surface.as_ref().map(Surface::check);
        let device = Device::open(&instance, check.as_ref(), options.gpu.as_deref())?;
        let formats = match &surface {
            Some(surface) => surface.formats(&device)?,
            None => Formats::OFFSCREEN,
        };
        let pipelines = Pipelines::new(&device, formats.scene)?;
        let text = Box::new(Glyphon::new(&device, formats.scene)?);
        let frames: Result<_, _> = (0..FRAMES).map(|_| Frame::new(&device)).collect();
        Ok(Self {
            text,
            swapchain: None,
            surface,
            target: None,
            blurs: Blurs::default(),
            frames: frames?,
            frame_next: 0,
            pipelines,
            formats,
            device,
        })
    }

    /// Makes images for a window of `size`; returns the size they have, `None` for none at all.
    pub(crate) fn resize(&mut self, size: (u32, u32)) -> Result<Option<(u32, u32)>, Error> {
        self.device.wait_idle()?;
        self.text.drop_target()?;
        self.blurs.clear();
        let mut size = size;
        if let Some(surface) = &self.surface {
            let old = self.swapchain.take();
            self.swapchain = Swapchain::new(&self.device, surface, self.formats, size, old)?;
            size = self.swapchain.as_ref().map_or((0, 0), |chain| chain.extent);
        }
        if size.0 == 0 || size.1 == 0 {
            self.target = None;
            return Ok(None);
        }
        let target = Target::new(&self.device, &self.pipelines, self.formats.scene, size)?;
        self.text.set_target(target.image.raw, size)?;
        self.target = Some(target);
        Ok(Some(size))
    }

    /// Draws and presents. `before_present` is called between the two.
    pub(crate) fn draw(
        &mut self,
        job: &Job<'_>,
        fonts: &mut text::Inner,
        before_present: &mut dyn FnMut(),
    ) -> Result<Outcome, Error> {
        let Some(frame) = self.frames.get_mut(self.frame_next) else {
            return Err(Error::DeviceLost);
        };
        frame.begin()?;
        let mut image = None;
        if let Some(swapchain) = &self.swapchain {
            match swapchain.acquire(frame.acquired)? {
                Acquired::Image(index) => image = Some(index),
                Acquired::OutOfDate => return Ok(Outcome::OutOfDate),
                Acquired::Busy => return Ok(Outcome::Busy),
            }
        }
        self.draw_scene(job, fonts)?;
        let is_current = self.hand_over(image, before_present)?;
        self.frame_next = (self.frame_next + 1) % FRAMES;
        self.text.finish()?;
        Ok(if is_current { Outcome::Shown } else { Outcome::OutOfDate })
    }

    /// The scene image, read back.
    pub(crate) fn read_pixels(&mut self) -> Result<Picture, Error> {
        let (Some(target), Some(frame)) = (&self.target, self.frames.get_mut(self.frame_next))
        else {
            return Err(Error::Surface("it has no area".into()));
        };
        if !target.is_ready {
            return Err(Error::Driver("reading a picture before one was drawn".into()));
        }
        let (width, height) = target.image.size;
        let bytes = u64::from(width) * u64::from(height) * 4;
        let usage = vk::BufferUsageFlags::TRANSFER_DST;
        let buffer = Buffer::new(&self.device, bytes, usage, MemoryLocation::GpuToCpu)?;
        frame.begin()?;
        let commands = frame.open()?;
        record_read(&self.device.raw, commands, target, &buffer);
        frame.submit(commands, &Signals { is_last: true, ..Signals::default() })?;
        frame.begin()?;
        let length = usize::try_from(bytes).unwrap_or(0);
        let mut rgba = buffer.read()?.get(..length).unwrap_or(&[]).to_vec();
        if self.formats.scene == vk::Format::B8G8R8A8_UNORM {
            for pixel in rgba.as_chunks_mut::<4>().0 {
                let [b, g, r, a] = *pixel;
                *pixel = [r, g, b, a];
            }
        }
        Ok(Picture { width, height, rgba })
    }

    /// Everything into the scene image; submitted, but for the frame's last command buffer.
    fn draw_scene(&mut self, job: &Job<'_>, fonts: &mut text::Inner) -> Result<(), Error> {
        let Some(target) = &mut self.target else { return Err(Error::DeviceLost) };
        let size = target.image.size;
        self.blurs.keep(job.scene, &self.device)?;
        let strata = || job.scene.strata.iter().zip(&job.batch.strata).enumerate();
        for (at, (stratum, batch)) in strata() {
            for glass in batch.stale.iter().filter_map(|&index| stratum.glass.get(index)) {
                self.blurs.ensure(&self.device, &self.pipelines, (at, glass), size)?;
            }
        }
        let texts: Vec<Vec<_>> = strata()
            .map(|(_, (stratum, batch))| {
                batch.texts.iter().filter_map(|&index| stratum.texts.get(index)).collect()
            })
            .collect();
        self.text.prepare(fonts, &texts)?;

        let Some(frame) = self.frames.get_mut(self.frame_next) else {
            return Err(Error::DeviceLost);
        };
        let rects = bytemuck::cast_slice(&job.batch.rects);
        let lines = bytemuck::cast_slice(&job.batch.lines);
        let (instances, offsets) = frame.upload([rects, lines])?;
        let mut commands = Some(frame.open()?);
        if let (Some(commands), false) = (commands, target.is_ready) {
            let to = vk::ImageLayout::COLOR_ATTACHMENT_OPTIMAL;
            let from = vk::ImageLayout::UNDEFINED;
            barrier(&self.device.raw, commands, target.image.raw, from, to);
            target.is_ready = true;
        }
        let recorder = Recorder {
            device: &self.device.raw,
            pipelines: &self.pipelines,
            blurs: &self.blurs,
            target,
            instances,
            offsets,
        };
        if let Some(commands) = commands {
            recorder.clear(commands, job.scene.background, job.region);
        }
        for (at, (stratum, batch)) in strata() {
            if !batch.has_shapes() && batch.texts.is_empty() {
                continue;
            }
            let open = match commands.take() {
                Some(open) => open,
                None => frame.open()?,
            };
            recorder.stratum(open, (at, stratum), batch);
            if batch.texts.is_empty() {
                commands = Some(open);
            } else {
                frame.submit(open, &Signals::default())?;
                self.text.draw(at, job.region)?;
            }
        }
        match commands {
            Some(open) => frame.submit(open, &Signals::default()),
            None => Ok(()),
        }
    }

    /// Copies the scene image to the window's and presents it; `Ok(false)`: it no longer fits.
    fn hand_over(
        &mut self,
        image: Option<u32>,
        before_present: &mut dyn FnMut(),
    ) -> Result<bool, Error> {
        let (Some(frame), Some(target)) = (self.frames.get_mut(self.frame_next), &self.target)
        else {
            return Err(Error::DeviceLost);
        };
        let commands = frame.open()?;
        let mut signals = Signals { is_last: true, ..Signals::default() };
        let shown = self.swapchain.as_ref().zip(image).zip(self.surface.as_ref());
        if let Some((to, copied)) = shown.and_then(|((chain, index), _)| chain.image(index)) {
            record_copy(&self.device.raw, commands, target, to);
            signals.wait = Some(frame.acquired);
            signals.signal = Some(copied);
        }
        frame.submit(commands, &signals)?;
        match shown {
            Some(((swapchain, index), surface)) => {
                before_present();
                swapchain.present(surface, index)
            }
            None => Ok(true),
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // A lost device is idle as well; then the guest lets go of the image by being dropped.
        let _ = self.device.wait_idle();
        let _ = self.text.drop_target();
    }
}
