//! Tests of reading and writing model folders, and of the errors for invalid ones.

use burn::store::{ModuleSnapshot, bridge};
use burn::tensor::{DType, Device, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::path::Path;

use crate::architectures::{AnyModel, AnyTransformer, Gpt2Config};
use crate::checkpoint::{Pretrained, save_tensors};
use crate::config::CommonConfig;
use crate::error::ModelError;
use crate::testing::{Tensors, change_config, change_weights, config, model, model_of, read_weights, saved};

fn load(folder: &Path) -> Result<AnyTransformer, ModelError> {
    AnyTransformer::load(folder, &Device::default())
}

/// The error message of a folder that must not load.
#[track_caller]
fn refused(folder: &Path) -> String {
    load(folder).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

/// The tensor at a Burn path, in the layout of the module.
fn in_module(model: &impl ModuleSnapshot, path: &str) -> TensorData {
    let tensors = model.collect(None, None, true);
    bridge::into_data(tensors.into_iter().find(|tensor| tensor.name == path).unwrap()).unwrap()
}

mod files {
    use super::*;

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let error = load(Path::new("/no/such/model")).unwrap_err();
        assert!(matches!(error, ModelError::NoSuchFile { .. }), "{error:?}");
        assert_says(&error.to_string(), &["/no/such/model", "config.json"]);
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_an_error() {
        let folder = saved();
        assert!(matches!(load(&folder.path().join("config.json")), Err(ModelError::Io { .. })));
    }

    #[test]
    fn a_folder_without_weights_says_which_file_is_missing() {
        let folder = saved();
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        let message = refused(folder.path());
        assert_says(&message, &["does not contain model.safetensors", "model.safetensors.index.json"]);
        assert!(!message.contains("pickle"), "{message}");
    }

    #[test]
    fn pickled_weights_are_not_read_and_the_message_says_how_to_convert_them() {
        let folder = saved();
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), "pickle").unwrap();
        assert_says(&refused(folder.path()), &["safe_serialization=True", "unpickling runs code"]);
    }

    #[test]
    fn what_is_no_safetensors_file_is_refused() {
        let huge_header = u64::MAX.to_le_bytes();
        let no_json = [&8_u64.to_le_bytes()[..], b"not json"].concat();
        for content in [&b""[..], b"PK", b"hello, I am not a tensor", &huge_header, &no_json] {
            let folder = saved();
            std::fs::write(folder.path().join("model.safetensors"), content).unwrap();
            let error = load(folder.path()).unwrap_err();
            assert!(matches!(error, ModelError::NotSafetensors { .. }), "{content:?}: {error:?}");
            assert_says(&error.to_string(), &["model.safetensors", "not a complete safetensors file"]);
        }
    }

    #[test]
    fn a_truncated_file_is_refused_wherever_it_was_cut() {
        let folder = saved();
        let path = folder.path().join("model.safetensors");
        let whole = std::fs::read(&path).unwrap();
        for length in [4, 20, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = load(folder.path()).unwrap_err();
            assert!(matches!(error, ModelError::NotSafetensors { .. }), "{length}: {error:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = saved();
        let below_a_file = folder.path().join("config.json/model");
        let error = model().save(&below_a_file).unwrap_err();
        assert!(matches!(error, ModelError::Io { action: "write", .. }), "{error:?}");
        assert_says(&error.to_string(), &["config.json/model"]);
    }
}

mod shards {
    use super::*;

    /// Splits the weights of a folder into two shards and returns their names.
    fn shard(folder: &Path) -> [&'static str; 2] {
        let names = ["a.safetensors", "b.safetensors"];
        let (first, second): (Tensors, Tensors) =
            read_weights(folder).into_iter().partition(|(name, _)| name.contains("h.0"));
        save_tensors(folder.join(names[0]), &first).unwrap();
        save_tensors(folder.join(names[1]), &second).unwrap();
        let in_file = |tensors: Tensors, file: &'static str| tensors.into_keys().map(move |name| (name, json!(file)));
        let map: serde_json::Map<_, _> = in_file(first, names[0]).chain(in_file(second, names[1])).collect();
        write_index(folder, &json!({"metadata": {"total_size": 0}, "weight_map": map}).to_string());
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
        names
    }

    fn write_index(folder: &Path, text: &str) {
        std::fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
    }

    #[test]
    fn are_read_as_one() {
        let (sharded, whole) = (saved(), saved());
        shard(sharded.path());
        load(sharded.path()).unwrap().save(sharded.path()).unwrap();
        assert_eq!(read_weights(sharded.path()), read_weights(whole.path()));
    }

    #[test]
    fn outside_the_folder_are_refused() {
        let folder = saved();
        shard(folder.path());
        for shard in ["../b.safetensors", "/etc/passwd", "sub/b.safetensors", "..", "", "./../x"] {
            write_index(folder.path(), &json!({"weight_map": {"a": "a.safetensors", "b": shard}}).to_string());
            let error = load(folder.path()).unwrap_err();
            assert!(matches!(&error, ModelError::UnsafeShard { shard: found, .. } if found == shard), "{error:?}");
        }
    }

    #[test]
    fn that_are_missing_are_named() {
        let folder = saved();
        let [first, _] = shard(folder.path());
        std::fs::remove_file(folder.path().join(first)).unwrap();
        assert_says(&refused(folder.path()), &["does not contain a.safetensors", "index.json names it"]);
    }

    #[test]
    fn must_hold_what_the_index_promises() {
        let folder = saved();
        shard(folder.path());
        write_index(folder.path(), r#"{"weight_map": {"transformer.h.7.promised": "a.safetensors"}}"#);
        assert_says(&refused(folder.path()), &["lacks", "transformer.h.7.promised"]);
    }

    #[test]
    fn need_a_readable_index() {
        let folder = saved();
        shard(folder.path());
        for text in ["{", "{}", r#"{"weight_map": 3}"#] {
            write_index(folder.path(), text);
            let error = load(folder.path()).unwrap_err();
            assert!(matches!(error, ModelError::InvalidJson { .. }), "{text}: {error:?}");
            assert_says(&error.to_string(), &["model.safetensors.index.json"]);
        }
    }
}

mod tensors {
    use super::*;

    #[test]
    fn that_are_missing_are_named_with_the_nearest_left_over_key() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            let weight = tensors.remove("transformer.h.1.mlp.c_fc.weight").unwrap();
            tensors.insert("transformer.h.1.mlp.cfc.weight".into(), weight);
        });
        let parts = ["lacks", "`transformer.h.1.mlp.c_fc.weight`", "nearest", "`transformer.h.1.mlp.cfc.weight`"];
        assert_says(&refused(folder.path()), &parts);
    }

    #[test]
    fn that_are_too_many_are_named() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            tensors.insert("transformer.h.2.ln_1.bias".into(), TensorData::from([0.0_f32; 8]));
        });
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::ExtraTensors { .. }), "{error:?}");
        assert_says(&error.to_string(), &["`transformer.h.2.ln_1.bias`"]);
    }

    #[test]
    fn of_another_shape_are_named_with_both_shapes() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            tensors.insert("transformer.h.0.attn.c_attn.weight".into(), TensorData::zeros::<f32, _>([24, 8]));
        });
        let parts = ["`transformer.h.0.attn.c_attn.weight`", "[24, 8]", "[8, 24]"];
        assert_says(&refused(folder.path()), &parts);
    }

    #[test]
    fn of_another_rank_are_refused() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            tensors.insert("transformer.ln_f.bias".into(), TensorData::zeros::<f32, _>([8, 1]));
        });
        assert_says(&refused(folder.path()), &["`transformer.ln_f.bias`", "[8, 1]", "[8]"]);
    }

    #[test]
    fn of_a_linear_head_are_judged_in_the_files_layout() {
        let sequences = Gpt2Config {
            common: CommonConfig {
                num_labels: Some(3),
                ..CommonConfig::from_architecture("GPT2ForSequenceClassification")
            },
            ..config()
        };
        let folder = tempfile::tempdir().unwrap();
        model_of(&sequences).save(folder.path()).unwrap();
        assert_eq!(read_weights(folder.path())["score.weight"].shape().to_vec(), [3, 8]);
        change_weights(folder.path(), |tensors| {
            tensors.insert("score.weight".into(), TensorData::zeros::<f32, _>([8, 3]));
        });
        assert_says(&refused(folder.path()), &["`score.weight` has shape [8, 3]", "requires [3, 8]"]);
    }

    #[test]
    fn of_integers_are_no_weights() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            tensors.insert("transformer.ln_f.bias".into(), TensorData::from([1_i64; 8]));
        });
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::UnsupportedDtype { .. }), "{error:?}");
        assert_says(&error.to_string(), &["`transformer.ln_f.bias`", "I64"]);
    }

    #[test]
    fn stored_beside_their_tie_and_old_causal_masks_are_passed_over() {
        let folder = saved();
        change_weights(folder.path(), |tensors| {
            tensors.insert("lm_head.weight".into(), tensors["transformer.wte.weight"].clone());
            tensors.insert("transformer.h.0.attn.bias".into(), TensorData::zeros::<f32, _>([1, 1, 4, 4]));
            tensors.insert("transformer.h.0.attn.masked_bias".into(), TensorData::from([-1e4_f32]));
        });
        assert!(load(folder.path()).is_ok());
    }

    #[test]
    fn in_half_precision_are_read_exactly() {
        for (dtype, stored) in [(DType::F16, Dtype::F16), (DType::BF16, Dtype::BF16), (DType::F64, Dtype::F64)] {
            let (folder, tensors) = (saved(), read_weights(saved().path()));
            let halved: Tensors = tensors.into_iter().map(|(name, data)| (name, data.convert_dtype(dtype))).collect();
            let views = halved.iter().map(|(name, data)| {
                (name.as_str(), TensorView::new(stored, data.shape().to_vec(), data.as_bytes()).unwrap())
            });
            let bytes = safetensors::serialize(views, None).unwrap();
            std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
            load(folder.path()).unwrap().save(folder.path()).unwrap();
            for (name, data) in read_weights(folder.path()) {
                assert_eq!(data, halved[&name].clone().convert_dtype(DType::F32), "{name} from {dtype:?}");
            }
        }
    }
}

