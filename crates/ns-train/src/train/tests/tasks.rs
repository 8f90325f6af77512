use burn::module::Module;
use burn::tensor::{Device, TensorData};
use ns_models::{AnyModel, Model};

use super::*;
use crate::evaluate::answer_scores;
use crate::run::{Interrupt, Run};
use crate::train::task_run::TaskRun;
use crate::train::{BaseModelPool, Learner, Outcome, TaskTraining, Trainable};

const MODEL: &str = r#"
    [model]
    model_type = "vit"
    architectures = ["ViTForImageClassification"]
    image_size = 8
    patch_size = 4
    num_channels = 1
    hidden_size = 8
    num_hidden_layers = 1
    num_attention_heads = 2
    intermediate_size = 8
    num_labels = 10
"#;

/// Recipe of a small model of the digits.
fn digits(kind: &str, circuit: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits/data/digits.csv");
    format!(
        "kind = \"{kind}\"\n[training]\nepochs = 2\nbatch_size = 500\ndrop_last = true\n[data]\npath = {data:?}\n\
         pixels = {{ shape = [8, 8], maximum = 16.0 }}\nlabel = \"label\"\n\
         split = {{ seeded = {{ train = 0.8, seed = 0 }} }}\n{circuit}{MODEL}"
    )
}

const CIRCUIT: &str = r#"
    [circuit_config]
    mask_method = "hard_concrete"
    target_layers = ["vit.encoder.layer.0.intermediate.dense"]
    l0_lambda = 1e-3
    mask_hparams = { mask_unit = "neuron", mask_init_percentage = 0.7 }
"#;

/// The state of a recipe before its first step.
fn training(text: &str) -> TaskTraining {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), text).unwrap();
    let pool = BaseModelPool::new(&Device::default(), 1);
    let (recipe, examples) = job.read(&pool).unwrap();
    TaskRun::new(&job, recipe, examples, &pool).unwrap().into_trainer()
}

fn scores(training: &TaskTraining, model: &AnyModel) -> TensorData {
    let batch = training.data().batch(&[0, 1, 2], &model.device()).unwrap();
    answer_scores(model, &batch, None).unwrap().into_data()
}

#[test]
fn a_frozen_base_stays_and_its_masks_move() {
    let mut training = training(&digits("circuit", CIRCUIT));
    let (base, masks) = (training.circuit().base().valid(), training.circuit().mask_params());
    let metrics = training.epoch(0).unwrap();
    assert!(metrics.loss > 0.0 && metrics.get("l0_max") == Some(64.0), "{metrics}");
    assert_ne!(training.circuit().mask_params(), masks);
    scores(&training, &training.circuit().base().valid()).assert_eq(&scores(&training, &base), true);
}

#[test]
fn masks_without_parameters_are_evaluated_and_change_nothing() {
    let circuit = CIRCUIT
        .replace("\"hard_concrete\"", "\"magnitude_pruning\"")
        .replace("mask_unit = \"neuron\"", "mask_unit = \"weight\"")
        .replace("mask_init_percentage", "prune_percentage");
    let text = digits("circuit", &circuit);
    let mut training = training(&text);
    let l0 = training.circuit().l0().weights;
    let [first, second] = [0, 1].map(|epoch| training.epoch(epoch).unwrap());
    assert!(first.loss > 0.0 && (first.loss - second.loss).abs() < 0.1, "{first} {second}");
    assert_eq!((first.get("l0_max"), training.circuit().l0().weights), (Some(64.0), l0));
    // The same examples have the same loss in every step, to the bit.
    let [first, second] = [2, 3].map(|epoch| training.step(epoch, 0, &[0, 1, 2]).unwrap());
    assert_eq!(first, second);
    let folder = tempfile::tempdir().unwrap();
    let pool = BaseModelPool::new(&Device::default(), 1);
    let report = job(folder.path(), &text).unwrap().train(&pool, &Interrupt::default()).unwrap().unwrap();
    let row = &report.rows[0];
    assert_eq!((report.training.unwrap().metrics.len(), row.number("l0_max")), (2, Some(64.0)));
    for key in ["accuracy_test", "kl_test_circuit", "accuracy_test_zero", "kl_test_zero_random_mean"] {
        assert!(row.number(key).is_some(), "{key}: {row:?}");
    }
}

#[test]
fn without_masks_the_model_itself_is_trained() {
    let mut training = training(&digits("model", ""));
    let before = scores(&training, &training.circuit().base().valid());
    let metrics = training.epoch(0).unwrap();
    assert_eq!(metrics.get("l0"), None);
    assert_ne!(scores(&training, &training.circuit().base().valid()), before);
}

