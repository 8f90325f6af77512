//! Tests of a whole ViT: its inputs, outputs, gradients and model folder.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, Tolerance};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Vit, VitConfig};
use crate::checkpoint::Pretrained;
use crate::config::CommonConfig;
use crate::error::ModelError;
use crate::inputs::{Logits, ModelInputs};
use crate::layers::LayerKind;
use crate::loss::{Labels, cross_entropy};
use crate::model::Model;
use crate::residual::VectorCache;
use crate::site::Site;
use crate::testing::{change_config, change_weights, filled, read_weights};
use crate::transformer::Transformer;

const CLASSES: &str = "ViTForImageClassification";

/// Two blocks with square weights; images of 9 × 6 pixels in six patches of 4 × 2, with one row of pixels left over.
fn config(class: &str) -> Value {
    json!({
        "model_type": "vit", "architectures": [class], "image_size": [9, 6], "patch_size": [4, 2],
        "num_channels": 2, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 8, "id2label": {"0": "a", "1": "b", "2": "c"}, "encoder_stride": 7,
    })
}

fn model_on(class: &str, device: &Device) -> Vit {
    filled(Vit::from_config(&config(class), device).unwrap())
}

fn model(class: &str) -> Vit {
    model_on(class, &Device::default())
}

fn images(dims: [usize; 4]) -> ModelInputs {
    let count = dims.iter().product::<usize>() as i64;
    let values = Tensor::<1, Int>::arange(0..count, &Device::default()).float();
    ModelInputs::images((values * 0.7).sin().reshape(dims))
}

fn inputs() -> ModelInputs {
    images([2, 2, 9, 6])
}

fn saved(class: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model(class).save(folder.path()).unwrap();
    folder
}

fn load(folder: &TempDir) -> Result<Vit, ModelError> {
    Vit::load(folder.path(), &Device::default())
}

fn scores(model: &Vit) -> Tensor<2> {
    match model.logits(&inputs()).unwrap() {
        Some(Logits::Sequences(scores)) => scores,
        other => panic!("{other:?}"),
    }
}

#[test]
fn saved_and_loaded_is_the_same_bit_for_bit() {
    for class in ["ViTModel", CLASSES] {
        let (first, second) = (saved(class), tempfile::tempdir().unwrap());
        load(&first).unwrap().save(second.path()).unwrap();
        for file in ["model.safetensors", "config.json"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert!(read(first.path()) == read(second.path()), "{class}: {file}");
        }
    }
}

#[test]
fn a_config_is_written_back_as_it_was() {
    let given = config(CLASSES);
    let written = serde_json::to_value(model(CLASSES).config()).unwrap();
    for (field, value) in given.as_object().unwrap() {
        assert_eq!(&written[field], value, "{field}");
    }
    assert_eq!(written.get("add_pooling_layer"), None);
}

#[test]
fn the_class_decides_about_pooler_classifier_and_prefix() {
    let base = model("ViTModel").forward(&inputs()).unwrap();
    assert_eq!(base.pooler_output.map(|pooled| pooled.dims()), Some([2, 8]));
    assert!(base.logits.is_none());
    let head = model(CLASSES).forward(&inputs()).unwrap();
    assert!(head.pooler_output.is_none());
    assert_eq!(scores(&model(CLASSES)).dims(), [2, 3]);

    let keys = read_weights(saved("ViTModel").path());
    assert!(keys.contains_key("pooler.dense.weight") && keys.contains_key("embeddings.cls_token"), "{keys:?}");
    let keys = read_weights(saved(CLASSES).path());
    assert!(keys.keys().all(|key| key.starts_with("vit.") || key.starts_with("classifier.")));
    assert!(!keys.contains_key("vit.pooler.dense.weight"));

    let mut without_class = config(CLASSES);
    without_class.as_object_mut().unwrap().remove("architectures");
    let model = Vit::from_config(&without_class, &Device::default()).unwrap();
    assert!(model.forward(&inputs()).unwrap().pooler_output.is_some());
}

