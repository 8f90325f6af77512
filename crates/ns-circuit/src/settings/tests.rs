//! Tests of ablations on a whole circuit model.

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use crate::ablation::{Ablation, ModelVariant};
use crate::config::{CircuitConfig, MagnitudeCriterion, MaskMethod, MaskUnit};
use crate::error::CircuitError;
use crate::mask::host;
use crate::model::CircuitModel;
use crate::testing::{CONCRETE, Net, PRUNE, SPARSE, circuit, config, input, masks, run, with_method, zeros};

#[test]
fn zero_ablate_is_the_complement_and_random_ablate_refills() {
    for method in [SPARSE, CONCRETE, PRUNE] {
        let mut eval = circuit(&with_method(method)).valid();
        let hard = masks(&eval);
        eval.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
        let ablated = masks(&eval);
        for (name, mask) in &hard {
            assert!(mask.iter().zip(&ablated[name]).all(|(h, a)| h + a == 1.0));
        }
        eval.set_variant(ModelVariant::Ablated(Ablation::RandomAblate)).unwrap();
        assert_eq!(masks(&eval), ablated);
        let weight = || host(eval.model().unwrap().w.weight.val());
        let (base, first) = (host(eval.base().w.weight.val()), weight());
        assert_eq!(first, weight(), "the sampled values are kept");
        let kept = Tensor::<1>::from_floats(ablated["h.w.weight_mask"].as_slice(), &Device::default());
        let keep = host(kept.reshape([4, 9]).transpose());
        for ((b, k), v) in base.iter().zip(&keep).zip(&first) {
            if *k == 1.0 {
                assert_eq!(v, b);
            } else {
                assert!(v != b && v.abs() <= 1.0 / 3.0, "expected a value in ±1/√9, found {v}");
            }
        }
        eval.resample().unwrap();
        assert_ne!(host(eval.model().unwrap().w.weight.val()), first);
        eval.set_variant(ModelVariant::CircuitOnly).unwrap();
        assert_eq!(masks(&eval), hard);
    }
}

#[test]
fn ablating_in_training_is_an_error() {
    for method in [SPARSE, CONCRETE, PRUNE] {
        let mut circuit = circuit(&with_method(method));
        assert!(matches!(
            circuit.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)),
            Err(CircuitError::AblationWhileTraining { .. })
        ));
        let mut eval = circuit.valid();
        eval.set_variant(ModelVariant::Ablated(Ablation::ZeroAblate)).unwrap();
        circuit.model().unwrap(); // the ablation of another copy does not matter
        let mut circuit = eval.train();
        let error = circuit.model().unwrap_err();
        assert!(error.to_string().contains("zero_ablate"), "{error}");
        circuit.set_variant(ModelVariant::CircuitOnly).unwrap();
        circuit.model().unwrap();
    }
}

#[test]
fn a_configured_ablation_waits_for_evaluation() {
    let configured = ModelVariant::Ablated(Ablation::RandomlySampled);
    let mut circuit = circuit(&CircuitConfig { ablation: Some(Ablation::RandomlySampled), ..config() });
    circuit.model().unwrap();
    assert_eq!((circuit.variant(), circuit.valid().variant()), (ModelVariant::CircuitOnly, configured));
    assert!(masks(&circuit)["h.w.weight_mask"].iter().all(|m| *m > 0.0 && *m < 1.0));
    let eval = circuit.valid();
    eval.model().unwrap();
    let first = masks(&eval);
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        *data = TensorData::full(data.shape().clone(), -1.0_f32);
    }
    // The sample does not outlive a change of the masks, however the copy came about.
    let mut trained = eval.clone().train();
    trained.load_mask_params(&params).unwrap();
    assert!(masks(&trained.valid()).values().all(|mask| zeros(mask) == 0));
    let record = trained.into_record();
    assert!(masks(&eval.clone().load_record(record)).values().all(|mask| zeros(mask) == 0));
    // Set by hand, the same ablation is refused in training like any other.
    assert!(matches!(circuit.set_variant(configured), Err(CircuitError::AblationWhileTraining { .. })));
    assert!(matches!(circuit.model_as(configured), Err(CircuitError::AblationWhileTraining { .. })));
    let mut by_hand = eval.clone();
    by_hand.set_variant(configured).unwrap();
    assert!(matches!(by_hand.train().model(), Err(CircuitError::AblationWhileTraining { .. })));
    // Training continues and the circuit shrinks to nothing. The next evaluation samples again.
    circuit.load_mask_params(&params).unwrap();
    assert!(masks(&circuit.valid()).values().all(|mask| zeros(mask) == 0));
    assert!(first.values().any(|mask| zeros(mask) > 0));
}

