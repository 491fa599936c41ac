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
use bytemuck::{Pod, Zeroable};
use gpu_allocator::MemoryLocation;

use crate::batch::{Batch, Part, StratumBatch, bytes_of};
use crate::damage;
use crate::error::Error;
use crate::region::PixelRect;
use crate::renderer::{Options, Picture};
use crate::scene::{Color, Glass, Scene, Stratum};
use crate::text;
use crate::vulkan::blur::{Blurs, Source, tap};
use crate::vulkan::device::Device;
use crate::vulkan::failed;
use crate::vulkan::frames::{Frame, Signals};
use crate::vulkan::glyphs::{Glyphon, Text};
use crate::vulkan::instance::Instance;
use crate::vulkan::memory::{Buffer, COLOR, Image, LAYER, View};
use crate::vulkan::pipelines::{Pipelines, STAGES};
use crate::vulkan::swapchain::{Acquired, Formats, Surface, Swapchain, Window};

/// Two: one is drawn while the next is recorded.
const FRAMES: usize = 2;

/// 1.5 % of noise hides the bands of a blur.
const GLASS_NOISE: f32 = 0.015;

/// `Panel` of `glass.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Panel {
    rect: [f32; 4],
    window: [f32; 4],
    tint: [f32; 4],
    edge: [f32; 4],
    size: [f32; 2],
    reach: [f32; 2],
    radius: f32,
    noise: f32,
}

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

/// The scene image.
struct Target {
    framebuffer: vk::Framebuffer,
    source: Source,
    sets: vk::DescriptorPool,
    _views: [View; 2],
    image: Image,
    /// Whether its layout has been set.
    is_ready: bool,
    device: Arc<Device>,
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
        let shown = self.swapchain.as_ref().zip(image);
        if let Some((to, copied)) = shown.and_then(|(chain, index)| chain.image(index)) {
            record_copy(&self.device.raw, commands, target, to);
            signals.wait = Some(frame.acquired);
            signals.signal = Some(copied);
        }
        frame.submit(commands, &signals)?;
        match shown {
            Some((swapchain, index)) => {
                before_present();
                swapchain.present(index)
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

impl StratumBatch {
    fn has_shapes(&self) -> bool {
        let has = |part: &Part| {
            !part.panels.is_empty() || !part.rects.is_empty() || !part.lines.is_empty()
        };
        !self.stale.is_empty() || self.parts.iter().any(has)
    }
}

/// What recording a stratum needs.
struct Recorder<'a> {
    device: &'a ash::Device,
    pipelines: &'a Pipelines,
    blurs: &'a Blurs,
    target: &'a Target,
    instances: vk::Buffer,
    offsets: [u64; 2],
}

impl Recorder<'_> {
    /// Paints the region in the background color.
    fn clear(&self, commands: vk::CommandBuffer, background: Color, region: &[PixelRect]) {
        let [r, g, b, _] = bytes_of(background).map(|channel| f32::from(channel) / 255.0);
        let clear = vk::ClearAttachment {
            aspect_mask: vk::ImageAspectFlags::COLOR,
            color_attachment: 0,
            clear_value: vk::ClearValue { color: vk::ClearColorValue { float32: [r, g, b, 1.0] } },
        };
        let rects: Vec<_> = region
            .iter()
            .map(|&part| vk::ClearRect { rect: rect_2d(part), base_array_layer: 0, layer_count: 1 })
            .collect();
        self.begin_pass(commands);
        // SAFETY: inside a pass; the region lies in the image.
        unsafe {
            if !rects.is_empty() {
                self.device.cmd_clear_attachments(commands, &[clear], &rects);
            }
            self.device.cmd_end_render_pass(commands);
        }
    }

    /// All of a stratum but its texts.
    fn stratum(
        &self,
        commands: vk::CommandBuffer,
        (at, stratum): (usize, &Stratum),
        batch: &StratumBatch,
    ) {
        let stale = batch.stale.iter().filter_map(|&index| stratum.glass.get(index));
        self.blur(commands, at, stale);
        if !batch.has_shapes() {
            return;
        }
        self.begin_pass(commands);
        for part in &batch.parts {
            // SAFETY: inside a pass.
            unsafe { self.device.cmd_set_scissor(commands, 0, &[rect_2d(part.scissor)]) };
            for glass in part.panels.iter().filter_map(|&index| stratum.glass.get(index)) {
                self.panel(commands, at, glass);
            }
            let size = [self.target.image.size.0 as f32, self.target.image.size.1 as f32];
            let kinds = [
                (self.pipelines.rect, self.offsets[0], &part.rects),
                (self.pipelines.line, self.offsets[1], &part.lines),
            ];
            for (pipeline, offset, range) in kinds.into_iter().filter(|kind| !kind.2.is_empty()) {
                let count = range.end - range.start;
                let layout = self.pipelines.layout;
                let size = bytemuck::bytes_of(&size);
                let (device, first) = (self.device, range.start);
                // SAFETY: inside a pass; the buffer holds the range's instances.
                unsafe {
                    device.cmd_bind_pipeline(commands, GRAPHICS, pipeline);
                    device.cmd_bind_vertex_buffers(commands, 0, &[self.instances], &[offset]);
                    device.cmd_push_constants(commands, layout, STAGES, 0, size);
                    device.cmd_draw(commands, 4, count, 0, first);
                }
            }
        }
        // SAFETY: inside a pass.
        unsafe { self.device.cmd_end_render_pass(commands) };
    }

    /// Computes blurs from what is drawn so far.
    fn blur<'g>(
        &self,
        commands: vk::CommandBuffer,
        stratum: usize,
        stale: impl Iterator<Item = &'g Glass>,
    ) {
        let image = self.target.image.raw;
        let (drawn, read) =
            (vk::ImageLayout::COLOR_ATTACHMENT_OPTIMAL, vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL);
        let mut is_readable = false;
        for glass in stale {
            let Some(chain) = self.blurs.get(stratum, glass) else { continue };
            if !is_readable {
                barrier(self.device, commands, image, drawn, read);
                is_readable = true;
            }
            let offset = damage::offset(glass);
            chain.record(self.device, self.pipelines, commands, &self.target.source, offset);
        }
        if is_readable {
            barrier(self.device, commands, image, read, drawn);
        }
    }