mod layout {
    use super::*;

    #[test]
    fn saved_and_loaded_is_the_same_bit_for_bit() {
        for architecture in ["GPT2Model", "GPT2LMHeadModel", "GPT2ForSequenceClassification"] {
            for tie_word_embeddings in [true, false] {
                let config = Gpt2Config {
                    common: CommonConfig::from_architecture(architecture),
                    tie_word_embeddings,
                    ..config()
                };
                let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                model_of(&config).save(first.path()).unwrap();
                load(first.path()).unwrap().save(second.path()).unwrap();
                for file in ["model.safetensors", "config.json"] {
                    let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
                    assert!(read(first.path()) == read(second.path()), "{architecture}: {file}");
                }
            }
        }
    }

    #[test]
    fn a_base_model_has_no_prefix_and_a_tied_head_no_tensor() {
        let folder = tempfile::tempdir().unwrap();
        model_of(&Gpt2Config { common: CommonConfig::from_architecture("GPT2Model"), ..config() })
            .save(folder.path())
            .unwrap();
        assert!(read_weights(folder.path()).keys().all(|name| !name.starts_with("transformer.")));
        assert!(!read_weights(saved().path()).contains_key("lm_head.weight"));
    }

    #[test]
    fn gpt_conv1d_lies_in_burn_as_in_the_file_and_a_linear_layer_is_turned() {
        let untied = Gpt2Config { tie_word_embeddings: false, ..config() };
        let folder = tempfile::tempdir().unwrap();
        model_of(&untied).save(folder.path()).unwrap();
        let mut square = vec![0.0_f32; 64];
        square[1] = 3.0; // row 0, column 1
        let square = TensorData::new(square, [8, 8]);
        change_weights(folder.path(), |tensors| {
            for name in ["transformer.h.0.mlp.c_fc.weight", "lm_head.weight"] {
                tensors.insert(name.into(), square.clone());
            }
        });
        let AnyTransformer::Gpt2(model) = load(folder.path()).unwrap() else { panic!("another family") };
        let at = |path: &str, row: usize, column: usize| -> f32 {
            in_module(&model, path).iter::<f32>().nth(row * 8 + column).unwrap()
        };
        assert_eq!(
            (at("transformer.h.0.mlp.c_fc.weight", 0, 1), at("transformer.h.0.mlp.c_fc.weight", 1, 0)),
            (3.0, 0.0)
        );
        assert_eq!((at("head.lm_head.weight", 0, 1), at("head.lm_head.weight", 1, 0)), (0.0, 3.0));
    }
}

