//! Images to batches, as the image processor of a model folder makes them.
//!
//! Every step up to the last is on 8-bit pixels; then a table turns each value into what rescaling and normalising
//! give for it. The result is bit for bit that of HF's image processors.

mod read;
mod resize;
mod steps;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::DynamicImage;
use rayon::prelude::*;

use self::steps::{Size, Steps};
use crate::error::ModelError;

/// A long thin image grows with the ratio of its edges; beyond this it is an error and not an allocation.
const MOST_PIXELS: usize = 1 << 28;

/// The image processor of a model folder.
#[derive(Clone, Debug)]
pub struct ImagePreprocessor {
    steps: Steps,
}

/// An image of 8 bits a channel, row by row, with the channels of a pixel side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pixels {
    channels: usize,
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl ImagePreprocessor {
    /// Reads `preprocessor_config.json`, and the number of channels in `config.json` (3 without it).
    ///
    /// # Errors
    /// [`ModelError::ImageProcessor`] if the file is absent or says what cannot be,
    /// [`ModelError::UnknownImageProcessor`], [`ModelError::Io`], [`ModelError::InvalidJson`].
    pub fn from_folder(folder: &Path) -> Result<Self, ModelError> {
        Ok(Self { steps: Steps::read(folder)? })
    }

    /// Number of channels that the model sees: 1 or 3.
    pub fn channels(&self) -> usize {
        self.steps.channels
    }

    /// Opens PNG, JPEG and WebP files for this model. For 3 channels they become RGB as Pillow's `convert("RGB")`
    /// makes them (opacity dropped, gray repeated); for 1 channel they must be gray.
    ///
    /// # Errors
    /// [`ModelError::Io`] for a file that cannot be opened, [`ModelError::Image`] for one that is no such image.
    pub fn read_images<P: AsRef<Path> + Sync>(&self, paths: &[P]) -> Result<Vec<DynamicImage>, ModelError> {
        paths.par_iter().map(|path| read::read(path.as_ref(), self.channels())).collect()
    }

    /// Resizes, crops and normalises images to one batch.
    ///
    /// # Shapes
    /// - images: RGB for a model of 3 channels, gray for one of 1 channel, 8 bits each
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Errors
    /// [`ModelError::InvalidInput`] without images, for one of other channels or without pixels, or if the results
    /// differ in size.
    pub fn preprocess(&self, images: &[DynamicImage], device: &Device) -> Result<Tensor<4>, ModelError> {
        let prepared =
            images.par_iter().enumerate().map(|(at, image)| self.prepare(at, image)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = prepared.first() else {
            return Err(invalid("list of images", "empty".into(), "a batch needs at least one".into()));
        };
        let (height, width) = (first.height, first.width);
        if let Some(at) = prepared.iter().position(|image| (image.height, image.width) != (height, width)) {
            let found = format!("{} × {} for image {at}", prepared[at].height, prepared[at].width);
            return Err(invalid("size", found, format!("the first of the batch is {height} × {width}")));
        }
        let values: Vec<f32> = prepared.par_iter().flat_map_iter(|image| self.values(image)).collect();
        Ok(Tensor::from_data(TensorData::new(values, [prepared.len(), self.channels(), height, width]), device))
    }

    fn prepare(&self, at: usize, image: &DynamicImage) -> Result<Pixels, ModelError> {
        let mut pixels = self.pixels(at, image)?;
        if let Some((size, filter)) = self.steps.resize {
            let size = size_for(size, &pixels);
            if size[0].saturating_mul(size[1]) > MOST_PIXELS {
                let found = format!("{} × {} for image {at}", size[0], size[1]);
                return Err(invalid("size after the resize", found, "the image is too long for its width".into()));
            }
            pixels = resize::resize(&pixels, size, filter);
        }
        Ok(match self.steps.crop {
            Some(size) => center_crop(&pixels, size),
            None => pixels,
        })
    }

    fn pixels(&self, at: usize, image: &DynamicImage) -> Result<Pixels, ModelError> {
        let (height, width) = (image.height() as usize, image.width() as usize);
        if height == 0 || width == 0 {
            return Err(invalid("image", format!("number {at} of {height} × {width}"), "it needs pixels".into()));
        }
        let bytes = match (self.channels(), image) {
            (1, DynamicImage::ImageLuma8(gray)) => gray.as_raw(),
            (3, DynamicImage::ImageRgb8(color)) => color.as_raw(),
            (channels, other) => {
                let found = format!("number {at} of {:?}", other.color());
                let kind = if channels == 1 { "gray" } else { "RGB" };
                return Err(invalid("image", found, format!("the model sees {channels} channel(s): 8-bit {kind}")));
            }
        };
        Ok(Pixels { channels: self.channels(), height, width, bytes: bytes.clone() })
    }

    /// Channel by channel.
    fn values<'a>(&'a self, image: &'a Pixels) -> impl Iterator<Item = f32> + 'a {
        self.steps.tables.iter().enumerate().flat_map(|(channel, table)| {
            image.bytes[channel..].iter().step_by(image.channels).map(|value| table[usize::from(*value)])
        })
    }
}

fn size_for(size: Size, image: &Pixels) -> [usize; 2] {
    let edge = match size {
        Size::Exact(size) => return size,
        Size::ShortestEdge(edge) => edge,
    };
    // HF: `int(size * long / short)`, by a division of floats.
    let longer = |long: usize, short: usize| ((edge * long) as f64 / short as f64) as usize;
    match image.width <= image.height {
        true => [longer(image.height, image.width), edge],
        false => [edge, longer(image.width, image.height)],
    }
}

/// The middle of an image; zeros around it where it is too small.
fn center_crop(image: &Pixels, [height, width]: [usize; 2]) -> Pixels {
    // Rounds down, also below zero.
    let start = |whole: usize, part: usize| (whole as i64 - part as i64).div_euclid(2);
    let within = |position: i64, whole: usize| usize::try_from(position).ok().filter(|position| *position < whole);
    let (top, left) = (start(image.height, height), start(image.width, width));
    let mut bytes = vec![0; height * width * image.channels];
    let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row as i64, column as i64)));
    for ((row, column), pixel) in pixels.zip(bytes.chunks_exact_mut(image.channels)) {
        if let (Some(row), Some(column)) = (within(row + top, image.height), within(column + left, image.width)) {
            let at = (row * image.width + column) * image.channels;
            pixel.copy_from_slice(&image.bytes[at..at + image.channels]);
        }
    }
    Pixels { height, width, bytes, ..*image }
}

fn invalid(what: &'static str, found: String, expected: String) -> ModelError {
    ModelError::InvalidInput { what, found, expected }
}

#[cfg(test)]
mod tests;
