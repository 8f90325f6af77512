//! Tests of the circuit model as a whole.

use std::collections::BTreeMap;

use burn::module::{Module, ParamGroup};
use burn::nn::conv::Conv2dConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, TensorData};

use crate::ablation::{Ablation, ModelVariant};
use crate::config::{CircuitConfig, MaskUnit};
use crate::error::CircuitError;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::target::{LayerKind, MaskTarget, discover_targets};
use crate::testing::{
    CONCRETE, Net, PRUNE, SPARSE, assert_close, circuit, config, input, masks, normal, run, targets, with_method, zeros,
};

#[test]
fn targets_are_found_by_layer_type() {
    #[derive(Module, Debug)]
    struct Mixed {
        blocks: Vec<Linear>,
        conv: burn::nn::conv::Conv2d,
        norm: burn::nn::LayerNorm,
    }
    let device = Device::default();
    let mixed = Mixed {
        blocks: vec![LinearConfig::new(2, 3).init(&device); 2],
        conv: Conv2dConfig::new([1, 2], [3, 3]).init(&device),
        norm: burn::nn::LayerNormConfig::new(3).init(&device),
    };
    let found: Vec<_> = discover_targets(&mixed).into_iter().map(|t| (t.name, t.path, t.kind)).collect();
    let at = |path: &str, kind| (path.to_string(), path.to_string(), kind);
    assert_eq!(
        found,
        [at("blocks.0", LayerKind::Linear), at("blocks.1", LayerKind::Linear), at("conv", LayerKind::Conv2d)]
    );
    // If the module itself is a layer, its path is empty.
    let linear = LinearConfig::new(2, 3).init(&device);
    let config = CircuitConfig { target_layers: vec![String::new()], ..config() };
    let circuit = CircuitModel::new(config, linear.clone(), &discover_targets(&linear)).unwrap();
    assert_eq!(circuit.l0().max_weights, 9);
}

#[test]
fn training_masks_are_soft_and_evaluation_masks_hard() {
    let circuit = circuit(&config());
    assert!(circuit.is_training());
    assert!(masks(&circuit)["h.w.weight_mask"].iter().all(|m| *m > 0.0 && *m < 1.0));
    let eval = circuit.valid();
    assert!(!eval.is_training());
    for mask in masks(&eval).values() {
        assert!(mask.iter().all(|m| *m == 0.0 || *m == 1.0));
    }
    let back = eval.clone().train();
    assert!(back.is_training());
    assert_eq!(run(&back), run(&circuit));
    assert_eq!(masks(&back), masks(&circuit));
    assert_eq!(run(&back.valid()), run(&eval));
    assert_eq!(back.mask_params(), circuit.mask_params());
}

#[test]
fn effective_masks_are_what_the_forward_pass_uses() {
    for method in [SPARSE, CONCRETE, PRUNE] {
        for unit in [MaskUnit::Weight, MaskUnit::Neuron] {
            if method == PRUNE && unit == MaskUnit::Neuron {
                continue;
            }
            let circuit = circuit(&CircuitConfig { mask_unit: unit, ..with_method(method) });
            for model in [circuit.valid(), circuit] {
                let w = &model.model().unwrap().w;
                let (base, effective) = (host(w.weight.base().transpose()), host(w.weight.val().transpose()));
                let mask = &masks(&model)["h.w.weight_mask"];
                for ((b, m), e) in base.iter().zip(mask).zip(effective) {
                    assert!((b * m - e).abs() < 1e-6);
                }
            }
        }
    }
}

#[test]
fn temperature_scales_soft_masks_and_bad_ones_are_refused() {
    let mut circuit = circuit(&config());
    circuit.set_temperature(0.0).unwrap();
    assert!(masks(&circuit)["h.w.weight_mask"].iter().all(|m| *m == 0.5));
    circuit.set_temperature(3.0).unwrap();
    assert_eq!(circuit.temperature(), 3.0);
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(circuit.set_temperature(bad), Err(CircuitError::InvalidTemperature { .. })));
    }
    assert_eq!(circuit.temperature(), 3.0);
}

