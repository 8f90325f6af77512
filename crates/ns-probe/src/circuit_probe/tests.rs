//! Errors of probes: invalid configurations, batches and ablations, and their messages.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ns_circuit::{Ablation, CircuitConfig, CircuitError, ModelVariant};
use ns_models::{
    AnyTransformer, Gpt2, Gpt2Config, GptNeoX, GptNeoXConfig, ImageSize, ModelError, ModelInputs, Pretrained, Vit,
    VitConfig,
};

use crate::batch::ProbeBatch;
use crate::circuit_probe::CircuitProbe;
use crate::config::{CircuitProbeConfig, Labeling, ProbeLoss, ResidualUpdateModelConfig, SubnetworkProbeConfig};
use crate::error::ProbeError;
use crate::probe::Probe;
use crate::residual_model::ResidualUpdateModel;
use crate::subnetwork_probe::SubnetworkProbe;

const LAYER: &str = "transformer.h.1.attn.c_attn";

fn model() -> Gpt2 {
    let config = Gpt2Config { vocab_size: 10, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 3, ..Default::default() };
    Gpt2::init(&config, &Device::default().autodiff()).unwrap()
}

fn circuit_config() -> CircuitProbeConfig {
    CircuitProbeConfig::new("attn_update_1".parse().unwrap(), vec![LAYER.into()]).unwrap()
}

fn subnetwork_config() -> SubnetworkProbeConfig {
    let CircuitProbeConfig { probe_vectors, circuit_config, resid_config, .. } = circuit_config();
    SubnetworkProbeConfig {
        probe_vectors,
        n_classes: 3,
        circuit_config,
        resid_config,
        intermediate_size: -1,
        labeling: Labeling::Sequence,
    }
}

/// Three sequences of two tokens; the second token is selected.
fn batch(labels: &[i64]) -> ProbeBatch {
    ProbeBatch {
        inputs: ModelInputs::from_ids(&[[1, 9], [2, 9], [1, 9]], &Device::default().autodiff()),
        token_mask: vec![false, true, false, true, false, true],
        labels: labels.into(),
        means: Vec::new(),
    }
}

/// Checks that `change` makes the configurations of both kinds of probes invalid, and that the messages contain
/// `parts`.
#[track_caller]
fn assert_both_refuse(
    change: impl Fn(&mut String, &mut CircuitConfig, &mut ResidualUpdateModelConfig),
    parts: &[&str],
) {
    let mut circuit = circuit_config();
    change(&mut circuit.probe_vectors, &mut circuit.circuit_config, &mut circuit.resid_config);
    let mut subnetwork = subnetwork_config();
    change(&mut subnetwork.probe_vectors, &mut subnetwork.circuit_config, &mut subnetwork.resid_config);
    let errors =
        [CircuitProbe::new(circuit, model()).unwrap_err(), SubnetworkProbe::new(subnetwork, model(), 0).unwrap_err()];
    for message in errors.map(|error| error.to_string()) {
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in the message: {message}");
        }
    }
}

/// A GPT-NeoX model with one block.
fn gpt_neox(use_parallel_residual: bool) -> GptNeoX {
    let config = GptNeoXConfig {
        vocab_size: 10,
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 8,
        max_position_embeddings: 3,
        rotary_pct: 0.5,
        use_parallel_residual,
        ..Default::default()
    };
    GptNeoX::init(&config, &Device::default().autodiff()).unwrap()
}

fn neox_config(model_type: &str, site: &str) -> CircuitProbeConfig {
    let layer = "gpt_neox.layers.0.attention.query_key_value".into();
    let mut config = CircuitProbeConfig::new(site.parse().unwrap(), vec![layer]).unwrap();
    config.resid_config.model_type = model_type.into();
    config
}

#[test]
fn both_spellings_of_gpt_neox_are_read() {
    for model_type in ["gptneox", "gpt_neox", ""] {
        assert!(CircuitProbe::new(neox_config(model_type, "attn_update_0"), gpt_neox(true)).is_ok(), "{model_type}");
    }
    let error = CircuitProbe::new(neox_config("bert", "attn_update_0"), gpt_neox(true)).unwrap_err();
    assert!(error.to_string().contains("gpt_neox"), "{error}");
}