#[test]
fn a_circuit_larger_than_its_complement_cannot_be_sampled_from_it() {
    let mut circuit = circuit(&config());
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        *data = TensorData::full(data.shape().clone(), 1.0_f32);
    }
    circuit.load_mask_params(&params).unwrap();
    let mut eval = circuit.valid();
    let error = eval.set_variant(ModelVariant::Ablated(Ablation::ComplementSampled)).unwrap_err();
    assert!(matches!(
        &error,
        CircuitError::ComplementTooSmall { layer, circuit: 12, complement: 0 } if layer == "h.conv.weight"
    ));
    assert_eq!(eval.variant(), ModelVariant::CircuitOnly, "a failed set_variant changes nothing");
    eval.use_masks_of(false, &["h.conv", "h.w", "h.out"]).unwrap();
    eval.set_variant(ModelVariant::Ablated(Ablation::ComplementSampled)).unwrap(); // all masks are off, so nothing is sampled
}

/// In the reference, a logit of exactly 0 is outside the circuit but is never sampled from the complement.
#[test]
fn a_logit_of_zero_belongs_to_the_complement() {
    let mut circuit = circuit(&config());
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        let mut logits = vec![0.0_f32; data.num_elements()];
        logits[0] = 1.0;
        *data = TensorData::new(logits, data.shape().clone());
    }
    circuit.load_mask_params(&params).unwrap();
    let mut eval = circuit.valid();
    eval.set_variant(ModelVariant::Ablated(Ablation::ComplementSampled)).unwrap();
    for mask in masks(&eval).values() {
        assert_eq!(zeros(mask), 1);
        assert_eq!(mask[0], 1.0);
    }
}

/// One entry is equal to the threshold. The mask keeps it (`≥`); the samples of the reference do not count it (`>`).
#[test]
fn samples_of_a_pruned_layer_are_as_large_as_its_mask() {
    for criterion in [MagnitudeCriterion::Raw, MagnitudeCriterion::Absolute] {
        let method = MaskMethod::MagnitudePruning { prune_percentage: 0.6, criterion };
        let mut eval = circuit(&with_method(method)).valid();
        let kept = |masks: &[f32]| masks.len() - zeros(masks);
        let hard = masks(&eval);
        assert_eq!(kept(&hard["h.w.weight_mask"]), 15, "ranks 21 to 35 of 36 entries");
        for ablation in [Ablation::RandomlySampled, Ablation::ComplementSampled] {
            eval.set_variant(ModelVariant::Ablated(ablation)).unwrap();
            let sampled = masks(&eval);
            assert_eq!(zeros(&sampled["h.w.weight_mask"]), 15, "{criterion:?} {ablation}");
        }
    }
}

#[test]
fn a_configured_ablation_that_cannot_be_sampled_is_an_error_everywhere() {
    let mut training = circuit(&CircuitConfig { ablation: Some(Ablation::ComplementSampled), ..config() });
    let mut params = training.mask_params();
    for data in params.values_mut() {
        *data = TensorData::full(data.shape().clone(), 1.0_f32);
    }
    training.load_mask_params(&params).unwrap();
    training.model().unwrap();
    let eval = training.valid();
    let errors =
        [eval.model().unwrap_err(), eval.effective_masks().unwrap_err(), training.materialize_circuit().unwrap_err()];
    assert!(errors.iter().all(|error| matches!(error, CircuitError::ComplementTooSmall { .. })));
}

#[test]
fn copies_share_parameters_but_no_setting() {
    let original = circuit(&with_method(CONCRETE));
    let (masks_before, output) = (masks(&original), run(&original));
    let mut copy = original.clone();
    copy.set_temperature(9.0).unwrap();
    copy.set_seed(3);
    copy.begin_step(1, 2);
    copy.set_variant(ModelVariant::WholeModel).unwrap();
    let mut eval = original.valid();
    eval.set_variant(ModelVariant::Ablated(Ablation::RandomlySampled)).unwrap();
    eval.resample().unwrap();
    assert_eq!((original.temperature(), original.variant()), (1.0, ModelVariant::CircuitOnly));
    assert_eq!((masks(&original), run(&original)), (masks_before, output));
    assert_eq!(copy.mask_params(), original.mask_params());
}

