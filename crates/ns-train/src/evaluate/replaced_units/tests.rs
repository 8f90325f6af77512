use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ns_circuit::{CircuitConfig, MaskMethod, MaskUnit};
use ns_models::{AnyTransformer, Gpt2, Gpt2Config, Logits, Model, ModelInputs, Pretrained};
use ns_probe::{ActivationCache, ActivationSite, Edit, Replacement, mask_targets, record_activations, run_edited};

use super::*;
use crate::data::{Dataset, Examples, ModelLimits};
use crate::evaluate::candidates::Candidates;
use crate::evaluate::unit_ablation::other_rows;
use crate::evaluate::{FrozenModel, WholeModel};
use crate::recipe::{AblationName, DataSection};
use crate::train::initialize;

pub(in crate::evaluate) const LAYERS: [&str; 2] = ["transformer.h.1.attn.c_attn", "transformer.h.1.mlp.c_fc"];
const SEED: u64 = 3;

pub(in crate::evaluate) fn model() -> AnyTransformer {
    model_on(&Device::default())
}

pub(in crate::evaluate) fn model_on(device: &Device) -> AnyTransformer {
    let config = Gpt2Config { vocab_size: 11, n_positions: 6, n_embd: 8, n_layer: 2, n_head: 2, ..Default::default() };
    initialize(AnyTransformer::from(Gpt2::init(&config, device).unwrap()), 5)
}

/// Sentences of two lengths, of which some begin alike.
pub(in crate::evaluate) fn answers(extra: &str, section: &str) -> Answers {
    let folder = tempfile::tempdir().unwrap();
    let train = "1 2 3,1,train,2 2 3\n4 5 6,0,train,4 4 4\n7 8 9 1,1,train,7 7 7 7\n2 2 2 5,0,train,1 2 3 4\n";
    let test =
        "1 2 3,0,test,9 2 3\n1 2 4,1,test,1 1 1\n1 2 5,0,test,5 5 5\n1 2 3 4,1,test,4 3 2 1\n1 2 3 7,0,test,6 6 6 6\n";
    std::fs::write(folder.path().join("a.csv"), format!("ids,y,set,other\\n{train}{test}{extra}").replace("\\n", "\n"))
        .unwrap();
    let section = format!(
        "path = \"a.csv\"\ntokens = \"ids\"\nlabel = \"y\"\nread = \"last\"\nsplit.column = \"set\"\n{section}"
    );
    let section: DataSection = toml::from_str(&section).unwrap();
    let examples = Examples::read(&section.resolve(&folder.path().join("recipe.toml")), None, ModelLimits::default());
    let examples = examples.unwrap();
    // The classes 0 and 1.
    Answers { examples: examples.with_labels(&[3, 7]), candidates: Candidates::All }
}

pub(in crate::evaluate) fn circuit() -> CircuitModel<AnyTransformer> {
    let model = model();
    let targets = mask_targets(&model);
    let config = CircuitConfig {
        target_layers: LAYERS.map(String::from).to_vec(),
        mask_method: MaskMethod::ContinuousSparsification { mask_init_value: 0.0 },
        mask_unit: MaskUnit::Neuron,
        ..CircuitConfig::default()
    };
    let mut circuit = CircuitModel::new(config, model, &targets).unwrap();
    // Every third unit is in the circuit.
    let logits = circuit.mask_params().into_iter().map(|(name, old)| {
        let values: Vec<f32> = (0..old.num_elements()).map(|unit| if unit % 3 == 0 { 1.0 } else { -1.0 }).collect();
        (name, TensorData::new(values, old.shape().to_vec()))
    });
    let logits = logits.collect();
    circuit.load_mask_params(&logits).unwrap();
    circuit.valid()
}

pub(in crate::evaluate) fn inputs(examples: &Examples, row: usize) -> ModelInputs {
    let ids: Vec<i64> = examples.token_ids(row).iter().map(|id| i64::from(*id)).collect();
    let shape = [1, ids.len()];
    ModelInputs::new(Tensor::from_data(TensorData::new(ids, shape), &Device::default()))
}

/// Logit of the right answer minus the best other one, with the given edits.
fn margin(answers: &Answers, row: usize, edits: &[Edit]) -> f64 {
    let output = run_edited(&model(), &inputs(&answers.examples, row), edits).unwrap();
    let Some(Logits::Tokens(logits)) = output.logits else { panic!("a language model has logits of tokens") };
    let [_, seq, vocab] = logits.dims();
    let logits: Vec<f64> = logits.slice_dim(1, seq - 1..seq).reshape([vocab]).into_data().iter().collect();
    let right = answers.examples.labels(&[row])[0] as usize;
    let others = logits.iter().enumerate().filter(|(id, _)| *id != right).map(|(_, logit)| *logit);
    logits[right] - others.fold(f64::NEG_INFINITY, f64::max)
}

/// The values of a layer on a row, `[seq][width]`.
fn values(inputs: &ModelInputs, site: &ActivationSite) -> Vec<Vec<f32>> {
    let (_, recorded) = record_activations(&model(), inputs, std::slice::from_ref(site)).unwrap();
    let value = recorded.get(site).unwrap();
    let [_, _, width] = value.dims();
    value.into_data().iter::<f32>().collect::<Vec<_>>().chunks(width).map(<[f32]>::to_vec).collect()
}

fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    (0..vectors[0].len())
        .map(|unit| vectors.iter().map(|vector| vector[unit]).sum::<f32>() / vectors.len() as f32)
        .collect()
}

