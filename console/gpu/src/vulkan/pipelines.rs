//! The pipelines and the two render passes, all made at start: nothing is compiled while drawing.
//!
//! Invariants: the scene pass finds and leaves its image in COLOR_ATTACHMENT_OPTIMAL, as the text
//! renderer expects it; the blur pass leaves its image readable for the next step. Push constants
//! stay within the 128 bytes every device has.
//! Not here: what is drawn when (`gpu`, `blur`).

use std::ffi::CStr;
use std::mem::{offset_of, size_of};
use std::sync::Arc;

use ash::vk;

use crate::batch::{LineInstance, RectInstance};
use crate::error::Error;
use crate::vulkan::device::Device;
use crate::vulkan::failed;

/// What blurs are kept in: linear light, with sRGB's care for the dark.
pub(crate) const BLUR_FORMAT: vk::Format = vk::Format::R8G8B8A8_SRGB;

/// Sets of one image and the sampler; a panel needs five.
const SETS_MAX: u32 = 256;

/// Push constants are seen by both stages.
pub(crate) const STAGES: vk::ShaderStageFlags = vk::ShaderStageFlags::from_raw(
    vk::ShaderStageFlags::VERTEX.as_raw() | vk::ShaderStageFlags::FRAGMENT.as_raw(),
);

/// What every device has.
const PUSH_BYTES: u32 = 128;

/// All that can be bound.
pub(crate) struct Pipelines {
    pub(crate) scene_pass: vk::RenderPass,
    pub(crate) blur_pass: vk::RenderPass,
    pub(crate) layout: vk::PipelineLayout,
    pub(crate) rect: vk::Pipeline,
    pub(crate) line: vk::Pipeline,
    pub(crate) down: vk::Pipeline,
    pub(crate) up: vk::Pipeline,
    pub(crate) glass: vk::Pipeline,
    pub(crate) sets: vk::DescriptorPool,
    set_layout: vk::DescriptorSetLayout,
    sampler: vk::Sampler,
    device: Arc<Device>,
}

/// One pipeline, described.
struct Recipe<'a> {
    code: &'a [u32],
    fragment: &'a CStr,
    pass: vk::RenderPass,
    /// Bytes of one instance and its attributes; empty: the shader needs no vertices.
    stride: u32,
    attributes: &'a [vk::VertexInputAttributeDescription],
    topology: vk::PrimitiveTopology,
    blends: bool,
}

impl Pipelines {
    pub(crate) fn new(device: &Arc<Device>, scene_format: vk::Format) -> Result<Self, Error> {
        // Null handles may be destroyed: should a step fail, `drop` undoes those before it.
        let mut all = Self {
            scene_pass: vk::RenderPass::null(),
            blur_pass: vk::RenderPass::null(),
            layout: vk::PipelineLayout::null(),
            rect: vk::Pipeline::null(),
            line: vk::Pipeline::null(),
            down: vk::Pipeline::null(),
            up: vk::Pipeline::null(),
            glass: vk::Pipeline::null(),
            sets: vk::DescriptorPool::null(),
            set_layout: vk::DescriptorSetLayout::null(),
            sampler: vk::Sampler::null(),
            device: Arc::clone(device),
        };
        all.scene_pass = scene_pass(device, scene_format)?;
        all.blur_pass = blur_pass(device)?;
        all.make_layouts()?;
        all.make_pipelines()?;
        Ok(all)
    }

    /// A set that shows `view`, which is read in SHADER_READ_ONLY_OPTIMAL.
    pub(crate) fn show(&self, view: vk::ImageView) -> Result<vk::DescriptorSet, Error> {
        let layouts = [self.set_layout];
        let info = vk::DescriptorSetAllocateInfo::default()
            .descriptor_pool(self.sets)
            .set_layouts(&layouts);
        // SAFETY: pool and layout are the device's own; one thread uses the pool.
        let sets = unsafe { self.device.raw.allocate_descriptor_sets(&info) }
            .map_err(failed("preparing a blur"))?;
        let set = sets.first().copied().unwrap_or_default();
        let images = [vk::DescriptorImageInfo::default()
            .image_view(view)
            .image_layout(vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL)];
        let write = vk::WriteDescriptorSet::default()
            .dst_set(set)
            .dst_binding(0)
            .descriptor_type(vk::DescriptorType::SAMPLED_IMAGE)
            .image_info(&images);
        // SAFETY: a fresh set no command uses yet.
        unsafe { self.device.raw.update_descriptor_sets(&[write], &[]) };
        Ok(set)
    }

