//! Strata into command buffers: panels, rectangles and lines, all but the texts.
//!
//! Invariant: between passes the scene image is in COLOR_ATTACHMENT_OPTIMAL.
//! Not here: submitting (`gpu`).

use ash::vk;
use bytemuck::{Pod, Zeroable};

use crate::batch::{Part, StratumBatch, bytes_of};
use crate::damage;
use crate::region::PixelRect;
use crate::scene::{Color, Glass, Stratum};
use crate::vulkan::blur::{Blurs, tap};
use crate::vulkan::pipelines::{Pipelines, STAGES};
use crate::vulkan::target::{Target, barrier};

/// 1.5 % of noise hides the bands of a blur.
const GLASS_NOISE: f32 = 0.015;

const GRAPHICS: vk::PipelineBindPoint = vk::PipelineBindPoint::GRAPHICS;

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

/// What recording a stratum needs.
pub(crate) struct Recorder<'a> {
    pub(crate) device: &'a ash::Device,
    pub(crate) pipelines: &'a Pipelines,
    pub(crate) blurs: &'a Blurs,
    pub(crate) target: &'a Target,
    pub(crate) instances: vk::Buffer,
    pub(crate) offsets: [u64; 2],
}

impl Recorder<'_> {
    /// Paints the region in the background color.
    pub(crate) fn clear(
        &self,
        commands: vk::CommandBuffer,
        background: Color,
        region: &[PixelRect],
    ) {
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
    pub(crate) fn stratum(
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

impl StratumBatch {
    /// Whether there is anything but texts.
    pub(crate) fn has_shapes(&self) -> bool {
        let has = |part: &Part| {
            !part.panels.is_empty() || !part.rects.is_empty() || !part.lines.is_empty()
        };
        !self.stale.is_empty() || self.parts.iter().any(has)
    }
}

fn rect_2d(part: PixelRect) -> vk::Rect2D {
    vk::Rect2D {
        offset: vk::Offset2D { x: part.x0, y: part.y0 },
        extent: vk::Extent2D { width: part.width(), height: part.height() },
    }
}
