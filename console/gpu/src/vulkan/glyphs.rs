//! Text on the scene image, by glyphon.
//!
//! [`Text`] is all the rest knows of it, so that an atlas of our own could take its place.
//! Invariants: one glyphon renderer a stratum, one atlas for all; a text's pixels never leave what
//! [`crate::text::bounds`] says, which the damage relies on.
//! Not here: layout (`text`), wgpu's handles (`guest`).

use std::sync::Arc;

use ash::vk;
use glyphon::{
    Cache, Color as GlyphColor, ColorMode, PrepareError, Resolution, SwashCache, TextArea,
    TextAtlas, TextBounds, TextRenderer, Viewport,
};

use crate::error::Error;
use crate::region::PixelRect;
use crate::scene;
use crate::text::{self, layout::Layout};
use crate::vulkan::device::Device;
use crate::vulkan::guest::GuestImage;

/// Draws the texts of a frame, one stratum at a time, with submissions of its own.
pub(crate) trait Text {
    /// The image to draw on. It is in COLOR_ATTACHMENT_OPTIMAL whenever [`Self::draw`] is called,
    /// and stays so.
    fn set_target(&mut self, image: vk::Image, size: (u32, u32)) -> Result<(), Error>;

    /// Gives the image back; afterwards it may be destroyed.
    fn drop_target(&mut self) -> Result<(), Error>;

    /// Takes the texts of each stratum in, before any is drawn.
    fn prepare(
        &mut self,
        fonts: &mut text::Inner,
        strata: &[Vec<&scene::Text>],
    ) -> Result<(), Error>;

    /// Draws one stratum's texts inside the rectangles. Everything drawn so far is submitted.
    fn draw(&mut self, stratum: usize, parts: &[PixelRect]) -> Result<(), Error>;

    /// The frame is complete.
    fn finish(&mut self) -> Result<(), Error>;
}

/// [`Text`] by glyphon.
pub(crate) struct Glyphon {
    // Views and buffers of wgpu's go before the device they keep alive.
    target: Option<GuestImage>,
    renderers: Vec<TextRenderer>,
    atlas: TextAtlas,
    viewport: Viewport,
    rasters: SwashCache,
    format: wgpu::TextureFormat,
    device: Arc<Device>,
}

impl Glyphon {
    pub(crate) fn new(device: &Arc<Device>, format: vk::Format) -> Result<Self, Error> {
        let guest = device.guest()?;
        let format = match format {
            vk::Format::R8G8B8A8_UNORM => wgpu::TextureFormat::Rgba8Unorm,
            _ => wgpu::TextureFormat::Bgra8Unorm,
        };
        let cache = Cache::new(&guest.device);
        // Blending on the stored values, as a browser does and as our own pipelines do.
        let mode = ColorMode::Web;
        let atlas = TextAtlas::with_color_mode(&guest.device, &guest.queue, &cache, format, mode);
        let viewport = Viewport::new(&guest.device, &cache);
        guest.tidy()?;
        Ok(Self {
            target: None,
            renderers: Vec::new(),
            atlas,
            viewport,
            rasters: SwashCache::new(),
            format,
            device: Arc::clone(device),
        })
    }

    /// One stratum's texts; `Ok(false)` where the atlas is full.
    fn prepare_stratum(
        &mut self,
        fonts: &mut text::Inner,
        stratum: usize,
        areas: &[Placed<'_>],
    ) -> Result<bool, Error> {
        let guest = self.device.guest()?;
        while self.renderers.len() <= stratum {
            let samples = wgpu::MultisampleState::default();
            let renderer = TextRenderer::new(&mut self.atlas, &guest.device, samples, None);
            self.renderers.push(renderer);
        }
        let Some(renderer) = self.renderers.get_mut(stratum) else { return Ok(true) };
        let prepared = renderer.prepare(
            &guest.device,
            &guest.queue,
            &mut fonts.system,
            &mut self.atlas,
            &self.viewport,
            areas.iter().map(Placed::area),
            &mut self.rasters,
        );
        match prepared {
            Ok(()) => Ok(true),
            Err(PrepareError::AtlasFull) => Ok(false),
        }
    }
}

impl Text for Glyphon {
    fn set_target(&mut self, image: vk::Image, size: (u32, u32)) -> Result<(), Error> {
        let guest = self.device.guest()?;
        let resolution = Resolution { width: size.0, height: size.1 };
        self.viewport.update(&guest.queue, resolution);
        self.target = Some(guest.wrap(image, self.format, size)?);
        Ok(())
    }

    fn drop_target(&mut self) -> Result<(), Error> {
        match self.target.take() {
            Some(target) => self.device.guest()?.unwrap_image(target),
            None => Ok(()),
        }
    }

    fn prepare(
        &mut self,
        fonts: &mut text::Inner,
        strata: &[Vec<&scene::Text>],
    ) -> Result<(), Error> {
        for (stratum, texts) in strata.iter().enumerate() {
            let areas: Vec<_> = texts.iter().map(|text| Placed::new(fonts, text)).collect();
            if !self.prepare_stratum(fonts, stratum, &areas)? {
                // Only this frame's own glyphs are held, and they alone overflow the largest atlas
                // (tens of thousands): the stratum goes without text rather than the frame without
                // strata. The empty call also forgets what was half prepared.
                self.prepare_stratum(fonts, stratum, &[])?;
            }
        }
        Ok(())
    }

    fn draw(&mut self, stratum: usize, parts: &[PixelRect]) -> Result<(), Error> {
        let guest = self.device.guest()?;
        let (Some(renderer), Some(target)) = (self.renderers.get(stratum), &self.target) else {
            return Ok(());
        };
        let mut encoder =
            guest.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &target.view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations { load: wgpu::LoadOp::Load, store: wgpu::StoreOp::Store },
                })],
                ..wgpu::RenderPassDescriptor::default()
            });
            for part in parts {
                let left = u32::try_from(part.x0).unwrap_or(0);
                let top = u32::try_from(part.y0).unwrap_or(0);
                pass.set_scissor_rect(left, top, part.width(), part.height());
                renderer
                    .render(&self.atlas, &self.viewport, &mut pass)
                    .map_err(|e| Error::Driver(format!("drawing text: {e}")))?;
            }
        }
        guest.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        // Marks all glyphs as free to go; they stay until their room is needed.
        self.atlas.trim();
        self.device.guest()?.tidy()
    }
}

/// A text with its layout, where glyphon is to put it.
struct Placed<'a> {
    text: &'a scene::Text,
    layout: Arc<Layout>,
    bounds: PixelRect,
}

impl<'a> Placed<'a> {
    fn new(fonts: &mut text::Inner, text: &'a scene::Text) -> Self {
        let layout = fonts.layout(&text.text, text.style, text.max_width, text.wrap);
        let bounds = text::bounds(text, layout.size());
        Self { text, layout, bounds }
    }

    fn area(&self) -> TextArea<'_> {
        let color = self.text.color;
        TextArea {
            buffer: self.layout.buffer(),
            left: self.text.x,
            // A baseline between two rows of pixels would smear every letter.
            top: self.text.y.round(),
            scale: 1.0,
            bounds: TextBounds {
                left: self.bounds.x0,
                top: self.bounds.y0,
                right: self.bounds.x1,
                bottom: self.bounds.y1,
            },
            default_color: GlyphColor::rgba(color.r, color.g, color.b, color.a),
            custom_glyphs: &[],
        }
    }
}