#[test]
fn a_parallel_block_has_no_stream_between() {
    let error = CircuitProbe::new(neox_config("", "attn_stream_0"), gpt_neox(true)).unwrap_err();
    assert!(error.to_string().contains("attn_stream_0") && error.to_string().contains("mlp_stream_0"), "{error}");
    let probe = CircuitProbe::new(neox_config("", "attn_stream_0"), gpt_neox(false)).unwrap();
    assert_eq!(probe.forward(&batch(&[1, 2, 1])).unwrap().vectors.dims(), [3, 8]);
}

mod configuration {
    use super::*;

    #[test]
    fn with_a_base_that_is_trained_is_refused() {
        assert_both_refuse(|_, circuit, _| circuit.freeze_base = false, &["freeze_base", "it must be true"]);
    }

    #[test]
    fn that_reads_mlp_and_attention_or_neither_is_refused() {
        assert_both_refuse(|_, _, resid| resid.mlp = true, &["exactly one of mlp and attn"]);
        assert_both_refuse(|_, _, resid| resid.attn = false, &["exactly one of mlp and attn"]);
    }

    #[test]
    fn that_reads_several_layers_or_none_is_refused() {
        assert_both_refuse(|_, _, resid| resid.target_layers = vec![0, 1], &["exactly one layer"]);
        assert_both_refuse(|_, _, resid| resid.target_layers = vec![], &["exactly one layer"]);
    }

    #[test]
    fn that_probes_what_it_does_not_read_names_what_it_reads() {
        assert_both_refuse(|probed, _, _| *probed = "mlp_update_1".into(), &["mlp_update_1", "selects attn_update_1"]);
        assert_both_refuse(
            |probed, _, _| *probed = "attn_update_0".into(),
            &["attn_update_0", "selects attn_update_1"],
        );
    }

    #[test]
    fn that_probes_no_site_says_how_sites_are_named() {
        for name in ["", "attn_1", "attention_update_1", "attn_update_x"] {
            assert_both_refuse(|probed, _, _| *probed = name.into(), &["<attn|mlp>_<update|stream>_<layer>"]);
        }
    }

    #[test]
    fn of_another_family_names_the_models() {
        for family in ["bert", "gpt_neox", "gpt3"] {
            assert_both_refuse(
                |_, _, resid| resid.model_type = family.into(),
                &[family, "the model is a gpt2: use `gpt`"],
            );
        }
        for known in ["", "gpt", "gpt2"] {
            let mut config = circuit_config();
            config.resid_config.model_type = known.into();
            assert!(CircuitProbe::new(config, model()).is_ok(), "{known}");
        }
    }

    #[test]
    fn with_a_layer_out_of_range_counts_the_blocks() {
        let change = |probed: &mut String, _: &mut CircuitConfig, resid: &mut ResidualUpdateModelConfig| {
            *probed = "attn_update_2".into();
            resid.target_layers = vec![2];
        };
        assert_both_refuse(change, &["attn_update_2", "2 blocks, counted from 0"]);
    }

    #[test]
    fn with_a_layer_that_cannot_be_masked_gives_the_nearest_names() {
        for unknown in ["transformer.h.1.attn.cattn", "transformer.h.1.attn", "h.1.attn.c_attn"] {
            let change = |_: &mut String, circuit: &mut CircuitConfig, _: &mut ResidualUpdateModelConfig| {
                circuit.target_layers = vec![unknown.into()];
            };
            assert_both_refuse(change, &[&format!("{unknown:?}"), LAYER]);
        }
    }

    #[test]
    fn with_a_layer_that_is_named_twice_is_refused() {
        assert_both_refuse(|_, circuit, _| circuit.target_layers = vec![LAYER.into(); 2], &["named twice", LAYER]);
    }