#[test]
fn masks_off_is_the_base_bit_for_bit() {
    let bare = |device: &Device| host(Net::new(device).forward(input(device)));
    for method in [SPARSE, CONCRETE, PRUNE] {
        let mut circuit = circuit(&with_method(method));
        let as_whole = |circuit: &CircuitModel<Net>| {
            let model = circuit.model_as(ModelVariant::WholeModel).unwrap();
            host(model.forward(input(&circuit.devices().remove(0))))
        };
        // The frozen base has no dropout, so training and evaluation agree.
        assert_eq!(as_whole(&circuit), bare(&Device::default()));
        assert_ne!(run(&circuit), bare(&Device::default()), "model_as changes no setting");
        circuit.set_variant(ModelVariant::WholeModel).unwrap();
        let eval = circuit.valid();
        for whole in [&circuit, &eval] {
            assert_eq!(run(whole), bare(&Device::default()));
            assert!(masks(whole).values().flatten().all(|m| *m == 1.0));
        }
        let (mut eval, layers) = (eval, ["h.conv", "h.w", "h.out"]);
        eval.use_masks_of(false, &layers).unwrap();
        for variant in [ModelVariant::CircuitOnly, ModelVariant::Ablated(Ablation::ZeroAblate)] {
            eval.set_variant(variant).unwrap();
            assert_eq!(run(&eval), bare(&Device::default()));
            assert!(masks(&eval)["h.w.weight_mask"].iter().all(|m| *m == 1.0));
        }
        eval.use_masks_of(true, &layers).unwrap();
        assert_ne!(run(&eval), bare(&Device::default()));
    }
}

#[test]
fn masks_of_named_layers_switch_alone() {
    let mut eval = circuit(&config()).valid();
    eval.use_masks_of(false, &["wrapped_model.h.w"]).unwrap();
    let found = masks(&eval);
    assert!(found["h.w.weight_mask"].iter().all(|m| *m == 1.0));
    assert!(found["h.w.bias_mask"].iter().all(|m| *m == 1.0));
    assert!(found["h.conv.weight_mask"].contains(&0.0));
    let error = eval.use_masks_of(true, &["h.w", "h.outt"]).unwrap_err();
    assert!(matches!(&error, CircuitError::UnknownLayer { nearest, .. } if nearest[0] == "h.out"));
    assert!(error.to_string().contains("h.out"));
    assert!(masks(&eval)["h.w.weight_mask"].iter().all(|m| *m == 1.0));
}

#[test]
fn only_masks_are_trained_when_the_base_is_frozen() {
    let circuit = circuit(&config());
    let device = Device::default().autodiff();
    let loss = circuit.model().unwrap().forward(input(&device)).sum() + circuit.l0_training();
    let gradients = loss.backward();
    let found = circuit.mask_gradients(&gradients);
    let keys: Vec<_> = circuit.mask_params().into_keys().collect();
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), keys);
    assert!(found.values().all(|g| g.iter::<f32>().any(|v| v != 0.0)));
    let grads = GradientsParams::from_grads(gradients, &circuit);
    assert_eq!(grads.len(), 5);
    let base = host(circuit.base().w.weight.val());
    let before = circuit.mask_params();
    let mut optimizer = SgdConfig::new().init();
    let stepped = optimizer.step(0.1, circuit, grads);
    assert_eq!(host(stepped.base().w.weight.val()), base);
    assert_ne!(stepped.mask_params(), before);
    assert!(stepped.is_training());
}

#[test]
fn a_frozen_mask_is_hard_even_in_training() {
    let circuit = circuit(&config());
    let hard = masks(&circuit.valid());
    let l0 = circuit.l0().weights;
    let frozen = circuit.set_require_grad_group(ParamGroup::from_predicate("masks"), false);
    assert!(frozen.is_training());
    assert_eq!(masks(&frozen), hard);
    assert_eq!(host(frozen.l0_training()), [l0 as f32]);
}

