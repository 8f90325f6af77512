//! Preprocesses images into batches, as configured by the `preprocessor_config.json` of a model folder.
//!
//! All steps but the last work on 8-bit pixels. The last step rescales and normalises the values with a lookup table.
//! The results are bit-identical to those of HF's image processors.

mod read;
mod resize;
mod steps;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::DynamicImage;
use rayon::prelude::*;

use self::steps::{Size, Steps};
use crate::error::ModelError;

/// Maximum number of pixels after the resize. A very long image whose shorter edge is resized could otherwise exhaust
/// the memory.
const MOST_PIXELS: usize = 1 << 28;

/// The image processor of a model folder: resizes, crops, rescales and normalises images.
#[derive(Clone, Debug)]
pub struct ImagePreprocessor {
    steps: Steps,
}

/// An image after resize and crop, with 8 bits per channel, in the layout `[height, width, channels]`: small enough to
/// keep a data set in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedImage {
    channels: usize,
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl ImagePreprocessor {
    /// Reads `preprocessor_config.json`, and the number of channels in `config.json` (default 3).
    ///
    /// # Errors
    /// Returns [`ModelError::ImageProcessor`] if `preprocessor_config.json` is missing or has impossible settings,
    /// [`ModelError::UnknownImageProcessor`] for an unsupported processor, [`ModelError::InvalidJson`] if a file is
    /// invalid, and [`ModelError::Io`] if a file cannot be read.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ModelError> {
        Ok(Self { steps: Steps::read(folder.as_ref())? })
    }

    /// Number of channels of the model's images: 1 (gray) or 3 (RGB).
    pub fn channels(&self) -> usize {
        self.steps.channels
    }

    /// Reads PNG, JPEG and WebP files.
    ///
    /// For a model with 3 channels, images are converted to RGB like Pillow's `convert("RGB")`: the alpha channel is
    /// dropped and gray is repeated. For a model with 1 channel, images must be gray.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] for a file that cannot be opened and [`ModelError::Image`] for a file that is not a
    /// supported image.
    pub fn read_images<P: AsRef<Path> + Sync>(&self, paths: &[P]) -> Result<Vec<DynamicImage>, ModelError> {
        paths.par_iter().map(|path| read::read(path.as_ref(), self.channels())).collect()
    }

    /// Resizes, crops, rescales and normalises images into one batch.
    ///
    /// The images must be 8-bit RGB for a model with 3 channels and 8-bit gray for a model with 1 channel.
    ///
    /// # Shapes
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if there are no images, if an image has no pixels or another pixel type, or
    /// if the preprocessed images differ in size.
    pub fn preprocess(&self, images: &[DynamicImage], device: &Device) -> Result<Tensor<4>, ModelError> {
        self.batch(&self.prepare(images)?.iter().collect::<Vec<_>>(), device)
    }

    /// Resizes and crops images: all steps of [`preprocess`](Self::preprocess) but the last, [`batch`](Self::batch).
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if an image has no pixels or another pixel type.
    pub fn prepare(&self, images: &[DynamicImage]) -> Result<Vec<PreparedImage>, ModelError> {
        images.par_iter().enumerate().map(|(index, image)| self.resize(index, image)).collect()
    }

    /// Rescales and normalises prepared images into one batch.
    ///
    /// # Shapes
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Errors
    /// Returns [`ModelError::InvalidInput`] if there are no images, or if they differ in size.
    pub fn batch(&self, prepared: &[&PreparedImage], device: &Device) -> Result<Tensor<4>, ModelError> {
        let Some(first) = prepared.first() else {
            return Err(invalid("list of images", "empty".into(), "a batch needs at least one image".into()));
        };
        let (height, width) = (first.height, first.width);
        if let Some(index) = prepared.iter().position(|image| (image.height, image.width) != (height, width)) {
            let found = format!("{} × {} for image {index}", prepared[index].height, prepared[index].width);
            return Err(invalid("image size", found, format!("the first image of the batch is {height} × {width}")));
        }
        let values: Vec<f32> = prepared.par_iter().flat_map_iter(|image| self.values(image)).collect();
        Ok(Tensor::from_data(TensorData::new(values, [prepared.len(), self.channels(), height, width]), device))
    }

    /// Resizes and crops an image; `index` is its number in the batch, for errors.
    fn resize(&self, index: usize, image: &DynamicImage) -> Result<PreparedImage, ModelError> {
        let mut pixels = self.pixels(index, image)?;
        if let Some((size, filter)) = self.steps.resize {
            let size = size_for(size, &pixels);
            if size[0].saturating_mul(size[1]) > MOST_PIXELS {
                let found = format!("{} × {} for image {index}", size[0], size[1]);
                let expected = format!("an image may have at most {MOST_PIXELS} pixels");
                return Err(invalid("size after the resize", found, expected));
            }
            pixels = resize::resize(&pixels, size, filter);
        }
        Ok(match self.steps.crop {
            Some(size) => center_crop(&pixels, size),
            None => pixels,
        })
    }

    /// Checks an image's size and pixel type, and returns its pixels.
    fn pixels(&self, index: usize, image: &DynamicImage) -> Result<PreparedImage, ModelError> {
        let (height, width) = (image.height() as usize, image.width() as usize);
        if height == 0 || width == 0 {
            let found = format!("{height} × {width} for image {index}");
            return Err(invalid("image size", found, "height and width must be at least 1".into()));
        }
        let bytes = match (self.channels(), image) {
            (1, DynamicImage::ImageLuma8(gray)) => gray.as_raw(),
            (3, DynamicImage::ImageRgb8(color)) => color.as_raw(),
            (channels, other) => {
                let found = format!("{:?} for image {index}", other.color());
                let kind = if channels == 1 { "gray" } else { "RGB" };
                let expected = format!("the model expects 8-bit {kind} images ({channels} channel(s))");
                return Err(invalid("pixel type", found, expected));
            }
        };
        Ok(PreparedImage { channels: self.channels(), height, width, bytes: bytes.clone() })
    }

    /// Rescaled and normalised values of an image, in the layout `[channels, height, width]`.
    fn values<'a>(&'a self, image: &'a PreparedImage) -> impl Iterator<Item = f32> + 'a {
        self.steps.tables.iter().enumerate().flat_map(|(channel, table)| {
            image.bytes[channel..].iter().step_by(image.channels).map(|value| table[usize::from(*value)])
        })
    }
}