/// What the units of a layer have instead on a row, token by token.
fn expected_values(answers: &Answers, row: usize, name: AblationName, layer: &str) -> Vec<Vec<f32>> {
    let (site, examples) = (ActivationSite::Layer(layer.into()), &answers.examples);
    let seq = examples.n_tokens(row);
    let train: Vec<Vec<Vec<f32>>> =
        examples.split().train.iter().map(|row| values(&inputs(examples, *row), &site)).collect();
    let test = &examples.split().test;
    match name {
        AblationName::Mean => vec![mean(&train.concat()); seq],
        AblationName::MeanPosition => {
            let at = |position: usize| -> Vec<Vec<f32>> {
                train.iter().filter_map(|vectors| vectors.get(position).cloned()).collect()
            };
            (0..seq).map(|position| mean(&at(position))).collect()
        }
        _ => match examples.partner_batch(&[row], &Device::default()).unwrap() {
            Some(partner) => values(&partner, &site),
            None => values(&inputs(examples, other_rows(examples, test, SEED).unwrap()[&row]), &site),
        },
    }
}

/// Mean margin over the test set with the units that `is_replaced` selects replaced.
fn by_hand(answers: &Answers, name: AblationName, is_replaced: impl Fn(usize) -> bool) -> f64 {
    let test = &answers.examples.split().test;
    let of_row = |row: &usize| {
        let edits = LAYERS.map(|layer| {
            let values = expected_values(answers, *row, name, layer);
            let (seq, width) = (values.len(), values[0].len());
            let units: Vec<usize> = (0..width).filter(|unit| is_replaced(*unit)).collect();
            let values = Tensor::from_data(TensorData::new(values.concat(), [seq, width]), &Device::default());
            Edit::new(ActivationSite::Layer(layer.into()), Replacement::ByPosition(values)).units(units)
        });
        margin(answers, *row, &edits)
    };
    test.iter().map(of_row).sum::<f64>() / test.len() as f64
}

fn study(replaced: AblationName) -> AblationStudy {
    AblationStudy { controls: 2, logit_difference: true, replaced: vec![replaced], ..Default::default() }
}

#[track_caller]
fn assert_near(found: Option<f64>, expected: f64) {
    assert!((found.unwrap() - expected).abs() < 1e-5, "{found:?}, but {expected} was expected");
}

#[test]
fn whole_and_frozen_models_agree_with_activations_that_are_overwritten() {
    let circuit = circuit();
    for (name, section) in [
        (AblationName::Mean, ""),
        (AblationName::MeanPosition, ""),
        (AblationName::Resample, ""),
        (AblationName::Resample, "partner = \"other\""),
    ] {
        let answers = answers("", section);
        let rows = answers.examples.split().test.clone();
        let (study, of_set) = (study(name), (&answers, &rows[..], SEED));
        let head = circuit.base().head();
        let whole = study.run_with(&circuit, of_set, |_| Ok(Box::new(WholeModel::new(&answers, &rows, head)))).unwrap();
        let mut cache = ActivationCache::with_megabytes(16);
        let frozen = study.run_with(&circuit, of_set, |shared| {
            Ok(Box::new(FrozenModel::new(&circuit, &mut cache, &answers, &rows, shared)?))
        });
        for report in [whole, frozen.unwrap()] {
            let replaced = &report.rows[0].replaced[name.name()];
            assert_near(replaced.ablated.logit_difference, by_hand(&answers, name, |unit| unit % 3 == 0));
            assert_near(replaced.circuit_only.logit_difference, by_hand(&answers, name, |unit| unit % 3 != 0));
            assert_near(report.full.logit_difference, by_hand(&answers, name, |_| false));
            assert_eq!(replaced.randomly_sampled.unwrap().n, 2);
            assert_eq!(replaced.complement_sampled.unwrap().n, 2);
        }
    }
}

#[test]
fn a_partner_of_another_length_is_named() {
    let answers = answers("1 2 3 4,0,test,1 2 3\n", "partner = \"other\"");
    let rows = answers.examples.split().test.clone();
    let error = UnitAblation::new(AblationName::Resample, &circuit(), &answers, &rows, 0).err().unwrap().to_string();
    assert!(error.contains("line 11") && error.contains("3 tokens long, but its row has 4"), "{error}");
}

#[test]
fn the_only_row_of_its_length_takes_a_longer_one_or_is_named() {
    let answers = answers("1 2 3 4 5,0,test,1\n1 2,0,test,1\n", "");
    let examples = &answers.examples;
    let test = &examples.split().test;
    let error = other_rows(examples, test, 0).unwrap_err().to_string();
    assert!(error.contains("has its 5 tokens"), "{error}");
    let others = other_rows(examples, &test[1..5].iter().chain([&test[6]]).copied().collect::<Vec<_>>(), 0).unwrap();
    assert!(examples.n_tokens(others[&test[6]]) > 2);
    assert!(others.iter().all(|(row, other)| row != other));
}

#[test]
fn weight_masks_have_no_outputs() {
    let model = model();
    let targets = mask_targets(&model);
    let config = CircuitConfig { target_layers: vec![LAYERS[0].into()], ..CircuitConfig::default() };
    let circuit = CircuitModel::new(config, model, &targets).unwrap().valid();
    let answers = answers("", "");
    let error = UnitAblation::new(AblationName::Mean, &circuit, &answers, &[], 0).err().unwrap().to_string();
    assert!(error.contains("single weights are masked") && error.contains("`zero`"), "{error}");
}