#[test]
fn a_mask_token_and_a_pooler_without_use_are_passed_over() {
    let folder = saved(CLASSES);
    change_weights(folder.path(), |tensors| {
        let token = tensors["vit.embeddings.cls_token"].clone();
        let square = tensors["vit.encoder.layer.0.output.dense.weight"].clone();
        let bias = tensors["vit.layernorm.bias"].clone();
        tensors.insert("vit.embeddings.mask_token".into(), token);
        tensors.insert("vit.pooler.dense.weight".into(), square);
        tensors.insert("vit.pooler.dense.bias".into(), bias);
    });
    scores(&load(&folder).unwrap()).into_data().assert_eq(&scores(&model(CLASSES)).into_data(), true);

    change_weights(folder.path(), |tensors| {
        tensors.insert("vit.embeddings.other".into(), tensors["vit.layernorm.bias"].clone());
    });
    assert!(matches!(load(&folder), Err(ModelError::ExtraTensors { .. })));
}

#[test]
fn the_base_model_of_a_classifier_has_no_pooler_and_stays_so() {
    let base = Vit::load_base(saved(CLASSES).path(), &Device::default()).unwrap();
    let hidden = |model: &Vit| model.forward(&inputs()).unwrap().last_hidden_state.into_data();
    hidden(&base).assert_eq(&hidden(&model(CLASSES)), true);
    let folder = tempfile::tempdir().unwrap();
    base.save(folder.path()).unwrap();
    assert!(load(&folder).unwrap().forward(&inputs()).unwrap().pooler_output.is_none());
}

#[test]
fn maskable_layers_have_hf_names_and_shapes() {
    let layers = model(CLASSES).maskable_layers();
    let names: Vec<_> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let block = |block: usize| {
        let parts = ["attention.attention.query", "attention.attention.key", "attention.attention.value"];
        let rest = ["attention.output.dense", "intermediate.dense", "output.dense"];
        parts.into_iter().chain(rest).map(move |part| format!("vit.encoder.layer.{block}.{part}"))
    };
    let projection = "vit.embeddings.patch_embeddings.projection".to_string();
    let expected: Vec<_> =
        std::iter::once(projection).chain(block(0)).chain(block(1)).chain(["classifier".into()]).collect();
    assert_eq!(names, expected);
    assert_eq!((layers[0].kind, &layers[0].shape[..]), (LayerKind::Conv2d, &[8, 2, 4, 2][..]));
    assert_eq!((layers[13].kind, &layers[13].shape[..]), (LayerKind::Linear, &[3, 8][..]));
    assert!(layers.iter().all(|layer| layer.bias));
    let last = model("ViTModel").maskable_layers().pop().unwrap();
    assert_eq!((last.name.as_str(), last.path.as_str()), ("pooler.dense", "vit.pooler"));

    let mut without_bias = config(CLASSES);
    without_bias["qkv_bias"] = json!(false);
    let layers = Vit::from_config(&without_bias, &Device::default()).unwrap().maskable_layers();
    let without: Vec<_> = layers.iter().filter(|layer| !layer.bias).map(|layer| &layer.name).collect();
    assert_eq!(without.len(), 6, "{without:?}");
}

#[test]
fn vectors_at_some_positions_are_a_slice_of_all() {
    let model = model(CLASSES);
    let mut cache = VectorCache::new(model.sites()).to_the_end();
    model.walk(&inputs(), &mut cache).unwrap();
    assert_eq!(model.stream_dims(&inputs()).unwrap(), [2, 7]);
    for site in model.sites() {
        for positions in [0..7, 0..1, 2..5] {
            let some = model.vectors_at(site, positions.clone(), &inputs()).unwrap();
            let all = cache.get(site).unwrap().slice_dim(1, positions);
            some.into_data().assert_approx_eq::<f32>(&all.into_data(), Tolerance::absolute(1e-6));
        }
    }
    assert!(model.vectors_at(Site::Embeddings, 6..8, &inputs()).is_err());
}

#[test]
fn left_over_pixels_are_not_seen() {
    let changed = |row: usize| {
        let pixels = inputs().pixel_values.unwrap();
        let pixels =
            pixels.slice_assign([0..2, 0..2, row..row + 1, 0..6], Tensor::ones([2, 2, 1, 6], &Device::default()));
        let model = model(CLASSES);
        model.forward(&ModelInputs::images(pixels)).unwrap().last_hidden_state.into_data()
    };
    let plain = model(CLASSES).forward(&inputs()).unwrap().last_hidden_state.into_data();
    assert_eq!(changed(8), plain);
    assert_ne!(changed(7), plain);
}

