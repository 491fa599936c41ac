//! wgpu as a guest on our Vulkan device: the one place where its handles and ours meet.
//!
//! glyphon draws through wgpu, so wgpu is given our instance, device, queue and scene image; it
//! owns none of them. Invariants: nothing of ours is destroyed before wgpu's drop callback for it
//! has run ([`Guest::is_gone`]); wgpu's instance flags stay empty (its debug flag names objects
//! that the layers then complain of).
//! Not here: drawing text (`glyphs`).

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ash::vk;
use wgpu::hal::vulkan as hal;

use crate::error::Error;
use crate::vulkan::instance::Instance;

type Api = wgpu::hal::api::Vulkan;

/// Text needs nothing beyond the core.
const FEATURES: wgpu::Features = wgpu::Features::empty();

/// The instance extensions wgpu assumes where they exist; those for windows are among them.
pub(crate) fn instance_extensions(
    entry: &ash::Entry,
    version: u32,
) -> Result<Vec<&'static CStr>, Error> {
    hal::Instance::desired_extensions(entry, version, wgpu::InstanceFlags::empty())
        .map_err(|e| Error::NoDevice(format!("no list of instance extensions ({e})")))
}

/// wgpu with an instance but no device yet.
pub(crate) struct Visitor {
    instance: hal::Instance,
    alive: Arc<AtomicUsize>,
}

/// wgpu's look at one physical device: what it wants enabled.
pub(crate) struct Candidate {
    visitor: Visitor,
    exposed: wgpu::hal::ExposedAdapter<Api>,
    pub(crate) extensions: Vec<&'static CStr>,
}

/// wgpu on our device.
pub(crate) struct Guest {
    // Dropped in this order.
    pub(crate) queue: wgpu::Queue,
    pub(crate) device: wgpu::Device,
    _adapter: wgpu::Adapter,
    _instance: wgpu::Instance,
    alive: Arc<AtomicUsize>,
    failed: Arc<AtomicBool>,
}

/// The scene image as wgpu sees it.
pub(crate) struct GuestImage {
    pub(crate) view: wgpu::TextureView,
    _texture: wgpu::Texture,
    alive: Arc<AtomicUsize>,
}

impl Visitor {
    pub(crate) fn new(instance: &Arc<Instance>) -> Result<Self, Error> {
        let alive = Arc::new(AtomicUsize::new(0));
        // SAFETY: entry, instance, version and extensions belong together; the callback keeps the
        // instance alive until wgpu has let go of it.
        let raw = unsafe {
            hal::Instance::from_raw(
                instance.entry.clone(),
                instance.raw.clone(),
                instance.version,
                0,
                None,
                instance.extensions.clone(),
                wgpu::InstanceFlags::empty(),
                wgpu::MemoryBudgetThresholds::default(),
                false,
                Some(on_drop(&alive, Some(Arc::clone(instance)))),
            )
        };
        let instance = raw.map_err(|e| Error::NoDevice(format!("the text renderer: {e}")))?;
        Ok(Self { instance, alive })
    }

    /// What wgpu wants of `physical`; `None` where it cannot use it at all.
    pub(crate) fn look_at(self, physical: vk::PhysicalDevice) -> Option<Candidate> {
        let exposed = self.instance.expose_adapter(physical)?;
        let extensions = exposed.adapter.required_device_extensions(FEATURES);
        Some(Candidate { visitor: self, exposed, extensions })
    }
}

