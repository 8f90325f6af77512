//! Reads image files as 8-bit images, like Pillow's `convert("RGB")` and `convert("L")`.

use std::{fs::File, io::BufReader, path::Path};

use image::{DynamicImage, ImageReader};

use crate::error::ModelError;

/// Reads an image file as an image with 1 (gray) or 3 (RGB) channels.
///
/// # Errors
/// Returns [`ModelError::Io`] if the file cannot be opened, and [`ModelError::Image`] if it is not an image or cannot
/// be converted.
pub(super) fn read(path: &Path, channels: usize) -> Result<DynamicImage, ModelError> {
    let error = |reason: String| ModelError::Image { path: path.into(), reason };
    let file = File::open(path).map_err(|source| ModelError::Io { action: "open", path: path.into(), source })?;
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
    let reader = reader.map_err(|cause| error(cause.to_string()))?;
    if reader.format().is_none() {
        return Err(error("it is not a PNG, JPEG or WebP file".into()));
    }
    let image = reader.decode().map_err(|cause| error(cause.to_string()))?;
    match channels {
        1 => gray(image),
        _ => rgb(image),
    }
    .map_err(error)
}

/// Converts an image to 8-bit RGB. The alpha channel is dropped without blending, gray is repeated, and 16-bit values
/// keep their upper 8 bits.
fn rgb(image: DynamicImage) -> Result<DynamicImage, String> {
    use DynamicImage as Image;
    let upper = |values: &[u16], pixel: usize| -> Vec<u8> {
        values.chunks_exact(pixel).flat_map(|pixel| &pixel[..3]).map(|value| (value >> 8) as u8).collect()
    };
    let (width, height) = (image.width(), image.height());
    let bytes: Vec<u8> = match &image {
        Image::ImageRgb8(_) => return Ok(image),
        Image::ImageLuma8(gray) => gray.iter().flat_map(|value| [*value; 3]).collect(),
        Image::ImageLumaA8(gray) => gray.pixels().flat_map(|pixel| [pixel.0[0]; 3]).collect(),
        Image::ImageRgba8(color) => color.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect(),
        Image::ImageRgb16(color) => upper(color, 3),
        Image::ImageRgba16(color) => upper(color, 4),
        // Pillow would clip 16-bit gray at 255, which turns most images white.
        other => return Err(format!("its pixel type is {:?}, which cannot be converted to 8-bit RGB", other.color())),
    };
    let image = image::RgbImage::from_raw(width, height, bytes);
    image.map(Image::ImageRgb8).ok_or_else(|| "its size does not match its pixel data".into())
}

/// Checks that an image is 8-bit gray, and drops its alpha channel.
fn gray(image: DynamicImage) -> Result<DynamicImage, String> {
    match image {
        DynamicImage::ImageLuma8(_) => Ok(image),
        DynamicImage::ImageLumaA8(_) => Ok(image.into_luma8().into()),
        other => {
            Err(format!("its pixel type is {:?}, but the model expects 8-bit gray images (1 channel)", other.color()))
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    /// Writes an image to a file and reads it back.
    fn through_file(image: impl Into<DynamicImage>, channels: usize) -> Result<DynamicImage, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        image.into().save(&path).unwrap();
        read(&path, channels)
    }

    fn bytes(image: impl Into<DynamicImage>, channels: usize) -> Vec<u8> {
        through_file(image, channels).unwrap().into_bytes()
    }

    #[test]
    fn colours_lose_their_opacity_and_gray_is_repeated() {
        assert_eq!(bytes(RgbImage::from_pixel(1, 1, Rgb([1, 2, 3])), 3), [1, 2, 3]);
        assert_eq!(bytes(RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 0])), 3), [1, 2, 3]);
        assert_eq!(bytes(GrayImage::from_pixel(1, 1, Luma([7])), 3), [7, 7, 7]);
        assert_eq!(bytes(GrayAlphaImage::from_pixel(1, 1, image::LumaA([7, 0])), 3), [7, 7, 7]);
    }

    #[test]
    fn sixteen_bits_keep_the_upper_eight_and_deep_gray_is_an_error() {
        let color: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Rgb([0x12ff, 0xff80, 0x00ff]));
        assert_eq!(bytes(color, 3), [0x12, 0xff, 0]);
        let color: ImageBuffer<Rgba<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Rgba([0x12ff, 0xff80, 0, 9]));
        assert_eq!(bytes(color, 3), [0x12, 0xff, 0]);
        let gray: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Luma([300]));
        assert!(matches!(through_file(gray, 3), Err(ModelError::Image { reason, .. }) if reason.contains("L16")));
    }

    #[test]
    fn a_model_of_one_channel_sees_gray_images_only() {
        assert_eq!(bytes(GrayImage::from_pixel(1, 1, Luma([7])), 1), [7]);
        assert_eq!(bytes(GrayAlphaImage::from_pixel(1, 1, image::LumaA([7, 0])), 1), [7]);
        let error = through_file(RgbImage::new(1, 1), 1).unwrap_err().to_string();
        assert!(error.contains("Rgb8") && error.contains("1 channel"), "{error}");
    }

    #[test]
    fn the_contents_count_and_not_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let (png, jpeg) = (folder.path().join("image.png"), folder.path().join("image.jpeg"));
        RgbImage::from_pixel(2, 3, Rgb([1, 2, 3])).save(&png).unwrap();
        std::fs::rename(&png, &jpeg).unwrap();
        assert_eq!(read(&jpeg, 3).unwrap().width(), 2);
    }

    #[test]
    fn what_is_absent_no_image_or_cut_off_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        assert!(matches!(read(&path, 3), Err(ModelError::Io { action: "open", .. })));
        std::fs::write(&path, "a text").unwrap();
        assert!(matches!(read(&path, 3), Err(ModelError::Image { path: named, .. }) if named == path));
        RgbImage::from_pixel(20, 20, Rgb([1, 2, 3])).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(read(&path, 3), Err(ModelError::Image { .. })));
    }
}
