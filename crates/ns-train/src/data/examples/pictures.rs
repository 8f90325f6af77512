//! Images: grey images in columns of pixels, or image files.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ns_models::{ImagePreprocessor, ModelInputs, PreparedImage};

use super::key::Key;
use super::limits::ModelLimits;
use super::tables::Tables;
use crate::data::pixels::{GreyImages, check_sizes, read_grey};
use crate::error::TrainError;
use crate::recipe::Pixels;

/// Image files that are decoded together.
const CHUNK: usize = 64;

/// The images of all rows.
pub(super) enum Pictures {
    /// From columns of pixels.
    Grey(GreyImages),
    /// From files.
    Prepared(ImagePreprocessor, Vec<PreparedImage>),
}

impl Pictures {
    /// Reads columns `p0`, `p1`, … The images get the size and the number of channels of the model.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for an impossible size, and the errors of [`read_grey`].
    pub(super) fn read_pixels(
        tables: &Tables,
        pixels: Pixels,
        size: Option<[usize; 2]>,
        limits: ModelLimits,
    ) -> Result<Self, TrainError> {
        let shape = pixels.shape;
        let size = size.or(limits.image_shape.map(|[_, height, width]| [height, width])).unwrap_or(shape);
        let names = ["data.pixels.shape", "data.size", "data.pixels.maximum"];
        check_sizes(names, shape, size, pixels.maximum)?;
        if let Some([_, height, width]) = limits.image_shape {
            let expected = format!("the model reads images of {height} × {width}");
            TrainError::check(size == [height, width], "data.size", format!("{size:?}"), expected)?;
        }
        let grey = tables.all().iter().map(|table| read_grey(table, "p", shape, pixels.maximum));
        let grey = grey.collect::<Result<Vec<_>, _>>()?.concat();
        let channels = vec![(0.0, 1.0); limits.image_shape.map_or(1, |[channels, ..]| channels)];
        Ok(Self::Grey(GreyImages { grey, shape, size, channels }))
    }

    /// Reads image files, whose paths are relative to their table, with the image processor of the model.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for an image of another shape than the model's, and [`TrainError::Model`] for a file
    /// that is no image.
    pub(super) fn read_files(
        tables: &Tables,
        column: &str,
        folder: &Path,
        limits: ModelLimits,
    ) -> Result<Self, TrainError> {
        let preprocessor = ImagePreprocessor::from_folder(folder)?;
        let paths: Vec<PathBuf> = tables
            .column(column)?
            .into_iter()
            .enumerate()
            .map(|(row, file)| {
                let (table, _) = tables.place(row);
                table.path().parent().map_or_else(|| file.into(), |folder| folder.join(file))
            })
            .collect();
        let mut images: Vec<PreparedImage> = Vec::with_capacity(paths.len());
        for paths in paths.chunks(CHUNK) {
            images.extend(preprocessor.prepare(&preprocessor.read_images(paths)?)?);
        }
        let shape = limits.image_shape.or(images.first().map(PreparedImage::shape));
        match images.iter().position(|image| Some(image.shape()) != shape) {
            None => Ok(Self::Prepared(preprocessor, images)),
            Some(row) => {
                let written = |[channels, height, width]: [usize; 3]| format!("{channels} × {height} × {width}");
                let found = format!("{} after the image processor", written(images[row].shape()));
                let expected = format!("the model reads {}", shape.map_or_else(String::new, written));
                Err(tables.invalid(row, "the image", found, expected))
            }
        }
    }

    /// The images with these indices, `[rows, channels, height, width]`.
    ///
    /// # Errors
    /// Returns [`TrainError::Model`] if there are no rows.
    pub(super) fn inputs(&self, rows: &[usize], device: &Device) -> Result<ModelInputs, TrainError> {
        match self {
            Self::Grey(images) => Ok(images.inputs(rows, device)),
            Self::Prepared(preprocessor, images) => {
                let images: Vec<&PreparedImage> = rows.iter().map(|row| &images[*row]).collect();
                Ok(ModelInputs::images(preprocessor.batch(&images, device)?))
            }
        }
    }

    /// Adds the pixels of an image to a key.
    pub(super) fn add_to(&self, key: Key, row: usize) -> Key {
        match self {
            Self::Grey(images) => key.add(images.grey_of(row).iter().flat_map(|value| value.to_le_bytes())),
            Self::Prepared(_, images) => key.add(images[row].bytes().iter().copied()),
        }
    }
}
