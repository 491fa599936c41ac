//! The device: which one is taken, its queue and its memory.
//!
//! Invariants: Vulkan 1.1 and VK_KHR_swapchain (for windows) are all we ask for ourselves; the rest
//! is what the text renderer wants. A software device is never taken while a real one can do it,
//! unless it is named.
//! Not here: what is made on the device.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ash::{khr, vk};
use gpu_allocator::vulkan::{Allocator, AllocatorCreateDesc};
use gpu_allocator::{AllocationSizes, AllocatorDebugSettings};

use crate::error::Error;
use crate::renderer::DeviceInfo;
use crate::vulkan::failed;
use crate::vulkan::guest::{Guest, Visitor};
use crate::vulkan::instance::Instance;

/// Memory is taken from the driver in blocks of this size: one scene image and its blurs fit.
const BLOCK_BYTES: u64 = 16 << 20;
/// The same for buffers the processor writes.
const HOST_BLOCK_BYTES: u64 = 4 << 20;

/// A logical device with its one queue.
pub(crate) struct Device {
    pub(crate) raw: ash::Device,
    pub(crate) queue: vk::Queue,
    pub(crate) family: u32,
    pub(crate) physical: vk::PhysicalDevice,
    pub(crate) info: DeviceInfo,
    pub(crate) instance: Arc<Instance>,
    // Both are taken only by `drop`.
    guest: Option<Guest>,
    allocator: Option<Mutex<Allocator>>,
}

/// A surface to present to, as far as choosing a device goes.
pub(crate) struct SurfaceCheck<'a> {
    pub(crate) calls: &'a khr::surface::Instance,
    pub(crate) surface: vk::SurfaceKHR,
}

struct Choice {
    physical: vk::PhysicalDevice,
    family: u32,
    info: DeviceInfo,
    rank: u32,
}

impl Device {
    /// Opens the best device, or the one whose name contains `wanted`.
    pub(crate) fn open(
        instance: &Arc<Instance>,
        surface: Option<&SurfaceCheck<'_>>,
        wanted: Option<&str>,
    ) -> Result<Arc<Self>, Error> {
        // SAFETY: the instance lives.
        let all = unsafe { instance.raw.enumerate_physical_devices() }
            .map_err(failed("listing the Vulkan devices"))?;
        let mut choices: Vec<_> =
            all.iter().filter_map(|&physical| inspect(instance, physical, surface)).collect();
        let names: Vec<_> = choices.iter().map(|choice| choice.info.name.clone()).collect();
        if let Some(wanted) = wanted {
            let wanted = wanted.to_lowercase();
            choices.retain(|choice| choice.info.name.to_lowercase().contains(&wanted));
        }
        // Stable: among equals the driver's own order stands.
        choices.sort_by_key(|choice| std::cmp::Reverse(choice.rank));
        let mut why = match wanted {
            Some(wanted) => format!("none of {names:?} is named like {wanted:?}"),
            None => format!("{} found, none with graphics, Vulkan 1.1 and this window", all.len()),
        };
        for choice in choices {
            match Self::create(instance, choice, surface.is_some()) {
                Ok(device) => return Ok(Arc::new(device)),
                Err(e) => why = e.to_string(),
            }
        }
        Err(Error::NoDevice(why))
    }

    fn create(instance: &Arc<Instance>, choice: Choice, presents: bool) -> Result<Self, Error> {
        let Choice { physical, family, info, .. } = choice;
        let candidate = Visitor::new(instance)?
            .look_at(physical)
            .ok_or_else(|| Error::NoDevice(format!("{} cannot draw our text", info.name)))?;
        let mut extensions = candidate.extensions.clone();
        if presents && !extensions.contains(&khr::swapchain::NAME) {
            extensions.push(khr::swapchain::NAME);
        }
        if !presents {
            // The text renderer asks for it wherever it exists; without a window it may not.
            extensions.retain(|name| has_extension(instance, physical, name));
        }
        let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
        let queues = [vk::DeviceQueueCreateInfo::default()
            .queue_family_index(family)
            .queue_priorities(&[1.0])];
        // SAFETY: the family was found on this device, and all pointers live through the call.
        let raw = candidate
            .create_device(&extensions, |info| unsafe {
                let info = info.queue_create_infos(&queues).enabled_extension_names(&names);
                instance.raw.create_device(physical, &info, None)
            })
            .map_err(failed("creating the device"))?;
        // SAFETY: the device was created with one queue of this family.
        let queue = unsafe { raw.get_device_queue(family, 0) };
        // From here on `drop` cleans up.
        let mut device = Self {
            raw,
            queue,
            family,
            physical,
            info,
            instance: Arc::clone(instance),
            guest: None,
            allocator: None,
        };
        device.allocator = Some(Mutex::new(allocator(&device)?));
        device.guest = Some(candidate.move_in(&device.raw, &extensions, family)?);
        Ok(device)
    }