#[test]
fn records_restore_masks() {
    let trained = circuit(&config());
    let record = trained.clone().into_record();
    let fresh = CircuitModel::new(config(), Net::new(&Device::default().autodiff()), &targets()).unwrap();
    assert_ne!(fresh.mask_params(), trained.mask_params());
    let restored = fresh.load_record(record);
    assert_eq!(restored.mask_params(), trained.mask_params());
    assert!(restored.is_training());
    assert_eq!(run(&restored), run(&trained));
}

#[test]
fn pruning_follows_a_base_that_changes() {
    let circuit = circuit(&with_method(PRUNE));
    let before = masks(&circuit);
    run(&circuit); // fills the cache
    let mut other = Net::new(&Device::default());
    other.w.weight = other.w.weight.map(|w| w.flip([0]) * 2.0);
    let other = CircuitModel::new(with_method(PRUNE), other, &targets()).unwrap();
    let loaded = circuit.load_record(other.clone().into_record());
    let after = masks(&loaded);
    assert_ne!(after, before);
    assert_eq!(after, masks(&other));
    let effective = host(loaded.model().unwrap().w.weight.val().transpose());
    for (value, mask) in effective.iter().zip(&after["h.w.weight_mask"]) {
        assert_eq!(*value != 0.0, *mask == 1.0);
    }
}

#[test]
fn noise_is_one_a_step_and_a_function_of_the_step() {
    let mut circuit = circuit(&with_method(CONCRETE));
    let mut at = |epoch, step| {
        circuit.begin_step(epoch, step);
        let weight = host(circuit.model().unwrap().w.weight.val());
        assert_eq!(weight, host(circuit.model().unwrap().w.weight.val()));
        assert_eq!(masks(&circuit), masks(&circuit));
        masks(&circuit)
    };
    let first = at(0, 0);
    assert_ne!(first, at(0, 1));
    assert_ne!(at(1, 0), at(0, 1));
    assert_eq!(first, at(0, 0));
    circuit.set_seed(5);
    assert_ne!(first, masks(&circuit));
}

#[test]
fn injected_noise_replaces_the_draw_and_is_checked() {
    let mut circuit = circuit(&with_method(CONCRETE));
    let sampled = masks(&circuit);
    let given = |key: &str, shape: &[usize]| {
        let n = shape.iter().product();
        BTreeMap::from([(key.to_string(), TensorData::new(vec![0.5_f32; n], shape.to_vec()))])
    };
    circuit.inject_noise(Some(given("h.w.weight", &[4, 9]))).unwrap();
    let mixed = masks(&circuit);
    assert_ne!(mixed["h.w.weight_mask"], sampled["h.w.weight_mask"]);
    assert_eq!(mixed["h.out.weight_mask"], sampled["h.out.weight_mask"]);
    assert!(matches!(
        circuit.inject_noise(Some(given("h.w.weight", &[9, 4]))),
        Err(CircuitError::ShapeMismatch { .. })
    ));
    assert!(matches!(
        circuit.inject_noise(Some(given("h.w.wait", &[4, 9]))),
        Err(CircuitError::UnexpectedTensor { .. })
    ));
    circuit.inject_noise(None).unwrap();
    assert_eq!(masks(&circuit), sampled);
    let mut sparse = crate::testing::circuit(&config());
    assert!(matches!(sparse.inject_noise(Some(BTreeMap::new())), Err(CircuitError::NoiseUnused { .. })));
}

