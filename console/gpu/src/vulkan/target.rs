//! The scene image, and its ways out: to the window and to the processor.
//!
//! Invariant: every function here finds the image in COLOR_ATTACHMENT_OPTIMAL and leaves it so.
//! Not here: what is drawn into it (`recorder`, `glyphs`).

use std::sync::Arc;

use ash::vk;

use crate::error::Error;
use crate::vulkan::blur::Source;
use crate::vulkan::device::Device;
use crate::vulkan::failed;
use crate::vulkan::memory::{Buffer, COLOR, Image, LAYER, View};
use crate::vulkan::pipelines::Pipelines;

/// The scene image.
pub(crate) struct Target {
    pub(crate) framebuffer: vk::Framebuffer,
    pub(crate) source: Source,
    sets: vk::DescriptorPool,
    _views: [View; 2],
    pub(crate) image: Image,
    /// Whether its layout has been set.
    pub(crate) is_ready: bool,
    device: Arc<Device>,
}

impl Target {
    pub(crate) fn new(
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
pub(crate) fn barrier(
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
pub(crate) fn record_copy(
    device: &ash::Device,
    commands: vk::CommandBuffer,
    target: &Target,
    to: vk::Image,
) {
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
pub(crate) fn record_read(
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