    #[test]
    fn of_a_classifier_needs_sizes() {
        let refused = |config| SubnetworkProbe::new(config, model(), 0).unwrap_err().to_string();
        let no_classes = refused(SubnetworkProbeConfig { n_classes: 0, ..subnetwork_config() });
        assert!(no_classes.contains("n_classes is 0"), "{no_classes}");
        for intermediate_size in [0, -2, i64::MAX] {
            let message = refused(SubnetworkProbeConfig { intermediate_size, ..subnetwork_config() });
            assert!(message.contains("−1 for a linear probe"), "{message}");
        }
    }

    #[test]
    fn of_the_embeddings_has_no_circuit() {
        let error = CircuitProbeConfig::new("embeddings".parse().unwrap(), vec![]).unwrap_err();
        assert!(error.to_string().contains("a site of a block"), "{error}");
    }
}

mod python_dumps {
    use super::*;

    /// Output of `PretrainedConfig.to_json_string` of the Python class, including the keys that only Python uses.
    const SUBNETWORK: &str = r#"{
      "return_dict": true, "torchscript": false, "transformers_version": "4.44.2", "architectures": null,
      "probe_vectors": "attn_update_1", "n_classes": 3, "intermediate_size": 5, "labeling": "token",
      "circuit_config": {
        "mask_method": "hard_concrete", "target_layers": ["transformer.h.1.attn.c_attn"], "freeze_base": true,
        "add_l0": false, "l0_lambda": 1e-06, "id2label": {"0": "LABEL_0"}, "use_cache": true,
        "mask_hparams": {"ablation": "none", "mask_unit": "neuron", "mask_bias": true, "mask_init_percentage": 0.5}
      },
      "resid_config": {"model_type": "gpt", "target_layers": [1], "mlp": false, "attn": true, "updates": true,
        "stream": false, "circuit": true, "base": false}
    }"#;

    #[test]
    fn of_a_subnetwork_probe_build_one() {
        let config: SubnetworkProbeConfig = serde_json::from_str(SUBNETWORK).unwrap();
        assert_eq!((config.intermediate_size, config.labeling), (5, Labeling::Token));
        assert!(!config.circuit_config.add_l0);
        let probe = SubnetworkProbe::new(config, model(), 0).unwrap();
        let layers = probe.circuit().layers();
        assert_eq!((layers.len(), layers[0].name.as_str(), layers[0].has_bias_mask()), (1, LAYER, true));
        assert_eq!(probe.probe_params()["probe.2.weight"].shape().to_vec(), [3, 5]);
    }

    #[test]
    fn survive_a_round_trip() {
        let config: SubnetworkProbeConfig = serde_json::from_str(SUBNETWORK).unwrap();
        let again: SubnetworkProbeConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        let config = CircuitProbeConfig { loss: ProbeLoss::Linear, ..circuit_config() };
        let again: CircuitProbeConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn with_a_value_that_nobody_knows_list_the_known_ones() {
        let misspelt = SUBNETWORK.replace("\"token\"", "\"tokens\"");
        let message = serde_json::from_str::<SubnetworkProbeConfig>(&misspelt).unwrap_err().to_string();
        assert!(message.contains("tokens") && message.contains("`sequence`"), "{message}");
    }
}

mod batches {
    use super::*;

    #[test]
    fn of_images_have_positions_too() {
        let device = Device::default().autodiff();
        let sizes = VitConfig {
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 8,
            image_size: ImageSize::Square(4),
            patch_size: ImageSize::Square(2),
            ..Default::default()
        };
        let layer = "encoder.layer.0.attention.output.dense";
        let mut config = subnetwork_config();
        config.probe_vectors = "attn_update_0".into();
        config.resid_config.target_layers = vec![0];
        config.circuit_config.target_layers = vec![layer.into()];
        let probe = SubnetworkProbe::new(config, Vit::init(&sizes, &device).unwrap(), 0).unwrap();
        // Two images, each of a class token, which is selected, and four patches.
        let images = |token_mask: Vec<bool>| ProbeBatch {
            inputs: ModelInputs::images(Tensor::ones([2, 3, 4, 4], &device)),
            token_mask,
            labels: vec![0, 2],
            means: Vec::new(),
        };
        let first = [true, false, false, false, false];
        assert_eq!(probe.forward(&images([first, first].concat())).unwrap().logits.dims(), [2, 3]);
        let short = probe.forward(&images(vec![true, false, true, false])).unwrap_err();
        assert!(short.to_string().contains("[2, 5]"), "{short}");
    }

