//! Compares preprocessed images with the results of HF's image processors (tests/golden/images).

use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};

use crate::checkpoint::Checkpoint;
use crate::images::ImagePreprocessor;

/// Tolerance for JPEG files. Decoders differ in rounding and in chroma upsampling at edges; all but a few pixels are
/// within 2 of libjpeg's.
const LARGEST_MEAN_JPEG_ERROR: f32 = 0.01;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images")
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// All test cases: the folder of an image processor, an image file, and the file with the expected `pixel_values`.
fn cases() -> Vec<(PathBuf, PathBuf, PathBuf)> {
    let (variants, images): (Vec<_>, Vec<_>) = paths(&folder()).into_iter().partition(|path| path.is_dir());
    let mut cases = Vec::new();
    for variant in variants {
        for case in paths(&variant).into_iter().filter(|path| path.extension().unwrap() == "safetensors") {
            let image = images.iter().find(|image| image.file_stem() == case.file_stem()).unwrap();
            cases.push((variant.clone(), image.clone(), case));
        }
    }
    cases
}

fn pixel_values(variant: &Path, image: &Path) -> TensorData {
    let preprocessor = ImagePreprocessor::from_folder(variant).unwrap();
    let images = preprocessor.read_images(&[image]).unwrap();
    preprocessor.preprocess(&images, &Device::default()).unwrap().squeeze_dim::<3>(0).into_data()
}

fn check(is_exact: bool, differ: impl Fn(&[f32], &[f32]) -> bool) {
    let (mut count, mut failed) = (0, Vec::new());
    for (variant, image, case) in cases() {
        if (image.extension().unwrap() == "png") != is_exact {
            continue;
        }
        let expected = Checkpoint::open_file(&case).unwrap().data("pixel_values").unwrap().unwrap();
        let found = pixel_values(&variant, &image);
        assert_eq!(found.shape(), expected.shape(), "{}", case.display());
        if differ(found.as_slice().unwrap(), expected.as_slice().unwrap()) {
            failed.push(case);
        }
        count += 1;
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count > 0);
}

#[test]
fn pixel_values_equal_those_of_hf_to_the_bit() {
    check(true, |found, expected| found != expected);
}

#[test]
fn jpegs_differ_by_their_decoders_only() {
    check(false, |found, expected| {
        let sum: f32 = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).sum();
        sum / found.len() as f32 > LARGEST_MEAN_JPEG_ERROR
    });
}