    /// wgpu on this device.
    pub(crate) fn guest(&self) -> Result<&Guest, Error> {
        self.guest.as_ref().ok_or(Error::DeviceLost)
    }

    pub(crate) fn allocator(&self) -> Result<MutexGuard<'_, Allocator>, Error> {
        let allocator = self.allocator.as_ref().ok_or(Error::DeviceLost)?;
        Ok(allocator.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nothing is being drawn.
    pub(crate) fn wait_idle(&self) -> Result<(), Error> {
        // SAFETY: the device lives and its queue is used from this thread only.
        unsafe { self.raw.device_wait_idle() }.map_err(failed("waiting for the device"))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A lost device is idle as well.
        let _ = self.wait_idle();
        let is_free = self.guest.take().is_none_or(Guest::leave);
        self.allocator = None;
        if is_free {
            // SAFETY: idle; everything made on it held an `Arc` of it; wgpu has let go.
            unsafe { self.raw.destroy_device(None) };
        } else {
            // Better a device too many until the process ends than one destroyed under wgpu.
            std::mem::forget(Arc::clone(&self.instance));
        }
    }
}

fn allocator(device: &Device) -> Result<Allocator, Error> {
    Allocator::new(&AllocatorCreateDesc {
        instance: device.instance.raw.clone(),
        device: device.raw.clone(),
        physical_device: device.physical,
        debug_settings: AllocatorDebugSettings::default(),
        buffer_device_address: false,
        allocation_sizes: AllocationSizes::new(BLOCK_BYTES, HOST_BLOCK_BYTES),
    })
    .map_err(|e| Error::OutOfMemory(format!("setting up device memory: {e}")))
}

/// Whether and how well `physical` can serve.
fn inspect(
    instance: &Instance,
    physical: vk::PhysicalDevice,
    surface: Option<&SurfaceCheck<'_>>,
) -> Option<Choice> {
    // SAFETY: the instance lives and the device is one of its own.
    let (properties, families) = unsafe {
        (
            instance.raw.get_physical_device_properties(physical),
            instance.raw.get_physical_device_queue_family_properties(physical),
        )
    };
    if properties.api_version < vk::API_VERSION_1_1 {
        return None;
    }
    if surface.is_some() && !has_extension(instance, physical, khr::swapchain::NAME) {
        return None;
    }
    let family = families.iter().zip(0_u32..).find_map(|(family, index)| {
        let draws = family.queue_flags.contains(vk::QueueFlags::GRAPHICS);
        // SAFETY: surface and device belong to the same instance, the index is one of the device's.
        let presents = surface.is_none_or(|check| unsafe {
            check
                .calls
                .get_physical_device_surface_support(physical, index, check.surface)
                .unwrap_or(false)
        });
        (draws && presents).then_some(index)
    })?;
    let rank = match properties.device_type {
        vk::PhysicalDeviceType::DISCRETE_GPU => 4,
        vk::PhysicalDeviceType::INTEGRATED_GPU => 3,
        vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
        vk::PhysicalDeviceType::CPU => 0,
        _ => 1,
    };
    let name = properties.device_name_as_c_str().unwrap_or(c"unnamed");
    let info = DeviceInfo {
        name: name.to_string_lossy().into_owned(),
        software: properties.device_type == vk::PhysicalDeviceType::CPU,
    };
    Some(Choice { physical, family, info, rank })
}

fn has_extension(instance: &Instance, physical: vk::PhysicalDevice, name: &CStr) -> bool {
    // SAFETY: the instance lives and the device is one of its own.
    let all = unsafe { instance.raw.enumerate_device_extension_properties(physical) };
    all.is_ok_and(|all| all.iter().any(|one| one.extension_name_as_c_str() == Ok(name)))
}