    #[test]
    fn with_more_or_fewer_labels_than_tokens_are_refused() {
        let circuit = CircuitProbe::new(circuit_config(), model()).unwrap();
        let subnetwork = SubnetworkProbe::new(subnetwork_config(), model(), 0).unwrap();
        for labels in [&[1, 2][..], &[1, 2, 1, 2], &[]] {
            for error in [circuit.forward(&batch(labels)).unwrap_err(), subnetwork.forward(&batch(labels)).unwrap_err()]
            {
                assert!(
                    matches!(error, ProbeError::LabelCount { tokens: 3, labels: found } if found == labels.len()),
                    "{error:?}"
                );
            }
        }
    }

    #[test]
    fn with_a_token_mask_of_another_size_are_refused() {
        let short = ProbeBatch { token_mask: vec![true; 3], ..batch(&[1, 2, 1]) };
        let circuit = CircuitProbe::new(circuit_config(), model()).unwrap();
        assert!(circuit.forward(&short).unwrap_err().to_string().contains("[3, 2]"));
        let subnetwork = SubnetworkProbe::new(subnetwork_config(), model(), 0).unwrap();
        assert!(subnetwork.forward(&short).is_err());
    }

    #[test]
    fn that_read_no_token_are_refused() {
        let nothing = ProbeBatch { token_mask: vec![false; 6], ..batch(&[]) };
        let circuit = CircuitProbe::new(circuit_config(), model()).unwrap();
        assert!(matches!(circuit.forward(&nothing), Err(ProbeError::Batch { what: "token_mask", .. })));
        let by_token = SubnetworkProbeConfig { labeling: Labeling::Token, ..subnetwork_config() };
        let subnetwork = SubnetworkProbe::new(by_token, model(), 0).unwrap();
        assert!(matches!(subnetwork.forward(&nothing), Err(ProbeError::Batch { what: "token_mask", .. })));
    }

    #[test]
    fn with_labels_beyond_the_classes_are_refused() {
        let probe = SubnetworkProbe::new(subnetwork_config(), model(), 0).unwrap();
        for label in [3, -1] {
            let message = probe.forward(&batch(&[0, label, 2])).unwrap_err().to_string();
            assert!(message.contains(&format!("label is {label}")) && message.contains("3 classes"), "{message}");
        }
        assert!(probe.forward(&batch(&[0, 1, 2])).is_ok());
    }

    #[test]
    fn of_numbers_have_the_mean_squared_error() {
        let config = SubnetworkProbeConfig { n_classes: 1, ..subnetwork_config() };
        let numbers = [-1.0, 0.25, 2.0];
        let probe = SubnetworkProbe::for_numbers(config, numbers.to_vec(), model(), 0).unwrap();
        let output = probe.forward(&batch(&[2, 0, 1])).unwrap();
        assert_eq!(output.logits.dims(), [3, 1]);
        let predicted: Vec<f32> = output.logits.to_data().iter().collect();
        let errors = [predicted[0] - 2.0, predicted[1] + 1.0, predicted[2] - 0.25];
        let loss: f32 = output.losses.without_l0.clone().into_scalar();
        assert!((loss - errors.iter().map(|error| error * error).sum::<f32>() / 3.0).abs() < 1e-6, "{loss}");
        let gradients = probe.probe_gradients(&output.losses.without_l0.backward());
        let bias: Vec<f32> = gradients["probe.0.bias"].iter().collect();
        assert!((bias[0] - 2.0 * errors.iter().sum::<f32>() / 3.0).abs() < 1e-6, "{bias:?}");
        assert!(probe.forward(&batch(&[0, 3, 1])).unwrap_err().to_string().contains("label is 3"));
        let error = SubnetworkProbe::for_numbers(subnetwork_config(), numbers.to_vec(), model(), 0).unwrap_err();
        assert!(error.to_string().contains("n_classes is 3, but a regression has one output"), "{error}");
    }