#[test]
fn the_loss_is_the_mean_cross_entropy() {
    let model = model(CLASSES);
    let labels = Tensor::<1, Int>::from_ints([2, 0], &Device::default());
    let output = model.task_output(&inputs(), &Labels::Classes(labels.clone())).unwrap();
    let expected = cross_entropy(scores(&model), labels.clone());
    output.loss.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::default());
    let outside = Labels::Classes(labels + 1);
    assert!(matches!(model.task_output(&inputs(), &outside), Err(ModelError::InvalidInput { .. })));
    let base = self::model("ViTModel");
    assert!(base.task_output(&inputs(), &outside).unwrap_err().to_string().contains("no head"));
}

#[test]
fn gradients_reach_the_images() {
    let device = Device::default().autodiff();
    let model = model_on(CLASSES, &device);
    let pixels = Tensor::from_inner(inputs().pixel_values.unwrap()).require_grad();
    let labels = Labels::Classes(Tensor::from_ints([2, 0], &device));
    let loss = model.task_output(&ModelInputs::images(pixels.clone()), &labels).unwrap().loss;
    let gradient = pixels.grad(&loss.backward()).unwrap();
    assert_eq!(gradient.dims(), [2, 2, 9, 6]);
    assert!(gradient.clone().abs().sum().into_scalar::<f32>() > 0.0);
    let left_over = gradient.slice_dim(2, 8..9).abs().sum().into_scalar::<f32>();
    assert_eq!(left_over, 0.0);
}

mod refused {
    use super::*;

    #[track_caller]
    fn assert_says(inputs: &ModelInputs, parts: &[&str]) {
        let error = model(CLASSES).logits(inputs).unwrap_err();
        assert!(matches!(error, ModelError::InvalidInput { .. }), "{error:?}");
        for part in parts {
            assert!(error.to_string().contains(part), "`{part}` is missing in: {error}");
        }
    }

    #[test]
    fn images_of_another_size_or_with_other_channels() {
        assert_says(&images([2, 2, 6, 9]), &["image size is 6 × 9", "9 × 6"]);
        assert_says(&images([2, 3, 9, 6]), &["channels is 3", "2"]);
        assert_says(&ModelInputs::images(Tensor::zeros([0, 2, 9, 6], &Device::default())), &["at least one image"]);
    }

    #[test]
    fn what_is_no_image() {
        let ids = ModelInputs::from_ids(&[[1, 2]], &Device::default());
        assert_says(&ids, &["input_ids is given", "pixel_values"]);
        assert_says(&ModelInputs::default(), &["pixel_values is missing"]);
    }

    #[test]
    fn configurations_that_describe_no_model() {
        let folder = saved(CLASSES);
        for (field, value, expected) in [
            ("num_attention_heads", json!(3), "hidden_size is 8, but it must be a multiple of num_attention_heads = 3"),
            ("num_attention_heads", json!(0), "num_attention_heads is 0"),
            ("patch_size", json!([4, 7]), "patch_size is 4 × 7, but images are only 9 × 6"),
            ("patch_size", json!(0), "patch_size is 0"),
            ("patch_size", json!([4, 2, 1]), "a number or [height, width]"),
            ("image_size", json!("9"), "a number or [height, width]"),
            ("image_size", json!([0, 6]), "image_size is 0"),
            ("num_channels", json!(0), "num_channels is 0"),
            ("hidden_act", json!("gelo"), "gelu_new"),
            ("architectures", json!(["ViTForMaskedImageModeling"]), "values are: ViTModel, ViTForImageClassification"),
        ] {
            let before = std::fs::read(folder.path().join("config.json")).unwrap();
            change_config(folder.path(), |config| config[field] = value);
            let message = load(&folder).unwrap_err().to_string();
            assert!(message.contains(expected), "`{expected}` is missing in: {message}");
            std::fs::write(folder.path().join("config.json"), before).unwrap();
        }
    }
}

#[test]
fn defaults_are_those_of_vit_base() {
    let config = VitConfig { common: CommonConfig::from_architecture("ViTModel"), ..VitConfig::default() };
    assert_eq!((config.patch_grid(), config.n_positions()), ([14, 14], 197));
    assert_eq!(serde_json::from_value::<VitConfig>(json!({"architectures": ["ViTModel"]})).unwrap(), config);
}
