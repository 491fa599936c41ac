//! The blurred pictures behind glass: one chain of halved images a panel, kept from frame to frame.
//!
//! Invariants: a chain's first image is what its panel shows until the damage says it is stale;
//! chains of panels that are gone wait for a panel of the same size, so a panel that moves on the
//! grid allocates nothing. All images are used on one queue in order, so reuse needs no waiting.
//! Not here: which panels are stale (`damage`), drawing the panel (`gpu`).

use std::sync::Arc;

use ash::vk;
use bytemuck::{Pod, Zeroable};

use crate::damage;
use crate::error::Error;
use crate::region::PixelRect;
use crate::scene::{Glass, Scene};
use crate::vulkan::device::Device;
use crate::vulkan::failed;
use crate::vulkan::memory::{Image, View};
use crate::vulkan::pipelines::{BLUR_FORMAT, Pipelines, STAGES};

/// Panels blurred at once; a scene with more shows them all plain. Four would be a full screen.
pub(crate) const PANELS_MAX: usize = 32;

/// Chains kept for panels to come.
const FREE_MAX: usize = 4;

/// `Pass` of `kawase.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Pass {
    window: [f32; 4],
    bounds: [f32; 4],
    reach: [f32; 2],
}

/// What a chain is made from: the scene image.
pub(crate) struct Source {
    pub(crate) set: vk::DescriptorSet,
    pub(crate) size: (u32, u32),
}

/// The chains of all panels.
#[derive(Default)]
pub(crate) struct Blurs {
    used: Vec<Slot>,
    free: Vec<Chain>,
}

struct Slot {
    stratum: usize,
    glass: Glass,
    chain: Chain,
}

/// One panel's images, each half the size of the one before; the first half that of the window's
/// part in `reach`.
pub(crate) struct Chain {
    /// The part of the window it shows.
    pub(crate) reach: PixelRect,
    levels: Vec<Level>,
}

struct Level {
    framebuffer: vk::Framebuffer,
    set: vk::DescriptorSet,
    sets: vk::DescriptorPool,
    _view: View,
    image: Image,
    device: Arc<Device>,
}

impl Blurs {
    /// Takes the chains of panels that are not in `scene` out of use.
    pub(crate) fn keep(&mut self, scene: &Scene, device: &Device) -> Result<(), Error> {
        let is_shown = |slot: &Slot| {
            let stratum = scene.strata.get(slot.stratum);
            stratum.is_some_and(|s| s.glass.iter().any(|g| damage::same_blur(g, &slot.glass)))
        };
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.used).into_iter().partition(is_shown);
        self.used = kept;
        self.free.extend(gone.into_iter().map(|slot| slot.chain));
        if self.free.len() > FREE_MAX {
            device.wait_idle()?;
            self.free.drain(..self.free.len() - FREE_MAX);
        }
        Ok(())
    }

    /// The chain of a panel, if it has one.
    pub(crate) fn get(&self, stratum: usize, glass: &Glass) -> Option<&Chain> {
        let is_its =
            |slot: &&Slot| slot.stratum == stratum && damage::same_blur(&slot.glass, glass);
        self.used.iter().find(is_its).map(|slot| &slot.chain)
    }

    /// Makes sure that a panel has a chain.
    pub(crate) fn ensure(
        &mut self,
        device: &Arc<Device>,
        pipelines: &Pipelines,
        (stratum, glass): (usize, &Glass),
        size: (u32, u32),
    ) -> Result<(), Error> {
        if self.get(stratum, glass).is_some() {
            return Ok(());
        }
        let reach = damage::reach(glass, size);
        let sizes = level_sizes(reach, damage::iterations(glass));
        let fits = |chain: &Chain| chain.levels.iter().map(|l| l.image.size).eq(sizes.clone());
        let chain = match self.free.iter().position(fits) {
            Some(at) => Chain { reach, levels: self.free.swap_remove(at).levels },
            None => Chain::new(device, pipelines, reach, sizes)?,
        };
        self.used.push(Slot { stratum, glass: *glass, chain });
        Ok(())
    }

    /// Forgets everything; the device must be idle.
    pub(crate) fn clear(&mut self) {
        self.used.clear();
        self.free.clear();
    }
}

fn level_sizes(reach: PixelRect, iterations: u8) -> impl Iterator<Item = (u32, u32)> + Clone {
    (1..=u32::from(iterations)).map(move |level| {
        let halved = |pixels: u32| pixels.div_ceil(1 << level).max(1);
        (halved(reach.width()), halved(reach.height()))
    })
}

impl Chain {
    fn new(
        device: &Arc<Device>,
        pipelines: &Pipelines,
        reach: PixelRect,
        sizes: impl Iterator<Item = (u32, u32)>,
    ) -> Result<Self, Error> {
        let levels: Result<_, _> = sizes.map(|size| Level::new(device, pipelines, size)).collect();
        Ok(Self { reach, levels: levels? })
    }

    /// The image to show, and its size.
    pub(crate) fn top(&self) -> Option<(vk::DescriptorSet, (u32, u32))> {
        self.levels.first().map(|level| (level.set, level.image.size))
    }

