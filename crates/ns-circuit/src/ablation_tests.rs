//! Tests of ablations on a whole circuit model.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use crate::ablation::Ablation;
use crate::config::{CircuitConfig, MaskUnit};
use crate::error::CircuitError;
use crate::mask::host;
use crate::testing::{CONCRETE, Net, PRUNE, SPARSE, circuit, config, input, masks, run, with_method, zeros};

#[test]
fn zero_ablate_is_the_complement_and_random_ablate_refills() {
    for method in [SPARSE, CONCRETE, PRUNE] {
        let eval = circuit(&with_method(method)).valid();
        let hard = masks(&eval);
        eval.set_ablation(Ablation::ZeroAblate).unwrap();
        let cut = masks(&eval);
        for (name, mask) in &hard {
            assert!(mask.iter().zip(&cut[name]).all(|(h, c)| h + c == 1.0));
        }
        eval.set_ablation(Ablation::RandomAblate).unwrap();
        assert_eq!(masks(&eval), cut);
        let weight = &eval.wrapped().w.weight;
        let (base, first) = (host(weight.base()), host(weight.val()));
        assert_eq!(first, host(weight.val()), "the values are kept");
        let keep = host(
            Tensor::<1>::from_floats(cut["h.w.weight_mask"].as_slice(), &Device::default()).reshape([4, 9]).transpose(),
        );
        for ((b, k), v) in base.iter().zip(&keep).zip(&first) {
            if *k == 1.0 {
                assert_eq!(v, b);
            } else {
                assert!(v != b && v.abs() <= 1.0 / 3.0, "drawn from ±1/√9, found {v}");
            }
        }
        eval.resample().unwrap();
        assert_ne!(host(eval.wrapped().w.weight.val()), first);
        eval.set_ablation(Ablation::None).unwrap();
        assert_eq!(masks(&eval), hard);
    }
}

#[test]
fn ablating_in_training_is_an_error() {
    for method in [SPARSE, CONCRETE, PRUNE] {
        let circuit = circuit(&with_method(method));
        assert!(matches!(circuit.set_ablation(Ablation::ZeroAblate), Err(CircuitError::AblationWhileTraining { .. })));
        circuit.valid().set_ablation(Ablation::ZeroAblate).unwrap();
        let error = circuit.model().unwrap_err();
        assert!(error.to_string().contains("zero_ablate"), "{error}");
        circuit.set_ablation(Ablation::None).unwrap();
        circuit.model().unwrap();
    }
}

#[test]
fn a_configured_ablation_waits_for_evaluation() {
    let config = CircuitConfig { ablation: Ablation::RandomlySampled, ..config() };
    let circuit = circuit(&config);
    circuit.model().unwrap();
    assert!(masks(&circuit)["h.w.weight_mask"].iter().all(|m| *m > 0.0 && *m < 1.0));
    let eval = circuit.valid();
    eval.model().unwrap();
    let first = masks(&eval);
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        *data = TensorData::full(data.shape().clone(), -1.0_f32);
    }
    // Training goes on and the circuit shrinks to nothing: the next evaluation draws anew.
    let later = circuit.load_mask_params(&params).unwrap();
    later.wrapped(); // as model() does, for a caller that skips the checks
    assert!(masks(&later.valid()).values().all(|mask| zeros(mask) == 0));
    assert!(first.values().any(|mask| zeros(mask) > 0));
}

#[test]
fn a_circuit_larger_than_its_complement_cannot_be_sampled_from_it() {
    let circuit = circuit(&config());
    let mut params = circuit.mask_params();
    for data in params.values_mut() {
        *data = TensorData::full(data.shape().clone(), 1.0_f32);
    }
    let eval = circuit.load_mask_params(&params).unwrap().valid();
    let error = eval.set_ablation(Ablation::ComplementSampled).unwrap_err();
    assert!(matches!(
        &error,
        CircuitError::ComplementTooSmall { layer, circuit: 12, complement: 0 } if layer == "h.conv.weight"
    ));
    assert_eq!(eval.ablation(), Ablation::None, "a failed ablation changes nothing");
    eval.use_masks(false);
    eval.set_ablation(Ablation::ComplementSampled).unwrap(); // nothing is on, so nothing is drawn
}

#[test]
fn materializing_bakes_the_hard_circuit_in() {
    for ablation in [Ablation::None, Ablation::ZeroAblate, Ablation::RandomAblate] {
        for method in [SPARSE, CONCRETE, PRUNE] {
            let circuit = circuit(&CircuitConfig { ablation, ..with_method(method) });
            let plain = circuit.materialize_circuit();
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
        let eval = circuit(&CircuitConfig { mask_unit: unit, ..config() }).valid();
        let hard = masks(&eval);
        eval.set_seed(seed);
        eval.set_sample(index).unwrap();
        eval.set_ablation(Ablation::RandomlySampled).unwrap();
        let drawn = masks(&eval);
        for (name, mask) in &drawn {
            prop_assert_eq!(zeros(mask), hard[name].len() - zeros(&hard[name]));
        }
        if neuron {
            // [out, in] rows are one neuron each
            for row in drawn["h.w.weight_mask"].chunks(9) {
                prop_assert!(row.iter().all(|m| m == &row[0]));
            }
        }
        prop_assert_eq!(&drawn, &masks(&eval));
        eval.set_sample(index + 1).unwrap();
        let next = masks(&eval);
        eval.set_sample(index).unwrap();
        prop_assert_eq!(&drawn, &masks(&eval));
        eval.resample().unwrap();
        prop_assert_eq!(next, masks(&eval));
    }
}
