//! Tests of the steps that `preprocessor_config.json` describes.

use serde_json::json;

use super::*;

fn read(json: Value, model: Value) -> Result<Steps, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), json.to_string()).unwrap();
    std::fs::write(folder.path().join("config.json"), model.to_string()).unwrap();
    Steps::read(folder.path())
}

fn steps(mut json: Value, processor: &str) -> Steps {
    json["image_processor_type"] = processor.into();
    read(json, json!({})).unwrap()
}

#[test]
fn vit_is_resized_exactly_and_never_cropped() {
    let default = steps(json!({"do_center_crop": true}), "ViTImageProcessor");
    assert_eq!(default.resize, Some((Size::Exact([224, 224]), Filter::Bilinear)));
    assert_eq!((default.crop, default.channels), (None, 3));
    for (size, expected) in
        [(json!(30), [30, 30]), (json!([20, 30]), [20, 30]), (json!({"height": 20, "width": 30}), [20, 30])]
    {
        let steps = steps(json!({"size": size, "resample": 3}), "ViTFeatureExtractor");
        assert_eq!(steps.resize, Some((Size::Exact(expected), Filter::Bicubic)));
    }
}

#[test]
fn convnext_crops_below_384_and_warps_from_there_on() {
    let resized = |json| {
        let steps = steps(json, "ConvNextImageProcessor");
        (steps.resize.unwrap().0, steps.crop)
    };
    assert_eq!(resized(json!({})), (Size::Exact([384, 384]), None));
    assert_eq!(resized(json!({"size": 224})), (Size::ShortestEdge(256), Some([224, 224])));
    let half = json!({"size": {"shortest_edge": 33}, "crop_pct": 0.5});
    assert_eq!(resized(half), (Size::ShortestEdge(66), Some([33, 33])));
    assert_eq!(resized(json!({"size": 383, "crop_pct": 0.95})), (Size::ShortestEdge(403), Some([383, 383])));
    assert!(steps(json!({"size": 224, "do_resize": false}), "ConvNextImageProcessor").crop.is_none());
}

#[test]
fn clip_and_deit_crop_after_the_resize() {
    let clip = steps(json!({"size": 32, "crop_size": 24}), "CLIPImageProcessor");
    assert_eq!(clip.resize, Some((Size::ShortestEdge(32), Filter::Bicubic)));
    assert_eq!(clip.crop, Some([24, 24]));
    assert_eq!(clip.tables[0][0], -(0.481_454_66 / 0.268_629_54_f32));
    let deit = steps(json!({"do_center_crop": false}), "DeiTImageProcessor");
    assert_eq!((deit.resize, deit.crop), (Some((Size::Exact([256, 256]), Filter::Bicubic)), None));
}

#[test]
fn values_are_rescaled_and_normalised_where_asked() {
    let value = |json: Value, value: usize| steps(json, "ViTImageProcessor").tables[1][value];
    assert_eq!(value(json!({}), 255), 1.0);
    assert_eq!(value(json!({}), 0), -1.0);
    assert_eq!(value(json!({"do_normalize": false}), 51), 0.2);
    assert_eq!(value(json!({"do_normalize": false, "rescale_factor": 0.5}), 51), 25.5);
    assert_eq!(value(json!({"do_normalize": false, "do_rescale": false}), 51), 51.0);
    assert_eq!(value(json!({"do_rescale": false, "image_mean": [1, 2, 3], "image_std": 2}), 51), 24.5);
}

#[test]
fn an_old_file_without_a_processor_goes_by_the_model() {
    assert!(matches!(
        read(json!({"size": 224}), json!({"model_type": "resnet"})).unwrap().resize,
        Some((Size::ShortestEdge(256), _))
    ));
}

#[test]
fn a_model_of_one_channel_has_one_mean() {
    let gray = read(
        json!({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5], "image_std": [0.5]}),
        json!({"num_channels": 1}),
    );
    assert_eq!(gray.unwrap().tables.len(), 1);
}

#[test]
fn an_unknown_processor_lists_the_known_ones() {
    let error = read(json!({"image_processor_type": "DonutImageProcessor"}), json!({})).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("Donut") && message.contains("ConvNextFeatureExtractor"), "{message}");
    assert!(matches!(read(json!({}), json!({})), Err(ModelError::UnknownImageProcessor { .. })));
}

#[test]
fn an_absent_file_says_what_it_is() {
    let error = Steps::read(tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json") && error.contains("resized and normalised"), "{error}");
}

#[test]
fn values_that_cannot_be_are_errors() {
    let vit = "ViTImageProcessor";
    let convnext = "ConvNextImageProcessor";
    for (processor, key, value) in [
        (vit, "size", json!(0)),
        (vit, "size", json!(1e9)),
        (vit, "size", json!("large")),
        (vit, "size", json!({"height": 3})),
        (vit, "size", json!({"shortest_edge": 3})),
        (convnext, "size", json!({"height": 3, "width": 3})),
        (convnext, "crop_pct", json!("some")),
        (vit, "resample", json!(9)),
        (vit, "image_mean", json!([0.5])),
        (vit, "image_mean", json!(["a", "b", "c"])),
        (vit, "image_std", json!([1, 1, 0])),
        (vit, "do_resize", json!("yes")),
        (vit, "rescale_factor", json!([1])),
        ("CLIPImageProcessor", "crop_size", json!({"height": 3})),
    ] {
        // A size below 384, so that `crop_pct` is read. The cases with the key `size` replace it.
        let mut config = json!({"image_processor_type": processor, "size": 224});
        config[key] = value.clone();
        let error = read(config, json!({})).err();
        let reason = match error {
            Some(ModelError::ImageProcessor { reason, .. }) => reason,
            other => panic!("{key} = {value}: {other:?}"),
        };
        assert!(reason.contains(key.split('_').next_back().unwrap()) || reason.contains("edge"), "{key}: {reason}");
    }
    let zero = json!({"image_processor_type": convnext, "size": 224, "crop_pct": 0});
    assert!(matches!(read(zero, json!({})), Err(ModelError::ImageProcessor { .. })));
    let four = read(json!({"image_processor_type": vit}), json!({"num_channels": 4}));
    assert!(matches!(four, Err(ModelError::ImageProcessor { .. })));
}