mod configuration {
    use super::*;
    use crate::architectures::tests::{configs, merged};
    use crate::config::read_config;

    /// Fields of sizes, which all families with such a field use.
    const SIZES: [&str; 20] = [
        "vocab_size",
        "n_positions",
        "max_position_embeddings",
        "n_embd",
        "hidden_size",
        "hidden_sizes",
        "n_layer",
        "num_layers",
        "num_hidden_layers",
        "depths",
        "n_head",
        "num_heads",
        "num_attention_heads",
        "n_inner",
        "intermediate_size",
        "attention_types",
        "image_size",
        "patch_size",
        "num_channels",
        "type_vocab_size",
    ];

    #[test]
    fn of_another_model_type_lists_the_known_ones() {
        let folder = saved();
        for (found, shown) in [(json!("llama"), "`llama`"), (json!(null), "`(none)`"), (json!(7), "`(none)`")] {
            change_config(folder.path(), |config| config["model_type"] = found);
            let error = load(folder.path()).unwrap_err();
            assert!(matches!(error, ModelError::UnknownModelType { .. }), "{error:?}");
            assert_says(&error.to_string(), &[shown, "supported values are: gpt2"]);
        }
    }

    #[test]
    fn of_another_head_lists_the_known_ones() {
        let folder = saved();
        change_config(folder.path(), |config| config["architectures"] = json!(["GPT2DoubleHeadsModel"]));
        assert_says(&refused(folder.path()), &["GPT2DoubleHeadsModel", "GPT2LMHeadModel"]);
    }

