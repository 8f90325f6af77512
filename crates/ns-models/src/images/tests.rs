//! Tests of [`ImagePreprocessor`]: settings and errors here, comparisons with HF's results in `golden`.

mod golden;

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

use super::*;

fn preprocessor(config: Value, model: Value) -> ImagePreprocessor {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("config.json"), model.to_string()).unwrap();
    ImagePreprocessor::from_folder(folder.path()).unwrap()
}

/// A preprocessor without rescaling and normalisation: its values are the pixel values.
fn plain(mut config: Value) -> ImagePreprocessor {
    config["do_rescale"] = false.into();
    config["do_normalize"] = false.into();
    preprocessor(config, json!({}))
}

fn vit() -> ImagePreprocessor {
    plain(json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 2, "width": 3}}))
}

/// An image whose first two channels are the column and row of the pixel.
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
    let one = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0];
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
    let pixels = |height, width| PreparedImage { channels: 1, height, width, bytes: vec![] };
    for ((height, width), expected) in
        [((480, 640), [256, 341]), ((640, 480), [341, 256]), ((333, 500), [256, 384]), ((7, 7), [256, 256])]
    {
        assert_eq!(size_for(Size::ShortestEdge(256), &pixels(height, width)), expected);
    }
}

#[test]
fn a_crop_larger_than_the_image_has_a_border_of_zeros() {
    let image = PreparedImage { channels: 1, height: 1, width: 3, bytes: vec![1, 2, 3] };
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
    assert!(invalid(&[image(2, 2), GrayImage::new(2, 2).into()]).contains("L8 for image 1"));
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