    fn make_layouts(&mut self) -> Result<(), Error> {
        let raw = &self.device.raw;
        let sampler = vk::SamplerCreateInfo::default()
            .mag_filter(vk::Filter::LINEAR)
            .min_filter(vk::Filter::LINEAR)
            .address_mode_u(vk::SamplerAddressMode::CLAMP_TO_EDGE)
            .address_mode_v(vk::SamplerAddressMode::CLAMP_TO_EDGE);
        // SAFETY: of all five: plain descriptions that live through the call; the device lives.
        self.sampler = unsafe { raw.create_sampler(&sampler, None) }
            .map_err(failed("creating the sampler"))?;
        let samplers = [self.sampler];
        let bindings = [
            vk::DescriptorSetLayoutBinding::default()
                .binding(0)
                .descriptor_type(vk::DescriptorType::SAMPLED_IMAGE)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::FRAGMENT),
            vk::DescriptorSetLayoutBinding::default()
                .binding(1)
                .descriptor_type(vk::DescriptorType::SAMPLER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::FRAGMENT)
                .immutable_samplers(&samplers),
        ];
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: see above.
        self.set_layout = unsafe { raw.create_descriptor_set_layout(&info, None) }
            .map_err(failed("creating the set layout"))?;
        let sizes = [
            vk::DescriptorPoolSize {
                ty: vk::DescriptorType::SAMPLED_IMAGE,
                descriptor_count: SETS_MAX,
            },
            vk::DescriptorPoolSize { ty: vk::DescriptorType::SAMPLER, descriptor_count: SETS_MAX },
        ];
        let info = vk::DescriptorPoolCreateInfo::default()
            .flags(vk::DescriptorPoolCreateFlags::FREE_DESCRIPTOR_SET)
            .max_sets(SETS_MAX)
            .pool_sizes(&sizes);
        // SAFETY: see above.
        self.sets = unsafe { raw.create_descriptor_pool(&info, None) }
            .map_err(failed("creating the set pool"))?;
        let set_layouts = [self.set_layout];
        let push = [vk::PushConstantRange { stage_flags: STAGES, offset: 0, size: PUSH_BYTES }];
        let info = vk::PipelineLayoutCreateInfo::default()
            .set_layouts(&set_layouts)
            .push_constant_ranges(&push);
        // SAFETY: see above.
        self.layout = unsafe { raw.create_pipeline_layout(&info, None) }
            .map_err(failed("creating the pipeline layout"))?;
        Ok(())
    }

    fn make_pipelines(&mut self) -> Result<(), Error> {
        let rect = Recipe {
            code: grace_shaders::RECT,
            fragment: c"fs",
            pass: self.scene_pass,
            stride: bytes(size_of::<RectInstance>()),
            attributes: &RectInstance::ATTRIBUTES,
            topology: vk::PrimitiveTopology::TRIANGLE_STRIP,
            blends: true,
        };
        let line = Recipe {
            code: grace_shaders::LINE,
            stride: bytes(size_of::<LineInstance>()),
            attributes: &LineInstance::ATTRIBUTES,
            ..rect
        };
        let glass = Recipe { code: grace_shaders::GLASS, stride: 0, attributes: &[], ..rect };
        let down = Recipe {
            code: grace_shaders::KAWASE,
            fragment: c"down",
            pass: self.blur_pass,
            topology: vk::PrimitiveTopology::TRIANGLE_LIST,
            blends: false,
            ..glass
        };
        let up = Recipe { fragment: c"up", ..down };
        self.rect = self.pipeline(&rect)?;
        self.line = self.pipeline(&line)?;
        self.glass = self.pipeline(&glass)?;
        self.down = self.pipeline(&down)?;
        self.up = self.pipeline(&up)?;
        Ok(())
    }

    fn pipeline(&self, recipe: &Recipe<'_>) -> Result<vk::Pipeline, Error> {
        let raw = &self.device.raw;
        let info = vk::ShaderModuleCreateInfo::default().code(recipe.code);
        // SAFETY: SPIR-V that naga has checked.
        let module =
            unsafe { raw.create_shader_module(&info, None) }.map_err(failed("loading a shader"))?;
        let stage = |stage, name| {
            vk::PipelineShaderStageCreateInfo::default().stage(stage).module(module).name(name)
        };
        let stages = [
            stage(vk::ShaderStageFlags::VERTEX, c"vs"),
            stage(vk::ShaderStageFlags::FRAGMENT, recipe.fragment),
        ];
        let bindings = [vk::VertexInputBindingDescription {
            binding: 0,
            stride: recipe.stride,
            input_rate: vk::VertexInputRate::INSTANCE,
        }];
        let has_instances = !recipe.attributes.is_empty();
        let vertices = vk::PipelineVertexInputStateCreateInfo::default()
            .vertex_attribute_descriptions(recipe.attributes)
            .vertex_binding_descriptions(if has_instances { &bindings } else { &[] });
        let assembly =
            vk::PipelineInputAssemblyStateCreateInfo::default().topology(recipe.topology);
        let viewport =
            vk::PipelineViewportStateCreateInfo::default().viewport_count(1).scissor_count(1);
        let raster = vk::PipelineRasterizationStateCreateInfo::default()
            .polygon_mode(vk::PolygonMode::FILL)
            .line_width(1.0);
        let samples = vk::PipelineMultisampleStateCreateInfo::default()
            .rasterization_samples(vk::SampleCountFlags::TYPE_1);
        // Everything is premultiplied.
        let blends = [vk::PipelineColorBlendAttachmentState::default()
            .blend_enable(recipe.blends)
            .color_write_mask(vk::ColorComponentFlags::RGBA)
            .src_color_blend_factor(vk::BlendFactor::ONE)
            .dst_color_blend_factor(vk::BlendFactor::ONE_MINUS_SRC_ALPHA)
            .src_alpha_blend_factor(vk::BlendFactor::ONE)
            .dst_alpha_blend_factor(vk::BlendFactor::ONE_MINUS_SRC_ALPHA)];
        let blend = vk::PipelineColorBlendStateCreateInfo::default().attachments(&blends);
        let dynamic = vk::PipelineDynamicStateCreateInfo::default()
            .dynamic_states(&[vk::DynamicState::VIEWPORT, vk::DynamicState::SCISSOR]);
        let info = vk::GraphicsPipelineCreateInfo::default()
            .stages(&stages)
            .vertex_input_state(&vertices)
            .input_assembly_state(&assembly)
            .viewport_state(&viewport)
            .rasterization_state(&raster)
            .multisample_state(&samples)
            .color_blend_state(&blend)
            .dynamic_state(&dynamic)
            .layout(self.layout)
            .render_pass(recipe.pass);
        // SAFETY: all it points to lives through the call; the module is not needed afterwards.
        let made = unsafe {
            let made = raw.create_graphics_pipelines(vk::PipelineCache::null(), &[info], None);
            raw.destroy_shader_module(module, None);
            made
        };
        let pipelines = made.map_err(|(_, code)| failed("creating a pipeline")(code))?;
        Ok(pipelines.first().copied().unwrap_or_default())
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        let raw = &self.device.raw;
        // SAFETY: the owner has waited for the device; null handles are ignored.
        unsafe {
            for pipeline in [self.rect, self.line, self.down, self.up, self.glass] {
                raw.destroy_pipeline(pipeline, None);
            }
            raw.destroy_pipeline_layout(self.layout, None);
            raw.destroy_descriptor_pool(self.sets, None);
            raw.destroy_descriptor_set_layout(self.set_layout, None);
            raw.destroy_sampler(self.sampler, None);
            raw.destroy_render_pass(self.scene_pass, None);
            raw.destroy_render_pass(self.blur_pass, None);
        }
    }
}