#[test]
fn a_resumed_run_is_the_same_run() {
    for text in [digits("circuit", CIRCUIT), digits("model", "")] {
        let train = |interrupted: bool| {
            let folder = tempfile::tempdir().unwrap();
            let run = Run::open(folder.path(), &std::collections::BTreeMap::from([("recipe", 1)]), 0).unwrap();
            let learner = |stop: bool| {
                let interrupt = Interrupt::default();
                if stop {
                    interrupt.ask();
                }
                Learner { label: "test".into(), epochs: 2, checkpoint_every: 2, interrupt }
            };
            if interrupted {
                let (outcome, _) = learner(true).train(&mut training(&text), &run).unwrap();
                assert_eq!(outcome, Outcome::Interrupted { epochs_done: 1 });
            }
            let mut training = training(&text);
            learner(false).train(&mut training, &run).unwrap();
            scores(&training, &training.circuit().valid().model().unwrap())
        };
        train(true).assert_eq(&train(false), true);
    }
}

#[test]
fn an_invalid_recipe_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let pool = BaseModelPool::new(&Device::default(), 1);
    let refused = |text: String| {
        let job = job(folder.path(), &text);
        let error = job.and_then(|job| job.train(&pool, &Interrupt::default())).unwrap_err();
        assert!(!folder.path().join("run").exists());
        error.to_string()
    };
    let model = digits("model", "");
    let error = refused(model.replace("batch_size = 500", "batch_size = 2000"));
    assert!(error.contains("1437 training examples"), "{error}");
    let error = refused(model.replace("num_labels = 10", "num_labels = 3"));
    assert!(error.contains("model: one with 3 classes, but the data has 10 classes"), "{error}");
    let error = refused(model.replace("ForImageClassification", "Model"));
    assert!(error.contains("with the head `base model`"), "{error}");
    let error = refused(digits("circuit", &format!("[evaluation]\ncontrols = 1000001\n{CIRCUIT}")));
    assert!(error.contains("evaluation.controls: 1000001, but it must be at most 1000000"), "{error}");
    let error = refused(model.replace("epochs = 2", "epochs = 2\nkeep = [3]"));
    assert!(error.contains("training.keep: [3], but it lists epochs from 1 to 2"), "{error}");
}

#[test]
fn epochs_are_kept_as_models_also_by_a_run_that_is_interrupted() {
    let text = digits("model", "").replace("epochs = 2", "epochs = 3\nkeep = [2, 1]");
    let pool = BaseModelPool::new(&Device::default(), 1);
    let weights = |stops: usize| {
        let folder = tempfile::tempdir().unwrap();
        let job = job(folder.path(), &text).unwrap();
        let interrupt = Interrupt::default();
        interrupt.ask(); // each call stops after one epoch
        (0..stops).for_each(|_| assert!(job.train(&pool, &interrupt).unwrap().is_none()));
        job.train(&pool, &Interrupt::default()).unwrap().unwrap();
        ["epochs/1", "epochs/2", "model"]
            .map(|name| std::fs::read(job.folder.join(name).join("model.safetensors")).unwrap())
    };
    let whole = weights(0);
    assert!(whole[0] != whole[1] && whole[1] != whole[2]);
    assert_eq!(weights(2), whole);
}

mod arithmetic {
    use super::*;

    fn recipe(micro_batch: usize, rest: &str) -> String {
        format!(
            r#"
            kind = "model"
            data.arithmetic = {{ task = "square_difference", modulus = 5 }}
            data.label = "answer"
            data.split = {{ seeded = {{ train = 0.8, seed = 0 }} }}
            training = {{ epochs = 3, batch_size = 20, micro_batch = {micro_batch} }}
            [model]
            model_type = "gpt2"
            architectures = ["GPT2LMHeadModel"]
            vocab_size = 6
            n_positions = 3
            n_embd = 8
            n_layer = 1
            n_head = 2
            embd_pdrop = 0.0
            attn_pdrop = 0.0
            resid_pdrop = 0.0
            {rest}"#
        )
    }

    #[test]
    fn micro_batches_add_up_to_the_full_batch() {
        let losses = |micro_batch: usize| {
            let mut training = training(&recipe(micro_batch, ""));
            assert_eq!(training.steps_per_epoch(), 1);
            [0, 1, 2].map(|epoch| training.epoch(epoch).unwrap().loss)
        };
        let full = losses(1000);
        assert!(full[2] < full[0]);
        for (full, accumulated) in full.iter().zip(losses(3)) {
            assert!((full - accumulated).abs() < 1e-5, "{full} and {accumulated}");
        }
    }

    #[test]
    fn a_vocabulary_without_the_tokens_of_the_task_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let job = job(folder.path(), &recipe(20, "").replace("vocab_size = 6", "vocab_size = 5")).unwrap();
        let error =
            job.train(&BaseModelPool::new(&Device::default(), 1), &Interrupt::default()).unwrap_err().to_string();
        assert!(error.contains("the vocabulary of the model has 5 tokens"), "{error}");
    }
}
