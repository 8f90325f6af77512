//! Tests that run for every transformer family: sites, positions, saved folders, layer names and errors.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Int, Tensor, Tolerance};
use serde_json::{Value, json};

use crate::architectures::AnyTransformer;
use crate::block_layout::Location;
use crate::config::Head;
use crate::error::ModelError;
use crate::inputs::ModelInputs;
use crate::layer_components::{LayerComponents, layer_components};
use crate::layers::{LayerKind, layer_ids};
use crate::linear_hook::{Columns, LinearHook};
use crate::loss::Labels;
use crate::model::Model;
use crate::positions::Positions;
use crate::residual::{Ignore, Observer, VectorCache};
use crate::site::Site;
use crate::testing::{filled, read_weights};
use crate::transformer::Transformer;
use crate::unaffected::last_unaffected;
use crate::walk::Flow;

const SEQ: usize = 5;

/// Small configurations of all families, with different values for different sizes where possible.
pub(crate) fn configs() -> Vec<Value> {
    let encoder = |model_type: &str, class: &str, extra: Value| {
        let sizes = json!({
            "model_type": model_type, "architectures": [class], "vocab_size": 11, "hidden_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
            "max_position_embeddings": 9, "num_labels": 3, "pad_token_id": 1,
        });
        merged(sizes, extra)
    };
    let decoder = |model_type: &str, class: &str, extra: Value| {
        let neo =
            json!({"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]], "window_size": 2});
        encoder(model_type, class, merged(neo, extra))
    };
    vec![
        json!({
            "model_type": "gpt2", "architectures": ["GPT2ForTokenClassification"], "vocab_size": 11, "n_embd": 8,
            "n_layer": 2, "n_head": 2, "n_inner": 12, "n_positions": 9, "num_labels": 3,
        }),
        decoder("gpt_neo", "GPTNeoForCausalLM", json!({})),
        decoder("gpt_neox", "GPTNeoXForSequenceClassification", json!({"rotary_pct": 0.5})),
        decoder("gpt_neox", "GPTNeoXForCausalLM", json!({"use_parallel_residual": false, "rotary_pct": 1.0})),
        encoder("bert", "BertForSequenceClassification", json!({})),
        encoder("roberta", "RobertaForMaskedLM", json!({})),
        encoder("ernie", "ErnieForTokenClassification", json!({"use_task_id": true})),
        encoder("electra", "ElectraForPreTraining", json!({"embedding_size": 6})),
        encoder("mpnet", "MPNetForSequenceClassification", json!({})),
        encoder(
            "convbert",
            "ConvBertForMaskedLM",
            json!({"embedding_size": 6, "conv_kernel_size": 3, "num_groups": 2}),
        ),
        json!({
            "model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 4,
            "patch_size": 2, "num_channels": 3, "num_labels": 3,
        }),
    ]
}

pub(crate) fn merged(mut base: Value, extra: Value) -> Value {
    base.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    base
}

fn model(config: &Value) -> AnyTransformer {
    filled(AnyTransformer::init(config, &Device::default()).unwrap())
}

/// Two sequences, of which the second is padded, or two images.
fn inputs(model: &AnyTransformer) -> ModelInputs {
    let device = Device::default();
    if model.model_type() == "vit" {
        let values = Tensor::<1, Int>::arange(0..96, &device).float().reshape([2, 3, 4, 4]);
        return ModelInputs::images((values * 0.7).sin());
    }
    let mask = Tensor::from_ints([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], &device);
    ModelInputs::from_ids(&[[2, 3, 4, 10, 6], [7, 0, 5, 1, 1]], &device).with_attention_mask(mask)
}

#[derive(Default)]
struct Seen(Vec<Site>);

impl Observer for Seen {
    fn visit(&mut self, site: Site, value: Tensor<3>) -> Flow {
        self.0.push(site);
        Flow::Continue(value)
    }
}

#[test]
fn every_walk_passes_the_sites_that_the_model_names() {
    for config in configs() {
        let model = model(&config);
        let mut seen = Seen::default();
        model.walk(&inputs(&model), &mut seen).unwrap().output().unwrap();
        assert_eq!(seen.0, model.sites(), "{config}");
        assert!(seen.0.is_sorted(), "{config}");
    }
}

/// The weights of the layers that asked for a product. It provides none.
#[derive(Debug, Default)]
struct Asked(Mutex<BTreeSet<String>>);

impl LinearHook for Asked {
    fn product(&self, weight: &Param<Tensor<2>>, _columns: &Columns, _x: &Tensor<2>) -> Option<Tensor<2>> {
        self.0.lock().unwrap().insert(weight.id.to_string());
        None
    }
}

/// Names of the linear layers in the blocks.
fn linear_layers_in_blocks(model: &AnyTransformer) -> Vec<String> {
    let calls = |entry: &LayerComponents| {
        let is_linear = matches!(entry.layer.kind, LayerKind::Linear | LayerKind::GptConv1d);
        matches!(entry.location, Location::Block { .. }) && is_linear
    };
    layer_components(model).into_iter().filter(calls).map(|entry| entry.layer.name).collect()
}

/// Sets the input or the output of one layer to zero.
#[derive(Debug)]
struct Silenced(ParamId, bool);

impl LinearHook for Silenced {
    fn input(&self, weight: &Param<Tensor<2>>, x: Tensor<3>) -> Tensor<3> {
        if weight.id == self.0 && self.1 { x * 0.0 } else { x }
    }

    fn output(&self, weight: &Param<Tensor<2>>, _columns: &Columns, output: Tensor<3>) -> Tensor<3> {
        if weight.id == self.0 && !self.1 { output * 0.0 } else { output }
    }
}

#[test]
fn a_hook_replaces_the_input_and_the_output_of_every_linear_layer_in_the_blocks() {
    for config in configs() {
        let model = model(&config);
        let whole = model.logits(&inputs(&model)).unwrap().unwrap().into_data();
        let ids = layer_ids(&model);
        for layer in linear_layers_in_blocks(&model) {
            let (id, _) = ids.iter().find(|(_, name)| **name == layer).unwrap();
            for input in [true, false] {
                let hook = Silenced(*id, input);
                let found = model.logits_with(&inputs(&model), Some(Arc::new(hook))).unwrap().unwrap().into_data();
                assert_ne!(found, whole, "{layer} of {config}, input: {input}");
            }
        }
    }
}

#[test]
fn every_linear_layer_in_the_blocks_asks_for_its_product() {
    for config in configs() {
        let (model, asked) = (model(&config), Arc::new(Asked::default()));
        let logits = model.logits_with(&inputs(&model), Some(asked.clone())).unwrap().unwrap().into_data();
        logits.assert_eq(&model.logits(&inputs(&model)).unwrap().unwrap().into_data(), true);
        let expected = linear_layers_in_blocks(&model).len();
        assert_eq!(asked.0.lock().unwrap().len(), expected, "{config}");
    }
}

#[test]
fn a_walk_stops_at_each_site_and_positions_are_a_slice() {
    for config in configs() {
        let model = model(&config);
        let inputs = inputs(&model);
        let mut all = VectorCache::new(model.sites()).to_the_end();
        model.walk(&inputs, &mut all).unwrap();
        for site in model.sites() {
            assert!(model.walk(&inputs, &mut VectorCache::new([site])).unwrap().output().is_err(), "{site}");
            for positions in [0..SEQ, 1..3, 4..5] {
                let some = model.vectors_at(site, positions.clone(), &inputs).unwrap();
                let slice = all.get(site).unwrap().slice_dim(1, positions);
                some.into_data().assert_approx_eq::<f32>(&slice.into_data(), Tolerance::absolute(1e-5));
            }
        }
    }
}

#[test]
fn a_start_from_a_hidden_state_gives_the_same_scores() {
    for config in configs() {
        let model = model(&config);
        let inputs = inputs(&model);
        let whole = model.logits(&inputs).unwrap().unwrap().into_data();
        let starts = [(0, "embeddings"), (1, "mlp_stream_0"), (2, "mlp_stream_1")];
        let mut cache = VectorCache::new(starts.map(|(_, site)| site.parse().unwrap())).to_the_end();
        model.walk(&inputs, &mut cache).unwrap();
        for (layer, site) in starts {
            let hidden = cache.get(site.parse().unwrap()).unwrap();
            let output = model.walk_from_block(layer, hidden, &inputs, &mut Ignore).unwrap().output().unwrap();
            output.logits.unwrap().into_data().assert_eq(&whole, true);
        }
    }
}

#[test]
fn a_walk_continues_from_every_stream_bit_for_bit() {
    for config in configs() {
        let model = model(&config);
        let inputs = inputs(&model);
        let vectors_at = |site| model.vectors_at(site, 1..3, &inputs).unwrap();
        for start in model.sites().into_iter().filter(|site| model.is_start(*site)) {
            let hidden = model.vectors_at(start, 0..SEQ, &inputs).unwrap();
            for site in model.sites().into_iter().filter(|site| *site >= start) {
                let vectors =
                    model.vectors_from(start, hidden.clone(), site, 1..3, model.context(&inputs).unwrap()).unwrap();
                vectors.into_data().assert_eq(&vectors_at(site).into_data(), true);
            }
        }
    }
}

#[test]
fn a_walk_does_not_continue_from_an_update_or_backwards() {
    let model = model(&configs()[0]);
    let (inputs, site) = (inputs(&model), |name: &str| name.parse::<Site>().unwrap());
    let hidden = model.vectors_at(site("attn_update_0"), 0..SEQ, &inputs).unwrap();
    let context = || model.context(&inputs).unwrap();
    for (start, end) in
        [("attn_update_0", "mlp_stream_0"), ("mlp_stream_0", "attn_stream_0"), ("mlp_stream_0", "embeddings")]
    {
        let error = model.vectors_from(site(start), hidden.clone(), site(end), 0..1, context()).unwrap_err();
        let expected = if start == "attn_update_0" { "cannot continue from" } else { "does not reach" };
        assert!(error.to_string().contains(expected), "{error}");
    }
    let short = hidden.slice_dim(1, 0..3);
    let error = model.vectors_from(site("mlp_stream_0"), short, site("mlp_stream_1"), 0..1, context()).unwrap_err();
    assert!(matches!(error, ModelError::InvalidInput { what: "hidden", .. }), "{error}");
}

#[test]
fn each_sequence_may_have_positions_of_its_own() {
    for config in configs() {
        let model = model(&config);
        let inputs = inputs(&model);
        for site in model.sites() {
            let all = model.vectors_at(site, 0..SEQ, &inputs).unwrap();
            let own = || Positions::chosen(vec![4, 1, 0, 2], 2, &Device::default());
            let vectors = model.vectors_at(site, own(), &inputs).unwrap();
            vectors.into_data().assert_approx_eq::<f32>(&own().select(all).into_data(), Tolerance::absolute(1e-5));
        }
    }
}

/// The activation cache relies on this property.
///
/// For products of up to 256 numbers with a transposed factor, Flex sums in another order. The patch embedding of a ViT
/// of width 8 would be such a product, so the width is 80 here.
#[test]
fn vectors_do_not_depend_on_the_rest_of_the_batch() {
    for config in configs() {
        let config = if config["model_type"] == "vit" { merged(config, json!({"hidden_size": 80})) } else { config };
        let model = model(&config);
        let (inputs, site) = (inputs(&model), "mlp_stream_1".parse().unwrap());
        let vectors = |inputs: &ModelInputs| model.vectors_at(site, 0..SEQ, inputs).unwrap();
        let whole = vectors(&inputs);
        for order in [&[0][..], &[1], &[1, 0], &[1, 0, 1, 1, 0], &[0; 40]] {
            let expected: Vec<_> = order.iter().map(|row| whole.clone().slice_dim(0, *row..row + 1)).collect();
            let some = vectors(&inputs.select(order)).into_data();
            assert_eq!(some, Tensor::cat(expected, 0).into_data(), "{order:?} of {config}");
        }
    }
}

/// The first configuration with this `model_type`.
fn config_of(model_type: &str) -> Value {
    configs().into_iter().find(|config| config["model_type"] == model_type).unwrap()
}

#[test]
fn last_unaffected_site_is_the_input_of_the_sublayer() {
    let unaffected = |config: &Value, layers: &[&str], site: &str| {
        let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
        last_unaffected(&model(config), &layers, site.parse().unwrap()).map(|site| site.to_string())
    };
    let [gpt2, neox, bert, electra] = &["gpt2", "gpt_neox", "bert", "electra"].map(config_of);
    let block = |name: &str| format!("transformer.h.{name}");
    let (attention, mlp) = (block("1.attn.c_attn"), block("1.mlp.c_proj"));
    assert_eq!(unaffected(gpt2, &[&attention], "mlp_update_1").as_deref(), Some("mlp_stream_0"));
    assert_eq!(unaffected(gpt2, &[&mlp], "mlp_update_1").as_deref(), Some("attn_stream_1"));
    assert_eq!(unaffected(gpt2, &[&mlp, &attention], "mlp_update_1").as_deref(), Some("mlp_stream_0"));
    assert_eq!(unaffected(gpt2, &[&block("0.attn.c_proj")], "mlp_update_1").as_deref(), Some("embeddings"));
    assert_eq!(unaffected(gpt2, &[&mlp], "attn_update_0").as_deref(), Some("attn_update_0"), "layer after the site");
    assert_eq!(unaffected(gpt2, &[], "attn_update_1").as_deref(), Some("attn_update_1"), "no layers");
    assert_eq!(unaffected(gpt2, &["classifier"], "mlp_stream_1").as_deref(), Some("mlp_stream_1"));
    let parallel = "gpt_neox.layers.1.mlp.dense_h_to_4h";
    assert_eq!(unaffected(neox, &[parallel], "mlp_update_1").as_deref(), Some("mlp_stream_0"));
    let dense = "bert.encoder.layer.0.intermediate.dense";
    assert_eq!(unaffected(bert, &[dense], "mlp_stream_1").as_deref(), Some("attn_stream_0"));
    assert_eq!(unaffected(electra, &["electra.embeddings_project"], "mlp_stream_1"), None);
}

#[test]
fn a_saved_folder_is_read_back_bit_for_bit() {
    for config in configs() {
        let (model, folder) = (model(&config), tempfile::tempdir().unwrap());
        model.save(folder.path()).unwrap();
        let again = AnyTransformer::load(folder.path(), &Device::default()).unwrap();
        let logits = |model: &AnyTransformer| model.logits(&inputs(model)).unwrap().unwrap().into_data();
        logits(&again).assert_eq(&logits(&model), true);
        let base = AnyTransformer::load_base(folder.path(), &Device::default()).unwrap();
        assert_eq!(base.head(), Head::None, "{config}");
        let last = |model: &AnyTransformer| model.forward(&inputs(model)).unwrap().last_hidden_state.into_data();
        last(&base).assert_eq(&last(&model), true);
    }
}

#[test]
fn maskable_layers_are_named_as_in_the_checkpoint() {
    for config in configs() {
        let (model, folder) = (model(&config), tempfile::tempdir().unwrap());
        model.save(folder.path()).unwrap();
        let weights = read_weights(folder.path());
        let mut named = BTreeSet::new();
        for layer in model.maskable_layers() {
            let weight = weights.get(&format!("{}.weight", layer.name)).expect(&layer.name);
            assert_eq!(weight.shape().to_vec(), layer.shape, "{}", layer.name);
            assert_eq!(weights.contains_key(&format!("{}.bias", layer.name)), layer.bias, "{}", layer.name);
            assert!(named.insert(layer.name));
        }
        assert!(named.len() >= 8, "{config}: {named:?}");
    }
}

#[test]
fn a_head_has_a_loss_and_refuses_labels_of_another_kind() {
    for config in configs() {
        let model = model(&config);
        let inputs = inputs(&model);
        let device = Device::default();
        let tokens = Labels::Tokens(Tensor::from_ints([[0, 1, 1, 0, 1], [1, 0, 1, -100, -100]], &device));
        let binary = Labels::Tokens(Tensor::from_ints([[0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], &device));
        let classes = Labels::Classes(Tensor::from_ints([2, 0], &device));
        let (right, wrong) = match model.head() {
            Head::SequenceClassification | Head::ImageClassification => (classes, tokens),
            Head::ReplacedTokenDetection => (binary, classes),
            _ => (tokens, classes),
        };
        let loss: f32 = model.task_output(&inputs, &right).unwrap().loss.into_scalar();
        assert!(loss.is_finite() && loss > 0.0, "{config}: {loss}");
        assert!(matches!(model.task_output(&inputs, &wrong), Err(ModelError::InvalidInput { .. })), "{config}");
    }
}

#[test]
fn inputs_of_another_kind_are_refused_by_name() {
    let device = Device::default();
    let images = ModelInputs::images(Tensor::zeros([2, 3, 4, 4], &device));
    let ids = ModelInputs::from_ids(&[[2, 3], [4, 5]], &device);
    for config in configs() {
        let model = model(&config);
        let (wrong, name) = match model.model_type() {
            "vit" => (&ids, "input_ids"),
            _ => (&images, "pixel_values"),
        };
        let message = model.logits(wrong).unwrap_err().to_string();
        assert!(message.contains(name), "{config}: {message}");
        if model.model_type() == "vit" {
            continue;
        }
        let ids = |ids: [[i64; 10]; 1]| model.logits(&ModelInputs::from_ids(&ids, &device)).unwrap_err().to_string();
        assert!(ids([[2; 10]]).contains("sequence length is 10") || model.model_type() == "gpt_neox", "{config}");
        let unknown = ModelInputs::from_ids(&[[2, 11]], &device);
        assert!(model.logits(&unknown).unwrap_err().to_string().contains("token id is 11"), "{config}");
    }
}

#[test]
fn sizes_that_do_not_divide_are_configuration_errors() {
    for config in configs() {
        let (width, heads) =
            if config["model_type"] == "gpt2" { ("n_embd", "n_head") } else { ("hidden_size", "num_attention_heads") };
        let heads = if config["model_type"] == "gpt_neo" { "num_heads" } else { heads };
        for changes in [json!({width: 7}), json!({heads: 3}), json!({heads: 0})] {
            let error = AnyTransformer::init(&merged(config.clone(), changes), &Device::default()).unwrap_err();
            assert!(matches!(error, ModelError::InvalidConfig { .. }), "{error}");
        }
        let other = merged(config.clone(), json!({"architectures": ["SomethingElse"]}));
        let error = AnyTransformer::init(&other, &Device::default()).unwrap_err();
        assert!(matches!(error, ModelError::UnknownArchitecture { .. }), "{error}");
    }
}

#[test]
fn options_that_are_not_built_are_refused() {
    let refused = |model_type: &str, changes: Value| {
        let config = configs().into_iter().find(|config| config["model_type"] == model_type).unwrap();
        let error = AnyTransformer::init(&merged(config, changes.clone()), &Device::default()).unwrap_err();
        assert!(matches!(error, ModelError::InvalidConfig { .. }), "{changes}: {error}");
    };
    refused("bert", json!({"position_embedding_type": "relative_key"}));
    refused("bert", json!({"is_decoder": true}));
    refused("bert", json!({"add_cross_attention": true}));
    refused("mpnet", json!({"relative_attention_num_buckets": 16}));
    refused("convbert", json!({"conv_kernel_size": 4}));
    refused("convbert", json!({"num_groups": 3}));
    refused("gpt_neo", json!({"attention_types": [[["global"], 1]]}));
    refused("gpt_neox", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}));
    refused("gpt_neox", json!({"rotary_pct": 0.3, "hidden_size": 24}));
}