impl PreparedImage {
    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The 8-bit values, in the layout `[height, width, channels]`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// `[height, width]` of an image after the resize.
fn size_for(size: Size, image: &PreparedImage) -> [usize; 2] {
    let edge = match size {
        Size::Exact(size) => return size,
        Size::ShortestEdge(edge) => edge,
    };
    // HF computes `int(size * long / short)` with a floating-point division.
    let longer = |long: usize, short: usize| ((edge * long) as f64 / short as f64) as usize;
    match image.width <= image.height {
        true => [longer(image.height, image.width), edge],
        false => [edge, longer(image.width, image.height)],
    }
}

/// Crops an image to `[height, width]` around its center; an image that is smaller is padded with zeros.
fn center_crop(image: &PreparedImage, [height, width]: [usize; 2]) -> PreparedImage {
    // Rounds towards negative infinity, like Python's `//`.
    let start = |from: usize, to: usize| (from as i64 - to as i64).div_euclid(2);
    let within = |position: i64, length: usize| usize::try_from(position).ok().filter(|position| *position < length);
    let (top, left) = (start(image.height, height), start(image.width, width));
    let mut bytes = vec![0; height * width * image.channels];
    let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row as i64, column as i64)));
    for ((row, column), pixel) in pixels.zip(bytes.chunks_exact_mut(image.channels)) {
        if let (Some(row), Some(column)) = (within(row + top, image.height), within(column + left, image.width)) {
            let offset = (row * image.width + column) * image.channels;
            pixel.copy_from_slice(&image.bytes[offset..offset + image.channels]);
        }
    }
    PreparedImage { height, width, bytes, ..*image }
}

fn invalid(what: &'static str, found: String, expected: String) -> ModelError {
    ModelError::InvalidInput { what, found, expected }
}

#[cfg(test)]
mod tests;