    #[test]
    fn with_sizes_that_do_not_fit_names_the_field() {
        let folder = saved();
        for (field, value, expected) in [
            ("n_head", json!(3), "n_embd is 8, but it must be a multiple of n_head = 3"),
            ("n_head", json!(0), "n_head is 0"),
            ("vocab_size", json!(0), "vocab_size is 0"),
            ("add_cross_attention", json!(true), "add_cross_attention is true"),
            ("n_embd", json!("eight"), "config.json"),
            ("n_layer", json!(-1), "config.json"),
            ("activation_function", json!("gelo"), "gelu_new"),
        ] {
            let before = std::fs::read(folder.path().join("config.json")).unwrap();
            change_config(folder.path(), |config| config[field] = value);
            assert_says(&refused(folder.path()), &[expected]);
            std::fs::write(folder.path().join("config.json"), before).unwrap();
        }
    }

    #[test]
    fn with_sizes_out_of_range_is_refused_in_every_family() {
        let resnet = json!({"model_type": "resnet", "embedding_size": 4, "hidden_sizes": [4], "depths": [1]});
        for config in configs().into_iter().chain([resnet]) {
            let folder = tempfile::tempdir().unwrap();
            AnyModel::init(&config, &Device::default()).unwrap().save(folder.path()).unwrap();
            let saved = read_config(folder.path()).unwrap();
            // The configurations have fields of other families, too, which are only kept.
            let of_neo = ["num_layers", "num_heads", "attention_types"];
            let of_others = ["num_hidden_layers", "num_attention_heads"];
            let unread = if saved["model_type"] == "gpt_neo" { &of_others[..] } else { &of_neo };
            let is_read = |field: &str| !unread.contains(&field);
            let fields = SIZES.into_iter().filter(|field| !saved[*field].is_null() && is_read(field));
            for field in fields {
                for size in [json!(0), json!(-1), json!(1_000_000_000_000_u64), json!(1_u64 << 62), json!(u64::MAX)] {
                    let size = if saved[field].is_array() { json!([size]) } else { size };
                    let changed = merged(saved.clone(), json!({ field: size })).to_string();
                    std::fs::write(folder.path().join("config.json"), &changed).unwrap();
                    assert!(AnyModel::load(folder.path(), &Device::default()).is_err(), "{field} in {changed}");
                }
            }
        }
    }

