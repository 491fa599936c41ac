//! The shader sources, compiled to SPIR-V and checked while building.
//!
//! Each `wgsl/NAME.wgsl` is a constant `NAME` of SPIR-V words (version 1.3, for Vulkan 1.1). What
//! a shader expects of its vertices and push constants, and its entry points, stand at its top.
//! Not here: pipelines (`grace-gpu`).

include!(concat!(env!("OUT_DIR"), "/spirv.rs"));

#[cfg(test)]
mod tests {
    /// SPIR-V specification 2.3: the first word of a module, and the version in the second.
    const MAGIC: u32 = 0x0723_0203;
    const VERSION_1_3: u32 = 0x0001_0300;

    #[test]
    fn every_shader_is_spirv_for_vulkan_1_1() {
        let all = [super::RECT, super::LINE, super::KAWASE, super::GLASS];
        for words in all {
            assert_eq!(&words[..2], [MAGIC, VERSION_1_3]);
        }
    }
}