#[test]
fn l0_counts_weights_layer_by_layer() {
    let circuit = circuit(&CircuitConfig { mask_unit: MaskUnit::Neuron, ..config() });
    let l0 = circuit.l0();
    assert_eq!(l0.max_weights, 12 + 3 + 36 + 4 + 8);
    assert_eq!(l0.max_units, 3 * 2 + 3 + 4 + 4 + 2);
    assert_eq!(l0, circuit.valid().l0());
    let hard = masks(&circuit.valid());
    let ones = |name: &str| hard[name].len() - zeros(&hard[name]);
    let names: Vec<_> = l0.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["h.conv", "h.w", "h.out"]);
    assert_eq!(l0.layers[1].weights, ones("h.w.weight_mask") + ones("h.w.bias_mask"));
    let w = &l0.layers[1];
    assert_eq!((w.units, w.max_units), (ones("h.w.weight_mask") / 9 + ones("h.w.bias_mask"), 4 + 4));
    assert_eq!(w.max_weights, 40);
    assert_eq!(l0.weights, l0.layers.iter().map(|layer| layer.weights).sum::<usize>());
    assert_eq!(l0.units, l0.layers.iter().map(|layer| layer.units).sum::<usize>());
    let of_weights = crate::testing::circuit(&config()).l0();
    assert_eq!((of_weights.units, of_weights.max_units), (of_weights.weights, of_weights.max_weights));
    let mut eval = circuit.valid();
    eval.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
    assert_eq!(eval.l0(), l0, "an ablation does not change the circuit");
}

#[test]
fn the_l0_loss_is_only_there_when_it_should_be() {
    let circuit = circuit(&CircuitConfig { l0_lambda: 0.5, ..config() });
    let soft: f32 = masks(&circuit).values().flatten().sum();
    assert_close(circuit.l0_loss().unwrap(), &[0.5 * soft]);
    assert!(circuit.valid().l0_loss().is_none());
    let without = CircuitConfig { add_l0: false, ..config() };
    assert!(crate::testing::circuit(&without).l0_loss().is_none());
    let bare = crate::testing::circuit(&CircuitConfig { target_layers: Vec::new(), ..config() });
    assert!(bare.l0_loss().is_none());
    assert_close(bare.l0_training(), &[0.0]);
    assert_eq!(bare.l0().max_weights, 0);
    bare.model().unwrap();
}

#[test]
fn mask_parameters_have_hugging_face_names_and_shapes() {
    let circuit = circuit(&CircuitConfig { mask_unit: MaskUnit::Neuron, ..config() });
    let shapes: Vec<_> =
        circuit.mask_params().into_iter().map(|(name, data)| (name, data.shape().as_slice().to_vec())).collect();
    let at = |name: &str, shape: &[usize]| (format!("h.{name}_mask_params"), shape.to_vec());
    assert_eq!(
        shapes,
        [
            at("conv.bias", &[3]),
            at("conv.weight", &[3, 1, 2]),
            at("out.weight", &[2, 1]),
            at("w.bias", &[4]),
            at("w.weight", &[4, 1])
        ]
    );
    let layers = circuit.layers();
    assert_eq!(layers[1].weight_shape, [4, 9]);
    assert!(layers[1].has_bias_mask() && !layers[2].has_bias_mask());
}

#[test]
fn loading_masks_is_strict() {
    let whole = circuit(&config()).mask_params();
    let load = |edit: &dyn Fn(&mut BTreeMap<String, TensorData>)| {
        let mut params = whole.clone();
        edit(&mut params);
        circuit(&config()).load_mask_params(&params)
    };
    load(&|_| ()).unwrap();
    assert!(matches!(
        load(&|p| drop(p.remove("h.w.bias_mask_params"))),
        Err(CircuitError::MissingTensor { name, .. }) if name == "h.w.bias_mask_params"
    ));
    let extra = || TensorData::new(normal(4, 0), [4]);
    assert!(matches!(
        load(&|p| drop(p.insert("h.x.bias_mask_params".into(), extra()))),
        Err(CircuitError::UnexpectedTensor { name, .. }) if name == "h.x.bias_mask_params"
    ));
    assert!(matches!(
        load(&|p| drop(p.insert("wrapped_model.h.w.bias_mask_params".into(), extra()))),
        Err(CircuitError::DuplicateLayer { .. })
    ));
    assert!(matches!(
        load(&|p| drop(p.insert("h.w.bias_mask_params".into(), TensorData::new(vec![0_f32; 3], [3])))),
        Err(CircuitError::ShapeMismatch { expected, found, .. }) if expected == [4] && found == [3]
    ));
    let Err(CircuitError::ShapesMismatch { misfits }) = load(&|p| {
        for name in ["h.w.bias_mask_params", "h.w.weight_mask_params"] {
            p.insert(name.into(), TensorData::new(vec![0_f32; 6], [2, 3]));
        }
    }) else {
        panic!("masks of another model were accepted");
    };
    assert_eq!(misfits.len(), 2);
    assert_eq!((&misfits[1].expected[..], &misfits[1].found[..]), (&[4, 9][..], &[2, 3][..]));
    let mut pruned = circuit(&with_method(PRUNE));
    assert!(pruned.mask_params().is_empty());
    assert!(matches!(pruned.load_mask_params(&whole), Err(CircuitError::UnexpectedTensor { .. })));
}

