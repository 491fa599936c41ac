//! The window's surface and the images presented to it.
//!
//! Invariants: a swapchain has the format and size of the scene image, which is copied to it whole;
//! the window outlives its surface.
//! Not here: what is copied (`gpu`).

use std::rc::Rc;
use std::sync::Arc;

use ash::{khr, vk};
use raw_window_handle::{HasDisplayHandle, HasWindowHandle, RawWindowHandle};

use crate::error::Error;
use crate::vulkan::device::{Device, SurfaceCheck};
use crate::vulkan::failed;
use crate::vulkan::instance::Instance;

/// A window that hands out no picture this long is hidden or hangs; the frame is then given up and
/// tried again with the next event.
const ACQUIRE_TIMEOUT_NS: u64 = 1_000_000_000;

/// A window as far as we care.
pub(crate) trait Window: HasWindowHandle + HasDisplayHandle {}
impl<W: HasWindowHandle + HasDisplayHandle> Window for W {}

/// A window's surface.
pub(crate) struct Surface {
    pub(crate) raw: vk::SurfaceKHR,
    calls: khr::surface::Instance,
    is_wayland: bool,
    // After the surface in this order: it needs both until it is destroyed.
    _instance: Arc<Instance>,
    _window: Rc<dyn Window>,
}

/// What can be presented with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Formats {
    /// Of the scene image: never with an sRGB transfer, so that we blend what is stored.
    pub(crate) scene: vk::Format,
    /// Of the swapchain: the same bits.
    present: vk::Format,
}

impl Formats {
    /// Without a window anything goes.
    pub(crate) const OFFSCREEN: Self =
        Self { scene: vk::Format::B8G8R8A8_UNORM, present: vk::Format::B8G8R8A8_UNORM };
}

impl Surface {
    pub(crate) fn new(instance: &Arc<Instance>, window: &Rc<dyn Window>) -> Result<Self, Error> {
        let no_handle = |e| Error::Surface(format!("it has no handle ({e})"));
        let display = window.display_handle().map_err(no_handle)?.as_raw();
        let handle = window.window_handle().map_err(no_handle)?.as_raw();
        // SAFETY: both handles are valid as long as the window, which is kept below.
        let raw = unsafe {
            ash_window::create_surface(&instance.entry, &instance.raw, display, handle, None)
        }
        .map_err(|code| Error::Surface(format!("no surface for it ({code:?})")))?;
        Ok(Self {
            raw,
            calls: khr::surface::Instance::new(&instance.entry, &instance.raw),
            is_wayland: matches!(handle, RawWindowHandle::Wayland(_)),
            _instance: Arc::clone(instance),
            _window: Rc::clone(window),
        })
    }

    pub(crate) fn check(&self) -> SurfaceCheck<'_> {
        SurfaceCheck { calls: &self.calls, surface: self.raw }
    }

    /// The window's size where it has one of its own (on Wayland it is what we make it).
    fn extent(&self, device: &Device) -> Result<Option<(u32, u32)>, Error> {
        let now = self.capabilities(device)?.current_extent;
        Ok((now.width != u32::MAX).then_some((now.width, now.height)))
    }

    fn capabilities(&self, device: &Device) -> Result<vk::SurfaceCapabilitiesKHR, Error> {
        // SAFETY: surface and device are of one instance.
        unsafe { self.calls.get_physical_device_surface_capabilities(device.physical, self.raw) }
            .map_err(failed("asking for the window's size"))
    }

    /// The formats to use with `device`.
    pub(crate) fn formats(&self, device: &Device) -> Result<Formats, Error> {
        // SAFETY: surface and device are of one instance.
        let all =
            unsafe { self.calls.get_physical_device_surface_formats(device.physical, self.raw) }
                .map_err(failed("asking for the window's formats"))?;
        let offers = |format| {
            let space = vk::ColorSpaceKHR::SRGB_NONLINEAR;
            all.iter().any(|one| one.format == format && one.color_space == space)
        };
        let bgra = vk::Format::B8G8R8A8_UNORM;
        let rgba = vk::Format::R8G8B8A8_UNORM;
        // The pairs have the same bits: what we copy is already encoded.
        let choices = [
            (bgra, bgra),
            (rgba, rgba),
            (bgra, vk::Format::B8G8R8A8_SRGB),
            (rgba, vk::Format::R8G8B8A8_SRGB),
        ];
        let choice = choices.into_iter().find(|(_, present)| offers(*present));
        choice
            .map(|(scene, present)| Formats { scene, present })
            .ok_or_else(|| Error::Surface("it takes no 8-bit RGB".into()))
    }
}

