//! Resizes images with results bit-identical to Pillow's `Image.resize`.
//!
//! HF's image processors resize 8-bit images with Pillow, so models are trained on its rounding: filter weights in
//! 22-bit fixed point, and an 8-bit image between the horizontal and the vertical pass (Pillow,
//! `src/libImaging/Resample.c`; nearest neighbour in `Geometry.c`). Libraries with another order of the passes or
//! 16-bit weights differ by 1 (of 255) in every fourth value, and by 20 and more where a sharp filter overshoots.
//!
//! The order of the passes is that of Pillow 13. Older versions always ran the horizontal pass first; their results
//! differ for images whose height shrinks much more than their width.

use std::f64::consts::PI;

use super::PreparedImage;

/// Fractional bits of a filter weight: 32 bits, minus 8 for the pixel, minus 2 because sums of weights can exceed 1.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// A resampling filter, Pillow's `Resampling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

impl Filter {
    /// Returns the filter with a number of Pillow's, as `preprocessor_config.json` uses them; `None` for other numbers.
    pub(super) fn from_code(code: u64) -> Option<Self> {
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming]
            .get(usize::try_from(code).ok()?)
            .copied()
    }

    /// Radius of the filter, in pixels of the smaller image.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Weight at the distance `x`, in pixels of the smaller image.
    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn hamming(x: f64) -> f64 {
    match x {
        0.0 => 1.0,
        x if x >= 1.0 => 0.0,
        // Pillow uses f32 constants in f64 arithmetic.
        x => (x * PI).sin() / (x * PI) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (x * PI).cos()),
    }
}

/// Cubic convolution kernel with a = −1/2 (Keys 1981).
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// Resizes an image to `[height, width]`.
pub(super) fn resize(image: &PreparedImage, size: [usize; 2], filter: Filter) -> PreparedImage {
    match (filter, image.channels) {
        (Filter::Nearest, _) => nearest(image, size),
        (_, 1) => convolve::<1>(image, size, filter),
        (_, _) => convolve::<3>(image, size, filter),
    }
}

/// Resizes with the nearest-neighbour filter.
fn nearest(image: &PreparedImage, [height, width]: [usize; 2]) -> PreparedImage {
    let columns = nearest_positions(image.width, width);
    let mut bytes = Vec::with_capacity(height * width * image.channels);
    for row in nearest_positions(image.height, height) {
        for column in &columns {
            let offset = (row * image.width + column) * image.channels;
            bytes.extend_from_slice(&image.bytes[offset..offset + image.channels]);
        }
    }
    PreparedImage { height, width, bytes, ..*image }
}

/// Source position of each target position. Like Pillow, it accumulates the step: the rounding of the sums decides
/// ties.
fn nearest_positions(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let steps = std::iter::successors(Some(step * 0.5), |position| Some(position + step));
    steps.take(to).map(|position| (position as usize).min(from - 1)).collect()
}

/// Resizes with a convolution filter, in a horizontal and a vertical pass.
fn convolve<const CHANNELS: usize>(
    image: &PreparedImage,
    [height, width]: [usize; 2],
    filter: Filter,
) -> PreparedImage {
    let rows = |image: &PreparedImage| resize_rows::<CHANNELS>(image, width, filter);
    let columns = |image: &PreparedImage| resize_columns(image, height, filter);
    match (width == image.width, height == image.height) {
        (true, true) => image.clone(),
        (true, false) => columns(image),
        (false, true) => rows(image),
        (false, false) if columns_first(image, [height, width]) => rows(&columns(image)),
        (false, false) => columns(&rows(image)),
    }
}

/// Whether the vertical pass comes first: the height loses more than twice as many pixels as the width.
fn columns_first(image: &PreparedImage, [height, width]: [usize; 2]) -> bool {
    let lost = |from: usize, to: usize| from as i64 - to as i64;
    height < image.height && lost(image.height, height) > 2 * lost(image.width, width)
}

/// The source pixels that contribute to one target pixel, with their fixed-point weights.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Windows of all target pixels, for a resize of one axis from `from` to `to` pixels.
fn windows(from: usize, to: usize, filter: Filter) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    // Pillow multiplies by the reciprocal, which rounds differently than a division.
    let shrink = 1.0 / filter_scale;
    let window = |target: usize| {
        let center = (target as f64 + 0.5) * scale;
        // Both casts round towards zero.
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weight = |x: usize| filter.weight((x as f64 - center + 0.5) * shrink);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Window { start, weights: weights.iter().map(|weight| fixed_point(*weight, sum)).collect() }
    };
    (0..to).map(window).collect()
}

/// Normalised weight in fixed point, rounded half away from zero.
fn fixed_point(weight: f64, sum: f64) -> i32 {
    let weight = if sum == 0.0 { weight } else { weight / sum } * f64::from(1 << PRECISION_BITS);
    if weight < 0.0 { (weight - 0.5) as i32 } else { (weight + 0.5) as i32 }
}