    fn panel(&self, commands: vk::CommandBuffer, stratum: usize, glass: &Glass) {
        let Some(chain) = self.blurs.get(stratum, glass) else { return };
        let Some((set, size)) = chain.top() else { return };
        let reach = chain.reach.to_rect();
        let color = |color| bytes_of(color).map(|channel| f32::from(channel) / 255.0);
        let panel = Panel {
            rect: [glass.rect.x, glass.rect.y, glass.rect.w, glass.rect.h],
            window: [reach.x, reach.y, reach.w, reach.h],
            tint: color(glass.tint),
            edge: color(glass.edge),
            size: [self.target.image.size.0 as f32, self.target.image.size.1 as f32],
            reach: tap(damage::offset(glass), size),
            radius: glass.radius,
            noise: GLASS_NOISE,
        };
        let layout = self.pipelines.layout;
        // SAFETY: inside a pass; the chain was left readable by its last pass.
        unsafe {
            self.device.cmd_bind_pipeline(commands, GRAPHICS, self.pipelines.glass);
            self.device.cmd_bind_descriptor_sets(commands, GRAPHICS, layout, 0, &[set], &[]);
            let bytes = bytemuck::bytes_of(&panel);
            self.device.cmd_push_constants(commands, layout, STAGES, 0, bytes);
            self.device.cmd_draw(commands, 4, 1, 0, 0);
        }
    }