/// A structure is far below four gigabytes; saturating only keeps the conversion total.
fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const fn attribute(
    location: u32,
    format: vk::Format,
    offset: usize,
) -> vk::VertexInputAttributeDescription {
    #[expect(clippy::cast_possible_truncation, reason = "the structures have under 100 bytes")]
    let offset = offset as u32;
    vk::VertexInputAttributeDescription { location, binding: 0, format, offset }
}

const FLOATS: vk::Format = vk::Format::R32G32B32A32_SFLOAT;
const COLOR: vk::Format = vk::Format::R8G8B8A8_UNORM;

impl RectInstance {
    const ATTRIBUTES: [vk::VertexInputAttributeDescription; 6] = [
        attribute(0, FLOATS, offset_of!(Self, rect)),
        attribute(1, FLOATS, offset_of!(Self, clip)),
        attribute(2, FLOATS, offset_of!(Self, shape)),
        attribute(3, COLOR, offset_of!(Self, top)),
        attribute(4, COLOR, offset_of!(Self, bottom)),
        attribute(5, COLOR, offset_of!(Self, border)),
    ];
}

impl LineInstance {
    const ATTRIBUTES: [vk::VertexInputAttributeDescription; 5] = [
        attribute(0, FLOATS, offset_of!(Self, before_from)),
        attribute(1, FLOATS, offset_of!(Self, to_after)),
        attribute(2, FLOATS, offset_of!(Self, clip)),
        attribute(3, FLOATS, offset_of!(Self, shape)),
        attribute(4, COLOR, offset_of!(Self, color)),
    ];
}

