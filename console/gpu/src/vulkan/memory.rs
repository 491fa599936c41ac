//! Images and buffers with the memory under them.
//!
//! Invariant: an object is destroyed before its memory is freed, and both before the device. The
//! owner makes sure that the device is done with it.
//! Not here: what is in them.

use std::sync::Arc;

use ash::vk;
use gpu_allocator::MemoryLocation;
use gpu_allocator::vulkan::{Allocation, AllocationCreateDesc, AllocationScheme};

use crate::error::Error;
use crate::vulkan::device::Device;
use crate::vulkan::failed;

/// A two-dimensional color image.
pub(crate) struct Image {
    pub(crate) raw: vk::Image,
    pub(crate) size: (u32, u32),
    device: Arc<Device>,
    allocation: Option<Allocation>,
}

/// A way to look at an image.
pub(crate) struct View {
    pub(crate) raw: vk::ImageView,
    device: Arc<Device>,
}

/// A buffer the processor reads or writes.
pub(crate) struct Buffer {
    pub(crate) raw: vk::Buffer,
    pub(crate) bytes: u64,
    device: Arc<Device>,
    allocation: Option<Allocation>,
}

/// All of an image.
pub(crate) const COLOR: vk::ImageSubresourceRange = vk::ImageSubresourceRange {
    aspect_mask: vk::ImageAspectFlags::COLOR,
    base_mip_level: 0,
    level_count: 1,
    base_array_layer: 0,
    layer_count: 1,
};

/// All of an image, for copies.
pub(crate) const LAYER: vk::ImageSubresourceLayers = vk::ImageSubresourceLayers {
    aspect_mask: vk::ImageAspectFlags::COLOR,
    mip_level: 0,
    base_array_layer: 0,
    layer_count: 1,
};

impl Image {
    pub(crate) fn new(
        device: &Arc<Device>,
        size: (u32, u32),
        format: vk::Format,
        usage: vk::ImageUsageFlags,
        flags: vk::ImageCreateFlags,
    ) -> Result<Self, Error> {
        let extent = vk::Extent3D { width: size.0, height: size.1, depth: 1 };
        let info = vk::ImageCreateInfo::default()
            .flags(flags)
            .image_type(vk::ImageType::TYPE_2D)
            .format(format)
            .extent(extent)
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(vk::ImageTiling::OPTIMAL)
            .usage(usage);
        // SAFETY: a plain description; the device lives.
        let raw =
            unsafe { device.raw.create_image(&info, None) }.map_err(failed("creating an image"))?;
        // From here on `drop` cleans up.
        let mut image = Self { raw, size, device: Arc::clone(device), allocation: None };
        // SAFETY: the image is the device's own.
        let requirements = unsafe { device.raw.get_image_memory_requirements(raw) };
        let allocation = device
            .allocator()?
            .allocate(&AllocationCreateDesc {
                name: "image",
                requirements,
                location: MemoryLocation::GpuOnly,
                linear: false,
                allocation_scheme: AllocationScheme::GpuAllocatorManaged,
            })
            .map_err(|e| Error::OutOfMemory(format!("creating an image: {e}")))?;
        // SAFETY: fresh memory that meets the requirements, bound once.
        let bound =
            unsafe { device.raw.bind_image_memory(raw, allocation.memory(), allocation.offset()) };
        image.allocation = Some(allocation);
        bound.map_err(failed("binding an image"))?;
        Ok(image)
    }

    pub(crate) fn view(&self, format: vk::Format) -> Result<View, Error> {
        let info = vk::ImageViewCreateInfo::default()
            .image(self.raw)
            .view_type(vk::ImageViewType::TYPE_2D)
            .format(format)
            .subresource_range(COLOR);
        // SAFETY: the image is bound; its owner keeps it as long as the view.
        let raw = unsafe { self.device.raw.create_image_view(&info, None) }
            .map_err(failed("creating a view"))?;
        Ok(View { raw, device: Arc::clone(&self.device) })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device to be done with it.
        unsafe { self.device.raw.destroy_image(self.raw, None) };
        free(&self.device, self.allocation.take());
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device to be done with it.
        unsafe { self.device.raw.destroy_image_view(self.raw, None) };
    }
}

impl Buffer {
    pub(crate) fn new(
        device: &Arc<Device>,
        bytes: u64,
        usage: vk::BufferUsageFlags,
        location: MemoryLocation,
    ) -> Result<Self, Error> {
        let info = vk::BufferCreateInfo::default().size(bytes).usage(usage);
        // SAFETY: a plain description; the device lives.
        let raw = unsafe { device.raw.create_buffer(&info, None) }
            .map_err(failed("creating a buffer"))?;
        // From here on `drop` cleans up.
        let mut buffer = Self { raw, bytes, device: Arc::clone(device), allocation: None };
        // SAFETY: the buffer is the device's own.
        let requirements = unsafe { device.raw.get_buffer_memory_requirements(raw) };
        let allocation = device
            .allocator()?
            .allocate(&AllocationCreateDesc {
                name: "buffer",
                requirements,
                location,
                linear: true,
                allocation_scheme: AllocationScheme::GpuAllocatorManaged,
            })
            .map_err(|e| Error::OutOfMemory(format!("creating a buffer: {e}")))?;
        // SAFETY: fresh memory that meets the requirements, bound once.
        let bound =
            unsafe { device.raw.bind_buffer_memory(raw, allocation.memory(), allocation.offset()) };
        buffer.allocation = Some(allocation);
        bound.map_err(failed("binding a buffer"))?;
        Ok(buffer)
    }

    /// Copies `data` to byte `offset`; what does not fit is an error.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), Error> {
        let mapped = self.allocation.as_mut().and_then(Allocation::mapped_slice_mut);
        let place = mapped.and_then(|all| all.get_mut(offset..offset + data.len()));
        let place = place.ok_or_else(|| Error::Driver("writing a buffer".into()))?;
        place.copy_from_slice(data);
        Ok(())
    }

    /// What the device wrote.
    pub(crate) fn read(&self) -> Result<&[u8], Error> {
        let mapped = self.allocation.as_ref().and_then(Allocation::mapped_slice);
        mapped.ok_or_else(|| Error::Driver("reading a buffer".into()))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the owner has waited for the device to be done with it.
        unsafe { self.device.raw.destroy_buffer(self.raw, None) };
        free(&self.device, self.allocation.take());
    }
}

fn free(device: &Device, allocation: Option<Allocation>) {
    if let (Ok(mut allocator), Some(allocation)) = (device.allocator(), allocation) {
        // Fails only for memory of another allocator.
        let _ = allocator.free(allocation);
    }
}