/// The horizontal pass: changes the width.
fn resize_rows<const CHANNELS: usize>(image: &PreparedImage, width: usize, filter: Filter) -> PreparedImage {
    let windows = windows(image.width, width, filter);
    let mut bytes = Vec::with_capacity(image.height * width * CHANNELS);
    for row in image.bytes.chunks_exact(image.width * CHANNELS) {
        let (pixels, _) = row.as_chunks::<CHANNELS>();
        for window in &windows {
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in pixels[window.start..].iter().zip(&window.weights) {
                (0..CHANNELS).for_each(|channel| sums[channel] += i32::from(pixel[channel]) * weight);
            }
            bytes.extend(sums.map(clip));
        }
    }
    PreparedImage { width, bytes, ..*image }
}

/// The vertical pass: changes the height.
fn resize_columns(image: &PreparedImage, height: usize, filter: Filter) -> PreparedImage {
    let row_length = image.width * image.channels;
    let mut bytes = Vec::with_capacity(height * row_length);
    let mut sums = vec![HALF; row_length];
    for window in windows(image.height, height, filter) {
        sums.fill(HALF);
        let rows = image.bytes[window.start * row_length..].chunks_exact(row_length);
        for (row, weight) in rows.zip(&window.weights) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += i32::from(*value) * weight);
        }
        bytes.extend(sums.iter().map(|sum| clip(*sum)));
    }
    PreparedImage { height, bytes, ..*image }
}

/// One half in fixed point. Sums start with it, so that dropping the fractional bits rounds to the nearest integer.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Converts a fixed-point sum to 8 bits, clipped to 0 to 255.
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(height: usize, width: usize, bytes: &[u8]) -> PreparedImage {
        PreparedImage { channels: 1, height, width, bytes: bytes.to_vec() }
    }

    const FILTERS: [Filter; 6] =
        [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];

    #[test]
    fn an_image_of_one_colour_keeps_it_at_every_size() {
        let image = gray(5, 7, &[201; 35]);
        for filter in FILTERS {
            for size in [[1, 1], [3, 4], [5, 7], [5, 20], [11, 7], [13, 17]] {
                let resized = resize(&image, size, filter);
                assert_eq!([resized.height, resized.width], size);
                assert_eq!(resized.bytes, vec![201; size[0] * size[1]], "{filter:?} {size:?}");
            }
        }
    }

    #[test]
    fn halving_with_the_box_is_the_mean_and_rounds_half_up() {
        assert_eq!(resize(&gray(1, 4, &[0, 1, 10, 20]), [1, 2], Filter::Box).bytes, [1, 15]);
        assert_eq!(resize(&gray(4, 1, &[0, 1, 10, 20]), [2, 1], Filter::Box).bytes, [1, 15]);
    }

    #[test]
    fn doubling_bilinearly_mixes_three_to_one() {
        assert_eq!(resize(&gray(1, 2, &[0, 100]), [1, 4], Filter::Bilinear).bytes, [0, 25, 75, 100]);
    }

    #[test]
    fn sharp_filters_overshoot_and_are_clipped() {
        for filter in [Filter::Bicubic, Filter::Lanczos] {
            let edge = resize(&gray(1, 8, &[0, 0, 0, 0, 255, 255, 255, 255]), [1, 16], filter).bytes;
            assert_eq!((edge[0], edge[15]), (0, 255), "{filter:?}: {edge:?}");
        }
    }

    #[test]
    fn nearest_takes_the_pixel_below_the_middle() {
        assert_eq!(resize(&gray(1, 4, &[1, 2, 3, 4]), [1, 2], Filter::Nearest).bytes, [2, 4]);
        assert_eq!(resize(&gray(1, 2, &[1, 2]), [1, 5], Filter::Nearest).bytes, [1, 1, 2, 2, 2]);
    }

    #[test]
    fn the_columns_come_first_where_the_height_loses_more_than_twice_as_much() {
        let image = gray(60, 60, &[0; 3600]);
        assert!(columns_first(&image, [19, 40]) && !columns_first(&image, [20, 40]));
        assert!(columns_first(&image, [59, 61]), "a wider image");
        assert!(!columns_first(&image, [61, 90]) && !columns_first(&image, [60, 61]), "a height that grows or stays");
    }

    #[test]
    fn channels_do_not_mix() {
        let bytes = vec![0, 50, 200, 100, 50, 100];
        let image = PreparedImage { channels: 3, height: 1, width: 2, bytes };
        let resized = resize(&image, [2, 4], Filter::Bilinear);
        let row = [0, 50, 200, 25, 50, 175, 75, 50, 125, 100, 50, 100];
        assert_eq!(resized.bytes, [row, row].concat());
    }

    #[test]
    fn filters_have_pillows_numbers() {
        for (code, filter) in FILTERS.into_iter().enumerate() {
            assert_eq!(Filter::from_code(code as u64), Some(filter));
        }
        assert_eq!(Filter::from_code(6), None);
    }
}
