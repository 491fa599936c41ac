//! What the window shows, as a PNG file.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use grace_gpu::renderer::Picture;

/// Writes the file; an old one is replaced.
pub(crate) fn save(picture: &Picture, path: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(file, picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.rgba)?;
    writer.finish()?;
    Ok(())
}