    fn begin_pass(&self, commands: vk::CommandBuffer) {
        let (width, height) = self.target.image.size;
        let area =
            vk::Rect2D { offset: vk::Offset2D::default(), extent: vk::Extent2D { width, height } };
        let begin = vk::RenderPassBeginInfo::default()
            .render_pass(self.pipelines.scene_pass)
            .framebuffer(self.target.framebuffer)
            .render_area(area);
        let viewport = vk::Viewport {
            width: width as f32,
            height: height as f32,
            max_depth: 1.0,
            ..vk::Viewport::default()
        };
        // SAFETY: the buffer records and is outside a pass; the image is in the pass's layout.
        unsafe {
            self.device.cmd_begin_render_pass(commands, &begin, vk::SubpassContents::INLINE);
            self.device.cmd_set_viewport(commands, 0, &[viewport]);
            self.device.cmd_set_scissor(commands, 0, &[area]);
        }
    }
}

const GRAPHICS: vk::PipelineBindPoint = vk::PipelineBindPoint::GRAPHICS;

impl Target {
    fn new(
        device: &Arc<Device>,
        pipelines: &Pipelines,
        format: vk::Format,
        size: (u32, u32),
    ) -> Result<Self, Error> {
        let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT
            | vk::ImageUsageFlags::SAMPLED
            | vk::ImageUsageFlags::TRANSFER_SRC;
        // Drawn to as it is stored, blurred through a view that reads linear light.
        let flags = vk::ImageCreateFlags::MUTABLE_FORMAT;
        let image = Image::new(device, size, format, usage, flags)?;
        let linear = match format {
            vk::Format::R8G8B8A8_UNORM => vk::Format::R8G8B8A8_SRGB,
            _ => vk::Format::B8G8R8A8_SRGB,
        };
        let views = [image.view(format)?, image.view(linear)?];
        let source = Source { set: pipelines.show(views[1].raw)?, size };
        let attachments = [views[0].raw];
        let mut target = Self {
            framebuffer: vk::Framebuffer::null(),
            source,
            sets: pipelines.sets,
            _views: views,
            image,
            is_ready: false,
            device: Arc::clone(device),
        };
        let info = vk::FramebufferCreateInfo::default()
            .render_pass(pipelines.scene_pass)
            .attachments(&attachments)
            .width(size.0)
            .height(size.1)
            .layers(1);
        // SAFETY: pass and view are this device's own and match in format.
        target.framebuffer = unsafe { device.raw.create_framebuffer(&info, None) }
            .map_err(failed("creating the scene image"))?;
        Ok(target)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device; the pool outlives the target and allows
        // freeing single sets. Freeing cannot fail.
        unsafe {
            self.device.raw.destroy_framebuffer(self.framebuffer, None);
            let _ = self.device.raw.free_descriptor_sets(self.sets, &[self.source.set]);
        }
    }
}

fn rect_2d(part: PixelRect) -> vk::Rect2D {
    vk::Rect2D {
        offset: vk::Offset2D { x: part.x0, y: part.y0 },
        extent: vk::Extent2D { width: part.width(), height: part.height() },
    }
}

/// Who touches an image in a layout, and how.
fn users(layout: vk::ImageLayout) -> (vk::PipelineStageFlags, vk::AccessFlags) {
    use vk::{AccessFlags as Access, ImageLayout as Layout, PipelineStageFlags as Stage};
    match layout {
        Layout::COLOR_ATTACHMENT_OPTIMAL => (
            Stage::COLOR_ATTACHMENT_OUTPUT,
            Access::COLOR_ATTACHMENT_READ | Access::COLOR_ATTACHMENT_WRITE,
        ),
        Layout::SHADER_READ_ONLY_OPTIMAL => (Stage::FRAGMENT_SHADER, Access::SHADER_READ),
        Layout::TRANSFER_SRC_OPTIMAL => (Stage::TRANSFER, Access::TRANSFER_READ),
        Layout::TRANSFER_DST_OPTIMAL => (Stage::TRANSFER, Access::TRANSFER_WRITE),
        // The window system waits for the semaphore, not for a stage.
        Layout::PRESENT_SRC_KHR => (Stage::BOTTOM_OF_PIPE, Access::empty()),
        // Contents do not matter, but whoever had it before must be done; for the window's image
        // this is where its semaphore was waited for.
        _ => (Stage::TRANSFER, Access::empty()),
    }
}