#[test]
fn copies_on_threads_give_what_they_give_alone() {
    const STEPS: u64 = 10;
    let train = |mut copy: CircuitModel<Net>| -> Vec<Vec<f32>> {
        let (mut optimizer, device) = (SgdConfig::new().init(), Device::default().autodiff());
        let step = |step| {
            copy.set_temperature(1.0 + step as f32).unwrap();
            copy.begin_step(1, step);
            let loss = copy.model().unwrap().forward(input(&device)).sum() + copy.l0_training();
            if loss.is_tracked() {
                let gradients = GradientsParams::from_grads(loss.backward(), &copy);
                copy = optimizer.step(0.1, copy.clone(), gradients);
            }
            run(&copy)
        };
        (0..STEPS).map(step).collect()
    };
    let ablate = |copy: CircuitModel<Net>| -> Vec<Vec<f32>> {
        let mut eval = copy.valid();
        let ablations = [Ablation::ZeroAblate, Ablation::RandomAblate, Ablation::RandomlySampled];
        let sampled = (0..STEPS).flat_map(|sample| ablations.map(|ablation| (sample, ablation)));
        let outputs = sampled.map(|(sample, ablation)| {
            eval.set_sample(sample).unwrap();
            eval.set_variant(ModelVariant::Ablated(ablation)).unwrap();
            run(&eval)
        });
        outputs.collect()
    };
    let materialize = |copy: CircuitModel<Net>| -> Vec<Vec<f32>> {
        let models = (0..STEPS).flat_map(|_| [copy.materialize_circuit().unwrap(), copy.base().valid()]);
        models.map(|model| host(model.forward(input(&Device::default())))).collect()
    };
    for method in [SPARSE, CONCRETE, PRUNE] {
        let original = circuit(&with_method(method));
        let copy = || original.clone();
        let alone = (train(copy()), ablate(copy()), materialize(copy()));
        for _ in 0..5 {
            let together = std::thread::scope(|scope| {
                let (trained, again) = (scope.spawn(|| train(copy())), scope.spawn(|| train(copy())));
                let (ablated, plain) = (scope.spawn(|| ablate(copy())), scope.spawn(|| materialize(copy())));
                assert_eq!(again.join().unwrap(), alone.0);
                (trained.join().unwrap(), ablated.join().unwrap(), plain.join().unwrap())
            });
            assert_eq!(together, alone);
        }
    }
}

#[test]
fn a_variant_on_the_side_is_the_one_that_is_set() {
    let sampled = [Ablation::RandomAblate, Ablation::RandomlySampled].map(ModelVariant::Ablated);
    for method in [SPARSE, CONCRETE, PRUNE] {
        let mut eval = circuit(&with_method(method)).valid();
        eval.set_seed(4);
        eval.set_sample(3).unwrap();
        let (device, before) = (Device::default(), run(&eval));
        for variant in sampled.into_iter().chain([ModelVariant::WholeModel, ModelVariant::CircuitOnly]) {
            let aside = host(eval.model_as(variant).unwrap().forward(input(&device)));
            assert_eq!(run(&eval), before, "{variant:?}");
            let mut set = eval.clone();
            set.set_variant(variant).unwrap();
            assert_eq!(aside, run(&set), "{variant:?}");
        }
    }
}

#[test]
fn a_masked_model_keeps_its_sample_when_it_is_mapped_or_moved() {
    for ablation in [Ablation::RandomlySampled, Ablation::RandomAblate] {
        let mut eval = circuit(&config()).valid();
        eval.set_variant(ModelVariant::Ablated(ablation)).unwrap();
        let (expected, device) = (run(&eval), Device::default());
        for model in [eval.model().unwrap().freeze(), eval.model().unwrap().to_device(&device)] {
            assert_eq!(host(model.forward(input(&device))), expected, "{ablation}");
        }
    }
}

#[test]
fn materializing_bakes_the_hard_circuit_in() {
    for ablation in [None, Some(Ablation::ZeroAblate), Some(Ablation::RandomAblate)] {
        for method in [SPARSE, CONCRETE, PRUNE] {
            let circuit = circuit(&CircuitConfig { ablation, ..with_method(method) });
            let plain = circuit.materialize_circuit().unwrap();
            assert_eq!(plain.num_params(), Net::new(&Device::default()).num_params());
            let eval = circuit.valid();
            eval.model().unwrap();
            assert_eq!(host(plain.forward(input(&Device::default()))), run(&eval));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn sampled_masks_are_counted_kept_and_reproducible(seed: u64, index in 0u64..9, neuron: bool) {
        let unit = if neuron { MaskUnit::Neuron } else { MaskUnit::Weight };
        let mut eval = circuit(&CircuitConfig { mask_unit: unit, ..config() }).valid();
        let hard = masks(&eval);
        eval.set_seed(seed);
        eval.set_sample(index).unwrap();
        eval.set_variant(ModelVariant::Ablated(Ablation::RandomlySampled)).unwrap();
        let sampled = masks(&eval);
        for (name, mask) in &sampled {
            prop_assert_eq!(zeros(mask), hard[name].len() - zeros(&hard[name]));
        }
        if neuron {
            // each row of the [out, in] mask is one neuron
            for row in sampled["h.w.weight_mask"].chunks(9) {
                prop_assert!(row.iter().all(|m| m == &row[0]));
            }
        }
        prop_assert_eq!(&sampled, &masks(&eval));
        eval.set_sample(index + 1).unwrap();
        let next = masks(&eval);
        eval.set_sample(index).unwrap();
        prop_assert_eq!(&sampled, &masks(&eval));
        eval.resample().unwrap();
        prop_assert_eq!(next, masks(&eval));
    }
}
