//! Compiles every `wgsl/*.wgsl` to SPIR-V words, checked by naga; a mistake stops the build and
//! shows its line.
//!
//! Invariant: the output is the same wherever it is built (files in name order, one naga version).
//! Not here: pipelines and their layouts (`grace-gpu`).

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use naga::back::spv;
use naga::front::wgsl;
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn main() -> Result<(), Box<dyn Error>> {
    let mut sources: Vec<PathBuf> = fs::read_dir("wgsl")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Box<dyn Error>>>()?;
    sources.retain(|path| path.extension().is_some_and(|ext| ext == "wgsl"));
    sources.sort();
    let mut rust = String::new();
    for path in &sources {
        let words = compile(path)?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a name is not UTF-8")?;
        writeln!(rust, "/// `{}` as SPIR-V words.", path.display())?;
        writeln!(rust, "pub const {}: &[u32] = &{words:?};", stem.to_uppercase())?;
    }
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(Path::new(&out).join("spirv.rs"), rust)?;
    println!("cargo:rerun-if-changed=wgsl");
    Ok(())
}

fn compile(path: &Path) -> Result<Vec<u32>, Box<dyn Error>> {
    let source = fs::read_to_string(path)?;
    let name = path.display().to_string();
    let module =
        wgsl::parse_str(&source).map_err(|e| e.emit_to_string_with_path(&source, &name))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::IMMEDIATES)
        .validate(&module)
        .map_err(|e| e.emit_to_string_with_path(&source, &name))?;
    let options = spv::Options {
        // SPIR-V 1.3 is what Vulkan 1.1 takes.
        lang_version: (1, 3),
        // No flip: our coordinates already run down.
        flags: spv::WriterFlags::empty(),
        ..spv::Options::default()
    };
    Ok(spv::write_vec(&module, &info, &options, None)?)
}