impl Drop for Surface {
    fn drop(&mut self) {
        // SAFETY: the swapchain made from it is gone (it is dropped first, see `Gpu`).
        unsafe { self.calls.destroy_surface(self.raw, None) };
    }
}

/// What came of asking for the next image.
pub(crate) enum Acquired {
    /// Its number.
    Image(u32),
    /// The window has changed: build the swapchain anew.
    OutOfDate,
    /// The window takes no pictures now.
    Busy,
}

/// The images of one size.
pub(crate) struct Swapchain {
    pub(crate) extent: (u32, u32),
    calls: khr::swapchain::Device,
    raw: vk::SwapchainKHR,
    images: Vec<vk::Image>,
    /// For each image: signaled when its copy is done.
    copied: Vec<vk::Semaphore>,
    device: Arc<Device>,
}

impl Swapchain {
    /// For a window of `size`; `None` while it has no area. The device is idle.
    pub(crate) fn new(
        device: &Arc<Device>,
        surface: &Surface,
        formats: Formats,
        size: (u32, u32),
        old: Option<Self>,
    ) -> Result<Option<Self>, Error> {
        let capabilities = surface.capabilities(device)?;
        // SAFETY: surface and device are of one instance.
        let modes = unsafe {
            surface.calls.get_physical_device_surface_present_modes(device.physical, surface.raw)
        }
        .map_err(failed("asking how to present"))?;
        let extent = extent(&capabilities, size);
        if extent.width == 0 || extent.height == 0 {
            return Ok(None);
        }
        let usage = vk::ImageUsageFlags::TRANSFER_DST;
        if !capabilities.supported_usage_flags.contains(usage) {
            return Err(Error::Surface("it cannot be copied to".into()));
        }
        let mode = present_mode(surface, &modes);
        let info = vk::SwapchainCreateInfoKHR::default()
            .surface(surface.raw)
            .min_image_count(images_count(&capabilities))
            .image_format(formats.present)
            .image_color_space(vk::ColorSpaceKHR::SRGB_NONLINEAR)
            .image_extent(extent)
            .image_array_layers(1)
            .image_usage(usage)
            .pre_transform(capabilities.current_transform)
            .composite_alpha(composite_alpha(&capabilities))
            .present_mode(mode)
            .clipped(true)
            .old_swapchain(old.as_ref().map_or(vk::SwapchainKHR::null(), |old| old.raw));
        let calls = khr::swapchain::Device::new(&device.instance.raw, &device.raw);
        // SAFETY: all it points to lives; the old swapchain is retired by this and dropped below.
        let raw = unsafe { calls.create_swapchain(&info, None) }
            .map_err(failed("creating the swapchain"))?;
        drop(old);
        let mut chain = Self {
            extent: (extent.width, extent.height),
            calls,
            raw,
            images: Vec::new(),
            copied: Vec::new(),
            device: Arc::clone(device),
        };
        // SAFETY: just created.
        chain.images = unsafe { chain.calls.get_swapchain_images(raw) }
            .map_err(failed("listing the window's images"))?;
        for _ in 0..chain.images.len() {
            // SAFETY: a plain description; the device lives.
            let semaphore = unsafe { device.raw.create_semaphore(&SEMAPHORE, None) }
                .map_err(failed("creating a semaphore"))?;
            chain.copied.push(semaphore);
        }
        Ok(Some(chain))
    }

    /// Asks for an image; `acquired` is signaled when it may be written.
    pub(crate) fn acquire(&self, acquired: vk::Semaphore) -> Result<Acquired, Error> {
        let none = vk::Fence::null();
        // SAFETY: the semaphore has no operation pending: the frame's fence was waited for.
        let next =
            unsafe { self.calls.acquire_next_image(self.raw, ACQUIRE_TIMEOUT_NS, acquired, none) };
        match next {
            // Suboptimal still shows; presenting will say so again and rebuild.
            Ok((index, _)) => Ok(Acquired::Image(index)),
            Err(vk::Result::ERROR_OUT_OF_DATE_KHR) => Ok(Acquired::OutOfDate),
            Err(vk::Result::TIMEOUT | vk::Result::NOT_READY) => Ok(Acquired::Busy),
            Err(code) => Err(failed("waiting for the window")(code)),
        }
    }