#[test]
fn impossible_layers_are_named() {
    let build = |layers: &[&str], targets: &[MaskTarget]| {
        let config = CircuitConfig { target_layers: layers.iter().map(|l| l.to_string()).collect(), ..config() };
        CircuitModel::new(config, Net::new(&Device::default()), targets).unwrap_err()
    };
    let error = build(&["h.con"], &targets());
    assert!(matches!(&error, CircuitError::UnknownLayer { nearest, .. } if nearest[0] == "h.conv"));
    assert!(matches!(build(&["h.w", "h.w"], &targets()), CircuitError::DuplicateLayer { .. }));
    let with = |name: &str, path: &str, kind| {
        let mut all = targets();
        all.push(MaskTarget { name: name.into(), path: path.into(), kind });
        all
    };
    assert!(matches!(build(&["h.w"], &with("h.w", "w", LayerKind::Linear)), CircuitError::DuplicateLayer { .. }));
    assert!(matches!(
        build(&["h.w", "h.tied"], &with("h.tied", "w", LayerKind::Linear)),
        CircuitError::SharedParameter { .. }
    ));
    assert!(matches!(
        build(&["h.z"], &with("h.z", "ww", LayerKind::Linear)),
        CircuitError::ParameterNotFound { path, .. } if path == "ww.weight"
    ));
    assert!(matches!(
        build(&["h.z"], &with("h.z", "conv", LayerKind::Linear)),
        CircuitError::RankMismatch { expected: 2, .. }
    ));
    let masked = circuit(&config()).model().unwrap();
    assert!(matches!(
        CircuitModel::new(config(), masked, &targets()),
        Err(CircuitError::AlreadyReparameterized { .. })
    ));
}

#[test]
fn a_model_without_autodiff_starts_in_evaluation() {
    let mut circuit = CircuitModel::new(config(), Net::new(&Device::default()), &targets()).unwrap();
    assert!(!circuit.is_training());
    circuit.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
    circuit.set_variant(ModelVariant::CircuitOnly).unwrap();
    let training = circuit.train();
    assert!(training.is_training());
    assert!(masks(&training)["h.w.weight_mask"].iter().all(|m| *m == 0.5));
}

#[test]
fn a_loss_without_a_gradient_is_an_error() {
    let refused = |circuit: &CircuitModel<Net>| {
        let device = circuit.devices().remove(0);
        let losses = circuit.with_l0(circuit.model().unwrap().forward(input(&device)).sum());
        assert!(matches!(losses.backward(), Err(CircuitError::NoGradient)));
    };
    let training = circuit(&config());
    training.with_l0(training.model().unwrap().forward(input(&Device::default().autodiff())).sum()).backward().unwrap();
    refused(&training.valid());
    let mut whole = circuit(&CircuitConfig { add_l0: false, ..config() });
    whole.set_variant(ModelVariant::WholeModel).unwrap();
    refused(&whole);
    let mut with_l0 = circuit(&config());
    with_l0.set_variant(ModelVariant::WholeModel).unwrap();
    let output = with_l0.model().unwrap().forward(input(&Device::default().autodiff()));
    assert!(!output.is_tracked() && with_l0.with_l0(output.sum()).backward().is_ok(), "the L0 term has a gradient");
    refused(&CircuitModel::new(config(), Net::new(&Device::default()), &targets()).unwrap());
}

#[test]
fn circuits_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<CircuitModel<Net>>();
    check::<CircuitError>();
}
