//! Images to batches, as the image processor of a model folder makes them.
//!
//! Every step up to the last is on 8-bit pixels; then a table turns each value into what rescaling and normalising
//! give for it. The result is bit for bit that of HF's image processors.

#[cfg(test)]
mod golden_tests;
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
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use serde_json::{Value, json};

    use super::*;

    fn preprocessor(config: Value, model: Value) -> ImagePreprocessor {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("preprocessor_config.json"), config.to_string()).unwrap();
        std::fs::write(folder.path().join("config.json"), model.to_string()).unwrap();
        ImagePreprocessor::from_folder(folder.path()).unwrap()
    }

    /// Without a normalisation, so that values are those of the pixels.
    fn plain(mut config: Value) -> ImagePreprocessor {
        config["do_rescale"] = false.into();
        config["do_normalize"] = false.into();
        preprocessor(config, json!({}))
    }

    fn vit() -> ImagePreprocessor {
        plain(json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 2, "width": 3}}))
    }

    /// Each pixel says where it is.
    fn image(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200])).into()
    }

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    fn batch(preprocessor: &ImagePreprocessor, images: &[DynamicImage]) -> Result<Tensor<4>, ModelError> {
        preprocessor.preprocess(images, &Device::default())
    }

    #[test]
    fn channels_come_first_and_rows_before_columns() {
        let pixels = batch(&vit(), &[image(3, 2), image(3, 2)]).unwrap();
        assert_eq!(pixels.dims(), [2, 3, 2, 3]);
        let one =
            [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0];
        assert_eq!(values(pixels), [one, one].concat());
    }

    #[test]
    fn images_of_all_sizes_become_one_batch() {
        assert_eq!(batch(&vit(), &[image(7, 5), image(2, 9), image(3, 2)]).unwrap().dims(), [3, 3, 2, 3]);
    }

    #[test]
    fn the_shorter_edge_is_resized_and_the_middle_kept() {
        let config = json!({"image_processor_type": "ConvNextImageProcessor", "size": 2, "crop_pct": 0.5});
        for (width, height) in [(4, 9), (9, 4), (4, 4)] {
            let pixels = values(batch(&plain(config.clone()), &[image(width, height)]).unwrap());
            let (left, top) = ((width as f32 - 2.0) / 2.0, (height as f32 - 2.0) / 2.0);
            let (left, top) = (left.floor(), top.floor());
            let expected = [left, left + 1.0, left, left + 1.0, top, top, top + 1.0, top + 1.0];
            assert_eq!(pixels[..8], expected, "{width} × {height}");
        }
    }

    #[test]
    fn edges_are_those_of_hf() {
        let pixels = |height, width| Pixels { channels: 1, height, width, bytes: vec![] };
        for ((height, width), expected) in
            [((480, 640), [256, 341]), ((640, 480), [341, 256]), ((333, 500), [256, 384]), ((7, 7), [256, 256])]
        {
            assert_eq!(size_for(Size::ShortestEdge(256), &pixels(height, width)), expected);
        }
    }

    #[test]
    fn a_crop_larger_than_the_image_has_a_border_of_zeros() {
        let image = Pixels { channels: 1, height: 1, width: 3, bytes: vec![1, 2, 3] };
        assert_eq!(center_crop(&image, [2, 6]).bytes, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0]);
        assert_eq!(center_crop(&image, [3, 1]).bytes, [0, 2, 0]);
        assert_eq!(center_crop(&image, [1, 2]).bytes, [1, 2]);
    }

    #[test]
    fn a_model_of_one_channel_sees_gray() {
        let config = json!({
            "image_processor_type": "ViTImageProcessor", "size": 2, "image_mean": 0.5, "image_std": [0.5]
        });
        let gray = preprocessor(config, json!({"num_channels": 1}));
        let pixels = batch(&gray, &[GrayImage::from_pixel(2, 2, Luma([255])).into()]).unwrap();
        assert_eq!((pixels.dims(), values(pixels)), ([1, 1, 2, 2], vec![1.0; 4]));
        let error = batch(&gray, &[image(2, 2)]).unwrap_err().to_string();
        assert!(error.contains("Rgb8") && error.contains("1 channel"), "{error}");
    }

    #[test]
    fn images_that_do_not_fit_are_errors() {
        let invalid = |images: &[DynamicImage]| match batch(&vit(), images) {
            Err(ModelError::InvalidInput { found, .. }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(invalid(&[]), "empty");
        assert!(invalid(&[image(2, 2), GrayImage::new(2, 2).into()]).contains("number 1 of L8"));
        assert!(invalid(&[RgbImage::new(0, 2).into()]).contains("2 × 0"));
    }

    #[test]
    fn unequal_sizes_after_the_steps_are_an_error() {
        let unsized_ = plain(json!({"image_processor_type": "ViTImageProcessor", "do_resize": false}));
        let error = batch(&unsized_, &[image(2, 2), image(3, 2)]).unwrap_err().to_string();
        assert!(error.contains("2 × 3 for image 1") && error.contains("2 × 2"), "{error}");
    }

    #[test]
    fn an_image_too_long_for_its_width_is_an_error() {
        let config = json!({"image_processor_type": "CLIPImageProcessor", "size": 16000});
        assert!(matches!(batch(&plain(config), &[image(1, 60000)]), Err(ModelError::InvalidInput { .. })));
    }
}
