//! Classified grey images, read from a table with one column per pixel.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ns_probe::ProbeBatch;
use serde::{Deserialize, Serialize};

use super::pixels::{GreyImages, check_sizes, read_grey};
use super::{Dataset, LabelledRows, SplitRecipe, Table, label_column, relative_to, shuffled};
use crate::error::TrainError;

/// The largest number of values of an image: height · width · channels.
const MAX_VALUES: usize = 100_000_000;

/// Recipe of a data set of classified grey images: where the images are, and how they become inputs of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecipe {
    /// Path of a table (`.csv`, `.tsv`, `.jsonl` or `.parquet`), relative to the recipe.
    pub path: PathBuf,
    /// Prefix of the pixel columns: `p` for `p0`, `p1`, …, row by row from the top left.
    #[serde(default = "pixel_columns")]
    pub pixels: String,
    /// Height and width of the images in the file.
    pub shape: [usize; 2],
    /// Largest pixel value. Pixels are divided by it, so they are between 0 and 1.
    pub maximum: f32,
    /// Height and width of the model inputs; images are enlarged by nearest neighbour. By default those of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Number of channels of the model inputs. All channels are equal before normalisation.
    #[serde(default = "one")]
    pub channels: usize,
    /// Normalisation of the pixels. By default they stay between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,
    /// Name of the column with the class.
    #[serde(default = "label_column")]
    pub label: String,
    /// Division into training and test rows.
    pub split: SplitRecipe,
    /// Names of the classes, in the order of their indices. By default the sorted classes of the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

/// Normalisation per channel, `(pixel − mean) / std`; `image_mean` and `image_std` of Hugging Face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, greater than 0.
    pub std: Vec<f32>,
}

fn pixel_columns() -> String {
    "p".into()
}

fn one() -> usize {
    1
}

/// Grey images with one class each, in the size of the file. [`LabelledImages::pixel_values`] enlarges them.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledImages {
    /// Class, and side of the split, of each image.
    pub rows: LabelledRows,
    images: GreyImages,
}

impl ImageRecipe {
    /// Resolves the path relative to the recipe file `recipe`.
    pub fn resolve(self, recipe: impl AsRef<Path>) -> Self {
        Self { path: relative_to(recipe.as_ref(), &self.path), ..self }
    }

    /// Checks the values that deserialisation does not check.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a value out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let check = TrainError::check;
        let size = self.size.unwrap_or(self.shape);
        check_sizes(["shape", "size", "maximum"], self.shape, size, self.maximum)?;
        let values = size[0].checked_mul(size[1]).and_then(|pixels| pixels.checked_mul(self.channels));
        let expected = format!("an image of {} channels may have at most {MAX_VALUES} values", self.channels);
        check(values.is_some_and(|values| values <= MAX_VALUES), "size", format!("{size:?}"), expected.as_str())?;
        check(self.channels > 0, "channels", self.channels.to_string(), "it must be at least 1")?;
        if let Some(Normalization { mean, std }) = &self.normalization {
            let finite = mean.len() == self.channels && mean.iter().all(|mean| mean.is_finite());
            check(finite, "normalization.mean", format!("{mean:?}"), "it must hold one finite number per channel")?;
            let positive = std.len() == self.channels && std.iter().all(|std| *std > 0.0 && std.is_finite());
            check(positive, "normalization.std", format!("{std:?}"), "it must hold one positive number per channel")?;
        }
        self.split.validate()
    }

    /// Reads the images.
    ///
    /// # Errors
    /// Returns [`TrainError::Data`] for a pixel that is not a number from 0 to `maximum`, [`TrainError::UnknownClass`]
    /// for a row with an unknown class, [`TrainError::UntrainedClass`] for a class without training rows, and the
    /// errors of [`ImageRecipe::validate`], [`Table::read_columns`] and [`SplitRecipe::split`].
    pub fn read(&self) -> Result<LabelledImages, TrainError> {
        self.validate()?;
        let pixels: Vec<String> = (0..self.shape[0] * self.shape[1]).map(|pixel| self.pixel_column(pixel)).collect();
        let columns = pixels.iter().map(String::as_str).chain([&*self.label]).chain(self.split.column());
        let table = Table::read_columns(&self.path, &columns.collect::<Vec<_>>())?;
        let rows = LabelledRows::read(&table, &self.label, self.classes.as_deref(), &self.split)?;
        let channels = match &self.normalization {
            Some(Normalization { mean, std }) => mean.iter().copied().zip(std.iter().copied()).collect(),
            None => vec![(0.0, 1.0); self.channels],
        };
        let (shape, size) = (self.shape, self.size.unwrap_or(self.shape));
        let grey = read_grey(&table, &self.pixels, shape, self.maximum)?;
        Ok(LabelledImages { rows, images: GreyImages { grey, shape, size, channels } })
    }

    /// The images. Their size does not depend on the model.
    pub(super) fn dataset(&self, _model_folder: Option<&Path>) -> Result<LabelledImages, TrainError> {
        self.read()
    }

    /// Name of the column of a pixel.
    fn pixel_column(&self, pixel: usize) -> String {
        format!("{}{pixel}", self.pixels)
    }
}