/// Moves an image from one use to another.
fn barrier(
    device: &ash::Device,
    commands: vk::CommandBuffer,
    image: vk::Image,
    from: vk::ImageLayout,
    to: vk::ImageLayout,
) {
    let (before, after) = (users(from), users(to));
    let barriers = [vk::ImageMemoryBarrier::default()
        .image(image)
        .old_layout(from)
        .new_layout(to)
        .src_access_mask(before.1)
        .dst_access_mask(after.1)
        .src_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
        .dst_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
        .subresource_range(COLOR)];
    let none = vk::DependencyFlags::empty();
    // SAFETY: the buffer records and is outside a pass; the image is in `from`.
    unsafe {
        device.cmd_pipeline_barrier(commands, before.0, after.0, none, &[], &[], &barriers);
    }
}

/// The scene image to the window's, whole: what a window's image held before is not ours to know.
fn record_copy(device: &ash::Device, commands: vk::CommandBuffer, target: &Target, to: vk::Image) {
    use vk::ImageLayout as Layout;
    let (width, height) = target.image.size;
    let copy = vk::ImageCopy {
        src_subresource: LAYER,
        dst_subresource: LAYER,
        extent: vk::Extent3D { width, height, depth: 1 },
        ..vk::ImageCopy::default()
    };
    let from = target.image.raw;
    let (source, goal) = (Layout::TRANSFER_SRC_OPTIMAL, Layout::TRANSFER_DST_OPTIMAL);
    barrier(device, commands, from, Layout::COLOR_ATTACHMENT_OPTIMAL, source);
    barrier(device, commands, to, Layout::UNDEFINED, goal);
    // SAFETY: both images have this size and compatible formats, and are in these layouts.
    unsafe { device.cmd_copy_image(commands, from, source, to, goal, &[copy]) };
    barrier(device, commands, to, goal, Layout::PRESENT_SRC_KHR);
    barrier(device, commands, from, source, Layout::COLOR_ATTACHMENT_OPTIMAL);
}

/// The scene image into a buffer the processor reads.
fn record_read(
    device: &ash::Device,
    commands: vk::CommandBuffer,
    target: &Target,
    buffer: &Buffer,
) {
    use vk::ImageLayout as Layout;
    let (width, height) = target.image.size;
    let copy = vk::BufferImageCopy {
        image_subresource: LAYER,
        image_extent: vk::Extent3D { width, height, depth: 1 },
        ..vk::BufferImageCopy::default()
    };
    let source = Layout::TRANSFER_SRC_OPTIMAL;
    let image = target.image.raw;
    barrier(device, commands, image, Layout::COLOR_ATTACHMENT_OPTIMAL, source);
    let written = [vk::MemoryBarrier::default()
        .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
        .dst_access_mask(vk::AccessFlags::HOST_READ)];
    let (transfer, host) = (vk::PipelineStageFlags::TRANSFER, vk::PipelineStageFlags::HOST);
    let none = vk::DependencyFlags::empty();
    // SAFETY: the buffer has room for the image, and the image is in this layout.
    unsafe {
        device.cmd_copy_image_to_buffer(commands, image, source, buffer.raw, &[copy]);
        device.cmd_pipeline_barrier(commands, transfer, host, none, &written, &[], &[]);
    }
    barrier(device, commands, image, source, Layout::COLOR_ATTACHMENT_OPTIMAL);
}