    #[test]
    fn with_sizes_of_a_larger_model_is_compared_with_the_header() {
        let folder = saved();
        for (field, size, expected) in [
            ("vocab_size", 1 << 24, "`transformer.wte.weight` has shape [8, 8], but the configuration requires"),
            ("n_layer", 10_000, "the checkpoint lacks 119976 tensors"),
            ("n_embd", 1 << 24, "the number of parameters is"),
        ] {
            let before = std::fs::read(folder.path().join("config.json")).unwrap();
            change_config(folder.path(), |config| config[field] = json!(size));
            assert_says(&refused(folder.path()), &[expected]);
            std::fs::write(folder.path().join("config.json"), before).unwrap();
        }
        let model = model_of(&Gpt2Config { vocab_size: 9, ..config() });
        let error = model.check_base_weights(folder.path()).unwrap_err();
        assert_says(&error.to_string(), &["`transformer.wte.weight` has shape [8, 8]", "requires [9, 8]"]);
        assert!(super::model().check_base_weights(folder.path()).is_ok());
    }

    #[test]
    fn with_positions_after_a_padding_id_that_leaves_none_is_refused() {
        let roberta = configs().into_iter().find(|config| config["model_type"] == "roberta").unwrap();
        for padding in [i64::MIN, -1, 9, 1 << 31, i64::MAX] {
            let config = merged(roberta.clone(), json!({"pad_token_id": padding}));
            let error = AnyModel::init(&config, &Device::default()).unwrap_err().to_string();
            assert_says(&error, &[&format!("pad_token_id is {padding}"), "between 0 and 8"]);
        }
    }

    #[test]
    fn of_a_new_model_with_too_many_parameters_is_refused() {
        for width in [1_u64 << 20, 1 << 24] {
            let sizes =
                json!({"model_type": "gpt2", "vocab_size": 1 << 24, "n_embd": width, "n_inner": 1, "n_head": 1});
            let error = AnyModel::init(&sizes, &Device::default()).unwrap_err();
            assert!(matches!(error, ModelError::InvalidConfig { field: "the number of parameters", .. }), "{error}");
        }
    }

    #[test]
    fn that_is_no_json_is_named() {
        let folder = saved();
        for text in ["", "{", "[]"] {
            std::fs::write(folder.path().join("config.json"), text).unwrap();
            assert!(load(folder.path()).is_err(), "{text}");
        }
        std::fs::write(folder.path().join("config.json"), "{").unwrap();
        let error = load(folder.path()).unwrap_err();
        assert!(matches!(error, ModelError::InvalidJson { .. }), "{error:?}");
    }
}