    /// An image and the semaphore to signal when it is written.
    pub(crate) fn image(&self, index: u32) -> Option<(vk::Image, vk::Semaphore)> {
        let at = usize::try_from(index).ok()?;
        Some((*self.images.get(at)?, *self.copied.get(at)?))
    }

    /// Shows an image; `Ok(false)`: it no longer fits the window.
    pub(crate) fn present(&self, surface: &Surface, index: u32) -> Result<bool, Error> {
        let Some((_, copied)) = self.image(index) else { return Ok(false) };
        let (waits, chains, indices) = ([copied], [self.raw], [index]);
        let info = vk::PresentInfoKHR::default()
            .wait_semaphores(&waits)
            .swapchains(&chains)
            .image_indices(&indices);
        // SAFETY: the image was acquired, and its copy, which signals the semaphore, submitted.
        match unsafe { self.calls.queue_present(self.device.queue, &info) } {
            // It is shown all the same. Some drivers call every picture suboptimal for reasons a
            // new swapchain does not cure, so only another size is one.
            Ok(true) => Ok(surface.extent(&self.device)?.is_none_or(|now| now == self.extent)),
            Ok(false) => Ok(true),
            Err(vk::Result::ERROR_OUT_OF_DATE_KHR) => Ok(false),
            Err(code) => Err(failed("presenting")(code)),
        }
    }
}

impl Drop for Swapchain {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device; the surface still lives.
        unsafe {
            for semaphore in self.copied.drain(..) {
                self.device.raw.destroy_semaphore(semaphore, None);
            }
            self.calls.destroy_swapchain(self.raw, None);
        }
    }
}

const SEMAPHORE: vk::SemaphoreCreateInfo<'static> = vk::SemaphoreCreateInfo {
    s_type: vk::StructureType::SEMAPHORE_CREATE_INFO,
    p_next: std::ptr::null(),
    flags: vk::SemaphoreCreateFlags::empty(),
    _marker: std::marker::PhantomData,
};

/// The window's own size; a Wayland window has none until we present.
fn extent(capabilities: &vk::SurfaceCapabilitiesKHR, (width, height): (u32, u32)) -> vk::Extent2D {
    if capabilities.current_extent.width != u32::MAX {
        return capabilities.current_extent;
    }
    let (min, max) = (capabilities.min_image_extent, capabilities.max_image_extent);
    if width == 0 || height == 0 {
        return vk::Extent2D::default();
    }
    vk::Extent2D {
        width: width.max(min.width).min(max.width),
        height: height.max(min.height).min(max.height),
    }
}

/// On Wayland a hidden window's FIFO would block this thread inside the driver; MAILBOX never does,
/// and the frame callback paces us instead. Elsewhere FIFO, which every device has.
fn present_mode(surface: &Surface, modes: &[vk::PresentModeKHR]) -> vk::PresentModeKHR {
    if surface.is_wayland && modes.contains(&vk::PresentModeKHR::MAILBOX) {
        vk::PresentModeKHR::MAILBOX
    } else {
        vk::PresentModeKHR::FIFO
    }
}

/// One more than the least, so that asking for an image seldom waits.
fn images_count(capabilities: &vk::SurfaceCapabilitiesKHR) -> u32 {
    let wanted = capabilities.min_image_count + 1;
    // Zero: no limit.
    if capabilities.max_image_count == 0 {
        wanted
    } else {
        wanted.min(capabilities.max_image_count)
    }
}

fn composite_alpha(capabilities: &vk::SurfaceCapabilitiesKHR) -> vk::CompositeAlphaFlagsKHR {
    let supported = capabilities.supported_composite_alpha;
    // Every pixel of ours is opaque, so any of them shows the same.
    [
        vk::CompositeAlphaFlagsKHR::OPAQUE,
        vk::CompositeAlphaFlagsKHR::INHERIT,
        vk::CompositeAlphaFlagsKHR::PRE_MULTIPLIED,
    ]
    .into_iter()
    .find(|one| supported.contains(*one))
    .unwrap_or(vk::CompositeAlphaFlagsKHR::POST_MULTIPLIED)
}
