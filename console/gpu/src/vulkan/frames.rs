//! What a frame needs of its own: command buffers, a fence, and room for instances.
//!
//! Invariants: a frame's things are used again only after its fence; the fence is reset right
//! before the submission that signals it, so a frame given up halfway never waits forever.
//! Not here: what is recorded (`gpu`).

use std::sync::Arc;

use ash::vk;
use gpu_allocator::MemoryLocation;

use crate::error::Error;
use crate::vulkan::device::Device;
use crate::vulkan::failed;
use crate::vulkan::memory::Buffer;

/// The smallest instance buffer: a thousand rectangles.
const INSTANCES_BYTES_MIN: u64 = 64 * 1024;

/// One of the frames in flight.
pub(crate) struct Frame {
    /// Signaled when the window's image may be written.
    pub(crate) acquired: vk::Semaphore,
    pool: vk::CommandPool,
    buffers: Vec<vk::CommandBuffer>,
    used: usize,
    fence: vk::Fence,
    instances: Option<Buffer>,
    device: Arc<Device>,
}

/// What a submission waits for and signals.
#[derive(Default)]
pub(crate) struct Signals {
    /// The copy to the window waits for it.
    pub(crate) wait: Option<vk::Semaphore>,
    pub(crate) signal: Option<vk::Semaphore>,
    /// It is the frame's last: signal its fence.
    pub(crate) is_last: bool,
}

impl Frame {
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self, Error> {
        // Null handles may be destroyed: should a step fail, `drop` undoes those before it.
        let mut frame = Self {
            acquired: vk::Semaphore::null(),
            pool: vk::CommandPool::null(),
            buffers: Vec::new(),
            used: 0,
            fence: vk::Fence::null(),
            instances: None,
            device: Arc::clone(device),
        };
        let raw = &device.raw;
        let pool = vk::CommandPoolCreateInfo::default()
            .flags(vk::CommandPoolCreateFlags::TRANSIENT)
            .queue_family_index(device.family);
        let fence = vk::FenceCreateInfo::default().flags(vk::FenceCreateFlags::SIGNALED);
        // SAFETY: a plain description; the device lives.
        frame.pool = unsafe { raw.create_command_pool(&pool, None) }
            .map_err(failed("creating a command pool"))?;
        frame.fence =
            // SAFETY: as above.
            unsafe { raw.create_fence(&fence, None) }.map_err(failed("creating a fence"))?;
        // SAFETY: as above.
        frame.acquired = unsafe { raw.create_semaphore(&vk::SemaphoreCreateInfo::default(), None) }
            .map_err(failed("creating a semaphore"))?;
        Ok(frame)
    }

    /// Waits until the frame's former use is done, and clears it.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        let raw = &self.device.raw;
        // SAFETY: the fence was signaled at birth or by a submission; after it none of the pool's
        // buffers is in use.
        unsafe {
            raw.wait_for_fences(&[self.fence], true, u64::MAX)
                .map_err(failed("waiting for a frame"))?;
            raw.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty())
                .map_err(failed("resetting a frame"))?;
        }
        self.used = 0;
        Ok(())
    }

    /// A command buffer that records.
    pub(crate) fn open(&mut self) -> Result<vk::CommandBuffer, Error> {
        let raw = &self.device.raw;
        if self.used == self.buffers.len() {
            let info = vk::CommandBufferAllocateInfo::default()
                .command_pool(self.pool)
                .command_buffer_count(1);
            // SAFETY: the pool is ours and used from one thread.
            let more = unsafe { raw.allocate_command_buffers(&info) }
                .map_err(failed("allocating a command buffer"))?;
            self.buffers.extend(more);
        }
        let commands = self.buffers.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        let info = vk::CommandBufferBeginInfo::default()
            .flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: fresh, or reset with its pool.
        unsafe { raw.begin_command_buffer(commands, &info) }
            .map_err(failed("beginning a command buffer"))?;
        Ok(commands)
    }

    /// Ends and submits what [`Self::open`] gave.
    pub(crate) fn submit(
        &self,
        commands: vk::CommandBuffer,
        signals: &Signals,
    ) -> Result<(), Error> {
        let raw = &self.device.raw;
        let buffers = [commands];
        let waits: Vec<_> = signals.wait.into_iter().collect();
        let stages = [vk::PipelineStageFlags::TRANSFER];
        let done: Vec<_> = signals.signal.into_iter().collect();
        let info = vk::SubmitInfo::default()
            .command_buffers(&buffers)
            .wait_semaphores(&waits)
            .wait_dst_stage_mask(stages.get(..waits.len()).unwrap_or(&[]))
            .signal_semaphores(&done);
        let fence = if signals.is_last { self.fence } else { vk::Fence::null() };
        // SAFETY: the buffer records; the fence, if any, is signaled and no submission's; the queue
        // is used from this thread only.
        unsafe {
            raw.end_command_buffer(commands).map_err(failed("ending a command buffer"))?;
            if signals.is_last {
                raw.reset_fences(&[fence]).map_err(failed("resetting a fence"))?;
            }
            raw.queue_submit(self.device.queue, &[info], fence).map_err(failed("submitting"))
        }
    }

    /// Copies instances in, one kind behind the other; returns the buffer and where each begins.
    pub(crate) fn upload(&mut self, kinds: [&[u8]; 2]) -> Result<(vk::Buffer, [u64; 2]), Error> {
        let [first, second] = kinds;
        // Attributes are aligned to four bytes, as all instances are.
        let start = first.len().next_multiple_of(16);
        let bytes = u64::try_from(start + second.len()).unwrap_or(u64::MAX);
        if self.instances.as_ref().is_none_or(|buffer| buffer.bytes < bytes) {
            let room = bytes.max(INSTANCES_BYTES_MIN).next_power_of_two();
            let usage = vk::BufferUsageFlags::VERTEX_BUFFER;
            // The former one is unused: the fence was waited for.
            self.instances = None;
            let place = MemoryLocation::CpuToGpu;
            self.instances = Some(Buffer::new(&self.device, room, usage, place)?);
        }
        let Some(buffer) = &mut self.instances else { return Err(Error::DeviceLost) };
        buffer.write(0, first)?;
        buffer.write(start, second)?;
        Ok((buffer.raw, [0, u64::try_from(start).unwrap_or(0)]))
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let raw = &self.device.raw;
        // SAFETY: the owner has waited for the device; null handles are ignored.
        unsafe {
            raw.destroy_command_pool(self.pool, None);
            raw.destroy_fence(self.fence, None);
            raw.destroy_semaphore(self.acquired, None);
        }
    }
}