    /// Records the blur of `source`, which is readable.
    pub(crate) fn record(
        &self,
        device: &ash::Device,
        pipelines: &Pipelines,
        commands: vk::CommandBuffer,
        source: &Source,
        offset: f32,
    ) {
        let full = [0.0, 0.0, 1.0, 1.0];
        let mut from = (source.set, source.size);
        let (window, bounds) = part_of(self.reach, source.size);
        let mut pass = Pass { window, bounds, reach: tap(offset, source.size) };
        for level in &self.levels {
            let to = (level.framebuffer, level.image.size);
            record_pass(device, pipelines, commands, pipelines.down, from.0, to, pass);
            from = (level.set, level.image.size);
            pass = Pass { window: full, bounds: full, reach: tap(offset, level.image.size) };
        }
        // The last doubling, to the window's own size, is done by the panel's shader.
        for pair in self.levels.windows(2).rev() {
            let [finer, coarser] = pair else { continue };
            let pass = Pass { window: full, bounds: full, reach: tap(offset, coarser.image.size) };
            let to = (finer.framebuffer, finer.image.size);
            record_pass(device, pipelines, commands, pipelines.up, coarser.set, to, pass);
        }
    }
}

/// The distance of a tap in parts of an image.
pub(crate) fn tap(offset: f32, size: (u32, u32)) -> [f32; 2] {
    [offset * 0.5 / size.0 as f32, offset * 0.5 / size.1 as f32]
}

/// `part` in parts of an image of `size`: left, top, width, height; and where taps may go, half a
/// pixel inside so that the filter takes in nothing from around.
fn part_of(part: PixelRect, size: (u32, u32)) -> ([f32; 4], [f32; 4]) {
    let (w, h) = (size.0 as f32, size.1 as f32);
    let rect = part.to_rect();
    let (right, bottom) = (rect.x + rect.w, rect.y + rect.h);
    (
        [rect.x / w, rect.y / h, rect.w / w, rect.h / h],
        [(rect.x + 0.5) / w, (rect.y + 0.5) / h, (right - 0.5) / w, (bottom - 0.5) / h],
    )
}

fn record_pass(
    device: &ash::Device,
    pipelines: &Pipelines,
    commands: vk::CommandBuffer,
    pipeline: vk::Pipeline,
    source: vk::DescriptorSet,
    (framebuffer, (width, height)): (vk::Framebuffer, (u32, u32)),
    pass: Pass,
) {
    let area =
        vk::Rect2D { offset: vk::Offset2D::default(), extent: vk::Extent2D { width, height } };
    let begin = vk::RenderPassBeginInfo::default()
        .render_pass(pipelines.blur_pass)
        .framebuffer(framebuffer)
        .render_area(area);
    let viewport = vk::Viewport {
        width: width as f32,
        height: height as f32,
        max_depth: 1.0,
        ..vk::Viewport::default()
    };
    let (layout, graphics) = (pipelines.layout, vk::PipelineBindPoint::GRAPHICS);
    // SAFETY: the buffer records; source and target are different images of this device, and the
    // pass's dependencies order them.
    unsafe {
        device.cmd_begin_render_pass(commands, &begin, vk::SubpassContents::INLINE);
        device.cmd_set_viewport(commands, 0, &[viewport]);
        device.cmd_set_scissor(commands, 0, &[area]);
        device.cmd_bind_pipeline(commands, graphics, pipeline);
        device.cmd_bind_descriptor_sets(commands, graphics, layout, 0, &[source], &[]);
        device.cmd_push_constants(commands, layout, STAGES, 0, bytemuck::bytes_of(&pass));
        device.cmd_draw(commands, 3, 1, 0, 0);
        device.cmd_end_render_pass(commands);
    }
}

impl Level {
    fn new(device: &Arc<Device>, pipelines: &Pipelines, size: (u32, u32)) -> Result<Self, Error> {
        let usage = vk::ImageUsageFlags::COLOR_ATTACHMENT | vk::ImageUsageFlags::SAMPLED;
        let none = vk::ImageCreateFlags::empty();
        let image = Image::new(device, size, BLUR_FORMAT, usage, none)?;
        let view = image.view(BLUR_FORMAT)?;
        let set = pipelines.show(view.raw)?;
        let mut level = Self {
            framebuffer: vk::Framebuffer::null(),
            set,
            sets: pipelines.sets,
            _view: view,
            image,
            device: Arc::clone(device),
        };
        let views = [level._view.raw];
        let info = vk::FramebufferCreateInfo::default()
            .render_pass(pipelines.blur_pass)
            .attachments(&views)
            .width(size.0)
            .height(size.1)
            .layers(1);
        // SAFETY: pass and view are this device's own and match in format.
        level.framebuffer = unsafe { device.raw.create_framebuffer(&info, None) }
            .map_err(failed("preparing a blur"))?;
        Ok(level)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device; the pool outlives the chains and allows
        // freeing single sets. Freeing cannot fail.
        unsafe {
            self.device.raw.destroy_framebuffer(self.framebuffer, None);
            let _ = self.device.raw.free_descriptor_sets(self.sets, &[self.set]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_and_never_vanish() {
        let sizes = |w, h, n| level_sizes(PixelRect::new(0, 0, w, h), n).collect::<Vec<_>>();
        assert_eq!(sizes(100, 40, 3), [(50, 20), (25, 10), (13, 5)]);
        assert_eq!(sizes(3, 1, 4), [(2, 1), (1, 1), (1, 1), (1, 1)]);
    }
}