impl Dataset for LabelledImages {
    fn rows(&self) -> &LabelledRows {
        &self.rows
    }

    /// The images as model inputs, `[rows, channels, height, width]`. The token mask is empty.
    fn batch(&self, rows: &[usize], device: &Device) -> Result<ProbeBatch, TrainError> {
        Ok(ProbeBatch {
            inputs: self.images.inputs(rows, device),
            token_mask: Vec::new(),
            labels: self.labels(rows),
            means: Vec::new(),
        })
    }
}

impl LabelledImages {
    /// Shape of a model input: channels, height and width.
    pub fn image_shape(&self) -> [usize; 3] {
        self.images.image_shape()
    }

    /// The images with these indices as model inputs, enlarged and normalised.
    ///
    /// # Shapes
    /// - output: `[rows, channels, height, width]`, row-major
    ///
    /// # Panics
    /// Panics if an index is out of range.
    pub fn pixel_values(&self, rows: &[usize]) -> Vec<f32> {
        self.images.pixel_values(rows)
    }

    /// A control data set: the labels are permuted among the training images, and among the test images.
    pub fn shuffled(&self, seed: u64) -> Self {
        Self { rows: shuffled::permuted(&self.rows, seed), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{counts, file, shipped};
    use super::*;

    const DIGITS: &str = "path = \"data/digits.csv\"\nshape = [8, 8]\nmaximum = 16.0\n\
                          split = { seeded = { train_fraction = 0.8, seed = 0 } }";

    fn digits() -> ImageRecipe {
        toml::from_str::<ImageRecipe>(DIGITS).unwrap().resolve(shipped("digits/train.toml"))
    }

    /// Two training images of height 2 and width 3, and a test image.
    fn small() -> (tempfile::TempDir, ImageRecipe) {
        let rows = "0,1,2,3,4,4,b,train\n4,3,2,1,0,0,a,train\n0,0,0,0,0,0,a,test\n";
        let (folder, path) = file("a.csv", format!("p0,p1,p2,p3,p4,p5,label,side\n{rows}"));
        let split = SplitRecipe::Column("side".into());
        (folder, ImageRecipe { path, shape: [2, 3], maximum: 4.0, split, ..digits() })
    }

    #[test]
    fn pixels_lie_in_0_to_1() {
        let (_folder, recipe) = small();
        let images = recipe.read().unwrap();
        assert_eq!((images.rows.labels.len(), images.image_shape()), (3, [1, 2, 3]));
        assert_eq!(
            (&images.rows.labels[..], &images.rows.classes[..]),
            (&[1, 0, 0][..], &["a".to_string(), "b".into()][..])
        );
        assert_eq!(images.pixel_values(&[1]), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        assert_eq!(images.pixel_values(&[1, 0])[6..], [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn enlarged_repeated_and_normalised() {
        let (_folder, recipe) = small();
        let normalization = Some(Normalization { mean: vec![0.5, 0.0], std: vec![0.5, 0.25] });
        let images = ImageRecipe { size: Some([3, 4]), channels: 2, normalization, ..recipe }.read().unwrap();
        assert_eq!(images.image_shape(), [2, 3, 4]);
        // The model input has rows 0, 0, 1 and columns 0, 0, 1, 2 of the image in the file.
        let first = [-1.0, -1.0, -0.5, 0.0, -1.0, -1.0, -0.5, 0.0, 0.5, 0.5, 1.0, 1.0];
        let second = [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0];
        assert_eq!(images.pixel_values(&[0]), [first, second].concat());
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let (_folder, good) = small();
        let normal = |mean: &[f32], std: &[f32]| Some(Normalization { mean: mean.into(), std: std.into() });
        for (bad, name) in [
            (ImageRecipe { shape: [0, 3], ..good.clone() }, "shape"),
            (ImageRecipe { shape: [10_000, 10_000], ..good.clone() }, "shape"),
            (ImageRecipe { shape: [usize::MAX, 2], ..good.clone() }, "shape"),
            (ImageRecipe { size: Some([1, 3]), ..good.clone() }, "size"),
            (ImageRecipe { size: Some([1 << 40, 1 << 40]), ..good.clone() }, "size"),
            (ImageRecipe { channels: usize::MAX, ..good.clone() }, "size"),
            (ImageRecipe { maximum: 0.0, ..good.clone() }, "maximum"),
            (ImageRecipe { channels: 0, ..good.clone() }, "channels"),
            (ImageRecipe { normalization: normal(&[0.5, 0.5], &[0.5]), ..good.clone() }, "normalization.mean"),
            (ImageRecipe { normalization: normal(&[0.5], &[0.0]), ..good.clone() }, "normalization.std"),
            (
                ImageRecipe { split: SplitRecipe::Seeded { train_fraction: 2.0, seed: 0 }, ..good.clone() },
                "split.seeded.train_fraction",
            ),
        ] {
            assert!(matches!(bad.read(), Err(TrainError::Setting { setting, .. }) if setting == name), "{name}");
        }
    }

    #[test]
    fn a_pixel_that_is_none_and_a_missing_one_are_found() {
        let (_folder, recipe) = small();
        let low = ImageRecipe { maximum: 3.0, ..recipe.clone() }.read().unwrap_err();
        assert!(
            matches!(&low, TrainError::Data { line: Some(3), what: "a pixel", found, .. } if found == "`4`"),
            "{low}"
        );
        let large = ImageRecipe { shape: [2, 4], ..recipe }.read();
        assert!(matches!(large, Err(TrainError::DataColumn { column, .. }) if column == "p6"));
        for value in ["x", "-1", "NaN", ""] {
            let (_folder, path) = file("a.csv", format!("p0,label,side\n1,a,train\n{value},b,train\n1,a,test\n"));
            let error = ImageRecipe { path, shape: [1, 1], ..small().1 }.read().unwrap_err();
            assert!(matches!(&error, TrainError::Data { line: Some(3), what: "a pixel", .. }), "{error}");
        }
    }

    #[test]
    fn the_digits() {
        let images = digits().read().unwrap();
        assert_eq!(images.rows.labels.len(), 1797);
        assert_eq!((images.rows.split.train.len(), images.rows.split.test.len()), (1437, 360));
        assert_eq!(images.rows.classes.concat(), "0123456789");
        let all: Vec<usize> = (0..1797).collect();
        assert_eq!(counts(&images.rows.labels, &all, 10), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let pixels = images.pixel_values(&all);
        assert_eq!(pixels.len(), 1797 * 64);
        assert!(pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        assert_eq!(pixels[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0].map(|pixel| pixel / 16.0));
        let control = images.shuffled(1);
        assert_eq!(counts(&control.rows.labels, &all, 10), counts(&images.rows.labels, &all, 10));
        assert_ne!(control.rows.labels, images.rows.labels);
    }

    #[test]
    fn a_batch_holds_the_pixels_and_the_labels_of_its_rows() {
        let (_folder, recipe) = small();
        let images = recipe.read().unwrap();
        let batch = images.batch(&[1, 0], &Device::default()).unwrap();
        let pixels: Vec<f32> = batch.inputs.pixels().unwrap().to_data().iter().collect();
        assert_eq!((pixels, batch.labels), (images.pixel_values(&[1, 0]), vec![0, 1]));
        assert_eq!(batch.inputs.pixels().unwrap().dims(), [2, 1, 2, 3]);
        assert!(batch.token_mask.is_empty());
    }
}