fn scene_pass(device: &Device, format: vk::Format) -> Result<vk::RenderPass, Error> {
    let attachments = [vk::AttachmentDescription::default()
        .format(format)
        .samples(vk::SampleCountFlags::TYPE_1)
        .load_op(vk::AttachmentLoadOp::LOAD)
        .store_op(vk::AttachmentStoreOp::STORE)
        .initial_layout(vk::ImageLayout::COLOR_ATTACHMENT_OPTIMAL)
        .final_layout(vk::ImageLayout::COLOR_ATTACHMENT_OPTIMAL)];
    let drawing = vk::AccessFlags::COLOR_ATTACHMENT_READ | vk::AccessFlags::COLOR_ATTACHMENT_WRITE;
    let output = vk::PipelineStageFlags::COLOR_ATTACHMENT_OUTPUT;
    // Text drawn before it, and text drawn after it, by another hand in between.
    let dependencies = [
        dependency(vk::SUBPASS_EXTERNAL, 0, (output, drawing), (output, drawing)),
        dependency(0, vk::SUBPASS_EXTERNAL, (output, drawing), (output, drawing)),
    ];
    render_pass(device, &attachments, &dependencies)
}

fn blur_pass(device: &Device) -> Result<vk::RenderPass, Error> {
    let attachments = [vk::AttachmentDescription::default()
        .format(BLUR_FORMAT)
        .samples(vk::SampleCountFlags::TYPE_1)
        .load_op(vk::AttachmentLoadOp::DONT_CARE)
        .store_op(vk::AttachmentStoreOp::STORE)
        .initial_layout(vk::ImageLayout::UNDEFINED)
        .final_layout(vk::ImageLayout::SHADER_READ_ONLY_OPTIMAL)];
    let write =
        (vk::PipelineStageFlags::COLOR_ATTACHMENT_OUTPUT, vk::AccessFlags::COLOR_ATTACHMENT_WRITE);
    let read = (vk::PipelineStageFlags::FRAGMENT_SHADER, vk::AccessFlags::SHADER_READ);
    // Earlier steps and frames have read it; later steps read it.
    let before = (write.0 | read.0, write.1);
    let dependencies = [
        dependency(vk::SUBPASS_EXTERNAL, 0, before, write),
        dependency(0, vk::SUBPASS_EXTERNAL, write, read),
    ];
    render_pass(device, &attachments, &dependencies)
}

type Access = (vk::PipelineStageFlags, vk::AccessFlags);

fn dependency(from: u32, to: u32, before: Access, after: Access) -> vk::SubpassDependency {
    vk::SubpassDependency::default()
        .src_subpass(from)
        .dst_subpass(to)
        .src_stage_mask(before.0)
        .src_access_mask(before.1)
        .dst_stage_mask(after.0)
        .dst_access_mask(after.1)
}

fn render_pass(
    device: &Device,
    attachments: &[vk::AttachmentDescription],
    dependencies: &[vk::SubpassDependency],
) -> Result<vk::RenderPass, Error> {
    let colors = [vk::AttachmentReference {
        attachment: 0,
        layout: vk::ImageLayout::COLOR_ATTACHMENT_OPTIMAL,
    }];
    let subpasses = [vk::SubpassDescription::default()
        .pipeline_bind_point(vk::PipelineBindPoint::GRAPHICS)
        .color_attachments(&colors)];
    let info = vk::RenderPassCreateInfo::default()
        .attachments(attachments)
        .subpasses(&subpasses)
        .dependencies(dependencies);
    // SAFETY: all it points to lives through the call.
    unsafe { device.raw.create_render_pass(&info, None) }.map_err(failed("creating a render pass"))
}