    #[test]
    fn with_two_tokens_a_sequence_need_labels_by_token() {
        let two = ProbeBatch { token_mask: vec![true, true, false, true, false, true], ..batch(&[0, 1, 2, 0]) };
        let by_sequence = SubnetworkProbe::new(subnetwork_config(), model(), 0).unwrap();
        assert!(by_sequence.forward(&two).unwrap_err().to_string().contains("2 tokens in sequence 0"));
        let by_token = SubnetworkProbeConfig { labeling: Labeling::Token, ..subnetwork_config() };
        let output = SubnetworkProbe::new(by_token, model(), 0).unwrap().forward(&two).unwrap();
        assert_eq!(output.logits.dims(), [4, 3]);
    }

    /// The vectors are averaged at the probed site, also where the frozen activations hold only the selected tokens.
    #[test]
    fn with_means_average_the_probed_vectors() {
        for (site, layer) in [("attn_update_1", LAYER), ("mlp_update_1", "transformer.h.1.mlp.c_proj")] {
            let config = CircuitProbeConfig::new(site.parse().unwrap(), vec![layer.into()]).unwrap();
            let probe = CircuitProbe::new(config, model()).unwrap();
            let all = ProbeBatch { token_mask: vec![true; 6], ..batch(&[0, 0, 1, 1, 0, 0]) };
            let halves = probe.forward(&all).unwrap().vectors.reshape([3, 2, 8]) / 2.0;
            let output = probe.forward(&ProbeBatch { means: vec![2; 3], labels: vec![0, 1, 0], ..all }).unwrap();
            output.vectors.into_data().assert_eq(&halves.sum_dim(1).squeeze_dim::<2>(1).into_data(), true);
        }
    }

    #[test]
    fn that_the_model_cannot_read_are_refused() {
        let probe = CircuitProbe::new(circuit_config(), model()).unwrap();
        let inputs = ModelInputs::from_ids(&[[1, 10], [2, 9], [1, 9]], &Device::default().autodiff());
        let error = probe.forward(&ProbeBatch { inputs, ..batch(&[1, 2, 1]) }).unwrap_err();
        assert!(matches!(error, ProbeError::Model(ModelError::InvalidInput { what: "token id", .. })), "{error:?}");
    }
}

mod masks {
    use super::*;

    fn probe(site: &str, layers: &[&str]) -> Result<CircuitProbe<Gpt2>, ProbeError> {
        let layers = layers.iter().map(|layer| format!("transformer.h.{layer}"));
        CircuitProbe::new(CircuitProbeConfig::new(site.parse().unwrap(), layers.collect()).unwrap(), model())
    }

    #[test]
    fn that_cannot_change_the_probed_vectors_are_refused_with_those_that_can() {
        for (site, layers) in [
            ("attn_update_0", &["0.mlp.c_fc"][..]),
            ("attn_update_0", &["0.attn.c_attn", "1.attn.c_attn"]),
            ("mlp_update_0", &["1.mlp.c_proj"]),
        ] {
            let error = probe(site, layers).unwrap_err();
            let ProbeError::UnreachableSite { layers: refused, .. } = &error else { panic!("{error:?}") };
            assert_eq!(refused, &[format!("transformer.h.{}", layers[layers.len() - 1])]);
            assert!(error.to_string().contains("layers that can: transformer.h.0.attn.c_attn"), "{error}");
        }
        for (site, layers) in
            [("mlp_stream_1", &["0.mlp.c_fc", "1.mlp.c_proj"][..]), ("mlp_update_0", &["0.attn.c_attn"])]
        {
            probe(site, layers).unwrap();
        }
        let config = SubnetworkProbeConfig {
            circuit_config: CircuitConfig {
                target_layers: vec!["transformer.h.1.mlp.c_fc".into()],
                ..Default::default()
            },
            ..subnetwork_config()
        };
        let error = SubnetworkProbe::new(config, model(), 0).unwrap_err();
        assert!(matches!(error, ProbeError::UnreachableSite { .. }), "{error:?}");
    }

