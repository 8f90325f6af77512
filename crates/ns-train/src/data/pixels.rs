//! Grey images in a table with one column per pixel.

use burn::tensor::{Device, Tensor, TensorData};
use ns_models::ModelInputs;

use super::Table;
use crate::error::TrainError;

/// Grey images in the size of the file. [`GreyImages::pixel_values`] enlarges them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GreyImages {
    /// Grey values between 0 and 1, `[n, height, width]` in the size of the file.
    pub(super) grey: Vec<f32>,
    /// Height and width of the images in the file.
    pub(super) shape: [usize; 2],
    /// Height and width of the model inputs.
    pub(super) size: [usize; 2],
    /// Mean and standard deviation of each channel.
    pub(super) channels: Vec<(f32, f32)>,
}

/// Checks sizes and maximum. `names` are the keys of the recipe: shape, size and maximum.
///
/// # Errors
/// Returns [`TrainError::Setting`] for an image without pixels or smaller than in the file, and for another maximum than
/// a positive number.
pub(super) fn check_sizes(
    names: [&'static str; 3],
    [height, width]: [usize; 2],
    size: [usize; 2],
    maximum: f32,
) -> Result<(), TrainError> {
    let found = format!("[{height}, {width}]");
    TrainError::check(height > 0 && width > 0, names[0], found, "an image needs at least one pixel")?;
    let expected = format!("images can only be enlarged: it must be at least `{}`", names[0]);
    TrainError::check(size[0] >= height && size[1] >= width, names[1], format!("{size:?}"), expected)?;
    let positive = maximum > 0.0 && maximum.is_finite();
    TrainError::check(positive, names[2], maximum, "it must be positive and finite")
}

/// Reads the grey values of a table, `[n, height, width]`, from the columns `{prefix}0`, `{prefix}1`, …
///
/// # Errors
/// Returns [`TrainError::DataColumn`] for a missing column, and [`TrainError::Data`] for a pixel that is not a number
/// from 0 to `maximum`.
pub(super) fn read_grey(table: &Table, prefix: &str, shape: [usize; 2], maximum: f32) -> Result<Vec<f32>, TrainError> {
    let pixels = shape[0] * shape[1];
    let mut grey = vec![0.0; table.len() * pixels];
    for pixel in 0..pixels {
        for (row, value) in table.column(&format!("{prefix}{pixel}"))?.into_iter().enumerate() {
            let number = value.parse::<f32>().ok().filter(|number| (0.0..=maximum).contains(number));
            grey[row * pixels + pixel] = number.ok_or_else(|| {
                let expected = format!("it must be a number from 0 to {maximum}");
                table.invalid(row, "a pixel", format!("`{value}`"), expected)
            })? / maximum;
        }
    }
    Ok(grey)
}

impl GreyImages {
    /// Shape of a model input: channels, height and width.
    pub(super) fn image_shape(&self) -> [usize; 3] {
        [self.channels.len(), self.size[0], self.size[1]]
    }

    /// The images with these indices, `[rows, channels, height, width]`.
    pub(super) fn inputs(&self, rows: &[usize], device: &Device) -> ModelInputs {
        let [channels, height, width] = self.image_shape();
        let values = TensorData::new(self.pixel_values(rows), [rows.len(), channels, height, width]);
        ModelInputs::images(Tensor::from_data(values, device))
    }

    /// The images with these indices, enlarged and normalised, `[rows, channels, height, width]`.
    pub(super) fn pixel_values(&self, rows: &[usize]) -> Vec<f32> {
        let [channels, height, width] = self.image_shape();
        let mut values = Vec::with_capacity(rows.len() * channels * height * width);
        for row in rows {
            let grey = self.grey_of(*row);
            for (mean, std) in &self.channels {
                values.extend(self.source_pixels().map(|pixel| (grey[pixel] - mean) / std));
            }
        }
        values
    }

    /// The grey values of an image, `[height, width]` in the size of the file.
    pub(super) fn grey_of(&self, row: usize) -> &[f32] {
        let pixels = self.shape[0] * self.shape[1];
        &self.grey[row * pixels..(row + 1) * pixels]
    }

    /// For each pixel of a model input, the index of the nearest pixel in the file. Row `i` of `H` is row `⌊i · h / H⌋`
    /// of `h`, like `nearest` of PyTorch.
    fn source_pixels(&self) -> impl Iterator<Item = usize> {
        let ([height, width], [rows, columns]) = (self.size, self.shape);
        (0..height).flat_map(move |y| (0..width).map(move |x| y * rows / height * columns + x * columns / width))
    }
}