impl Candidate {
    /// Calls `create` with the features wgpu wants already chained.
    pub(crate) fn create_device<T>(
        &self,
        extensions: &[&'static CStr],
        create: impl FnOnce(vk::DeviceCreateInfo<'_>) -> T,
    ) -> T {
        let mut features = self.exposed.adapter.physical_device_features(extensions, FEATURES);
        create(features.add_to_device_create(vk::DeviceCreateInfo::default()))
    }

    /// Moves in. `device` was made by [`Self::create_device`] with `extensions` and one queue of
    /// `family`, and outlives the guest.
    pub(crate) fn move_in(
        self,
        device: &ash::Device,
        extensions: &[&'static CStr],
        family: u32,
    ) -> Result<Guest, Error> {
        let Self { visitor, exposed, .. } = self;
        let limits = wgpu::Limits::downlevel_defaults()
            .using_resolution(exposed.capabilities.limits.clone());
        let hints = wgpu::MemoryHints::MemoryUsage;
        let alive = Arc::clone(&visitor.alive);
        let refused = |e: String| Error::NoDevice(format!("the text renderer: {e}"));
        // SAFETY: the device was created from this adapter with its extensions and features; it is
        // destroyed by us alone, after the callback (`Guest::is_gone`).
        let open = unsafe {
            exposed.adapter.device_from_raw(
                device.clone(),
                Some(on_drop(&alive, None)),
                extensions,
                FEATURES,
                &limits,
                &hints,
                family,
                0,
            )
        }
        .map_err(|e| refused(e.to_string()))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: FEATURES,
            required_limits: limits,
            memory_hints: hints,
            ..wgpu::DeviceDescriptor::default()
        };
        // SAFETY: the three handles come from one another, in this order.
        let (instance, adapter, opened) = unsafe {
            let instance = wgpu::Instance::from_hal::<Api>(visitor.instance);
            let adapter = instance.create_adapter_from_hal(exposed);
            let opened = adapter.create_device_from_hal(open, &descriptor);
            (instance, adapter, opened)
        };
        let (device, queue) = opened.map_err(|e| refused(e.to_string()))?;
        let failed = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&failed);
        // Without a handler wgpu panics.
        device.on_uncaptured_error(Arc::new(move |_| mark.store(true, Ordering::SeqCst)));
        Ok(Guest { queue, device, _adapter: adapter, _instance: instance, alive, failed })
    }
}

impl Guest {
    /// Shows wgpu the scene image, which must be in COLOR_ATTACHMENT_OPTIMAL whenever a wgpu pass
    /// draws to it and stays so.
    pub(crate) fn wrap(
        &self,
        image: vk::Image,
        format: wgpu::TextureFormat,
        (width, height): (u32, u32),
    ) -> Result<GuestImage, Error> {
        let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        let alive = Arc::new(AtomicUsize::new(0));
        let gone = || Error::Driver("showing the picture to the text renderer".into());
        // SAFETY: the image matches the description, and is destroyed only after the callback
        // (`GuestImage::is_gone`). Its layout is COLOR_ATTACHMENT_OPTIMAL by then, so the state
        // wgpu tracks is true and it never needs a barrier.
        let texture = unsafe {
            let raw = self.device.as_hal::<Api>().ok_or_else(gone)?.texture_from_raw(
                image,
                &wgpu::hal::TextureDescriptor {
                    label: None,
                    size,
                    mip_level_count: 1,
                    sample_count: 1,
                    dimension: wgpu::TextureDimension::D2,
                    format,
                    usage: wgpu::TextureUses::COLOR_TARGET,
                    memory_flags: wgpu::hal::MemoryFlags::empty(),
                    view_formats: Vec::new(),
                },
                Some(on_drop(&alive, None)),
                hal::TextureMemory::External,
            );
            self.device.create_texture_from_hal::<Api>(
                raw,
                &wgpu::TextureDescriptor {
                    label: None,
                    size,
                    mip_level_count: 1,
                    sample_count: 1,
                    dimension: wgpu::TextureDimension::D2,
                    format,
                    usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
                    view_formats: &[],
                },
                wgpu::TextureUses::COLOR_TARGET,
            )
        };
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(GuestImage { view, _texture: texture, alive })
    }

    /// Gives the image back; after `Ok` wgpu holds nothing of it.
    pub(crate) fn unwrap_image(&self, image: GuestImage) -> Result<(), Error> {
        let alive = Arc::clone(&image.alive);
        drop(image);
        // wgpu frees what the queue still used only when it is polled.
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        if polled.is_err() || alive.load(Ordering::SeqCst) != 0 {
            return Err(Error::Driver("taking the picture back from the text renderer".into()));
        }
        Ok(())
    }

    /// Frees what finished work used.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let polled = self.device.poll(wgpu::PollType::Poll);
        if polled.is_err() || self.failed.swap(false, Ordering::SeqCst) {
            return Err(Error::Driver("drawing text".into()));
        }
        Ok(())
    }

    /// Leaves; `true` once wgpu holds neither device nor instance.
    pub(crate) fn leave(self) -> bool {
        let alive = Arc::clone(&self.alive);
        // Not finding idle means the device is lost; what is freed then is freed by dropping.
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
        drop(self);
        alive.load(Ordering::SeqCst) == 0
    }
}

/// Counts a thing of ours as held until the callback runs, and keeps `owner` until then.
fn on_drop(alive: &Arc<AtomicUsize>, owner: Option<Arc<Instance>>) -> wgpu::hal::DropCallback {
    alive.fetch_add(1, Ordering::SeqCst);
    let alive = Arc::clone(alive);
    Box::new(move || {
        alive.fetch_sub(1, Ordering::SeqCst);
        let _ = &owner;
    })
}