    #[test]
    fn of_probes_can_be_sent_and_shared() {
        fn check<T: Send + Sync>() {}
        check::<CircuitProbe<AnyTransformer>>();
        check::<SubnetworkProbe<AnyTransformer>>();
        check::<crate::ActivationCache>();
        check::<ProbeBatch>();
    }
}

mod ablations {
    use super::*;

    #[test]
    fn while_training_are_refused_by_forward() {
        let mut eval = CircuitProbe::new(circuit_config(), model()).unwrap().valid();
        eval.circuit_mut().set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
        let mut circuit = eval.train();
        let error = circuit.forward(&batch(&[1, 2, 1])).unwrap_err();
        let refused = CircuitError::AblationWhileTraining { ablation: Ablation::ZeroAblate };
        assert_eq!(error.to_string(), refused.to_string());
        assert!(matches!(error, ProbeError::Circuit(CircuitError::AblationWhileTraining { .. })));

        let mut eval = SubnetworkProbe::new(subnetwork_config(), model(), 0).unwrap().valid();
        eval.circuit_mut().set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
        let subnetwork = eval.train();
        let error = subnetwork.forward(&batch(&[1, 2, 1])).unwrap_err();
        assert!(matches!(error, ProbeError::Circuit(CircuitError::AblationWhileTraining { .. })), "{error:?}");

        circuit.circuit_mut().set_variant(ModelVariant::CircuitOnly).unwrap();
        assert!(circuit.forward(&batch(&[1, 2, 1])).is_ok(), "training continues after the variant is reset");
    }

    #[test]
    fn are_run_by_the_copy_in_evaluation_mode() {
        let mut probe = CircuitProbe::new(circuit_config(), model()).unwrap().valid();
        probe.circuit_mut().set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
        let batch = batch(&[1, 2, 1]);
        let batch = ProbeBatch { inputs: batch.inputs.clone().without_autodiff(), ..batch };
        assert_eq!(probe.forward(&batch).unwrap().vectors.dims(), [3, 8]);
    }
}

mod residual_models {
    use super::*;

    fn config() -> ResidualUpdateModelConfig {
        ResidualUpdateModelConfig {
            model_type: "gpt".into(),
            target_layers: vec![1, 0],
            mlp: true,
            attn: true,
            updates: true,
            stream: true,
        }
    }

    #[test]
    fn give_every_vector_that_is_asked_for() {
        let reader = ResidualUpdateModel::new(&config(), AnyTransformer::from(model())).unwrap();
        let vectors = reader.forward(&batch(&[]).inputs).unwrap();
        assert_eq!(vectors.len(), 8);
        assert!(vectors.values().all(|vectors| vectors.dims() == [3, 2, 8]));
        let some = ResidualUpdateModelConfig { target_layers: vec![0], attn: false, stream: false, ..config() };
        let vectors = ResidualUpdateModel::new(&some, model()).unwrap().forward(&batch(&[]).inputs).unwrap();
        assert_eq!(vectors.keys().collect::<Vec<_>>(), ["mlp_update_0"]);
    }

    #[test]
    fn that_cannot_be_are_refused() {
        let refused = |config| ResidualUpdateModel::new(&config, model()).unwrap_err().to_string();
        assert!(refused(ResidualUpdateModelConfig { target_layers: vec![], ..config() }).contains("at least one"));
        assert!(refused(ResidualUpdateModelConfig { updates: false, stream: false, ..config() }).contains("no site"));
        assert!(refused(ResidualUpdateModelConfig { mlp: false, attn: false, ..config() }).contains("no site"));
        assert!(refused(ResidualUpdateModelConfig { model_type: "vit".into(), ..config() }).contains("`gpt`"));
        assert!(refused(ResidualUpdateModelConfig { target_layers: vec![0, 9], ..config() }).contains("2 blocks"));
    }
}
