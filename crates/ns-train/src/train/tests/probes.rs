use burn::tensor::Device;
use ns_models::{AnyTransformer, Gpt2, Gpt2Config, Pretrained};
use ns_probe::ActivationCache;

use super::*;
use crate::data::fixtures::write_tokenizer;
use crate::evaluate::SupportSets;
use crate::run::{Interrupt, run_parallel};
use crate::train::{BaseModelPool, Trainable, initialize};

const SUPPORT: SupportSets = SupportSets { per_class: 1, draws: 1, seed: 0 };

/// A recipe for a model of one block.
const RECIPE: &str = r#"
    kind = "circuit_probe"
    model = "model"
    data.arithmetic = { task = "sum", modulus = 5 }
    data.label = "a2"
    data.split = { seeded = { train = 0.8, seed = 0 } }
    probe.vectors = "attn_update_0"
    circuit_config.target_layers = ["transformer.h.0.attn.c_attn"]
    training = { epochs = 2, batch_size = 6, final_temperature = 100.0 }
"#;

fn save(folder: &Path, config: Gpt2Config) {
    let model = AnyTransformer::from(Gpt2::init(&config, &Device::default()).unwrap());
    initialize(model, 3).save(folder.join("model")).unwrap();
}

fn model_of_one_block(folder: &Path) {
    save(folder, Gpt2Config { vocab_size: 6, n_positions: 3, n_embd: 8, n_layer: 1, n_head: 2, ..Default::default() });
}

/// A probe that shares its model with no other.
fn alone(folder: &Path, text: &str) -> Result<ProbeTraining, TrainError> {
    job(folder, text)?.probe_training(&BaseModelPool::new(&Device::default(), 1024))
}

#[test]
fn the_last_short_batch_is_dropped_and_epochs_shuffle_anew() {
    let folder = tempfile::tempdir().unwrap();
    model_of_one_block(folder.path());
    let training = alone(folder.path(), RECIPE).unwrap();
    let (first, second) = (training.batches(0), training.batches(1));
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6, 6]);
    assert_ne!(first, second);
    assert_eq!(first, training.batches(0));
    let whole = alone(folder.path(), &with(RECIPE, &["training.batch_size=20"])).unwrap();
    assert_eq!(whole.batches(0), [whole.data().split().train.clone()], "all examples are in the order of the split");
}

/// A recipe for a model of two blocks, with masks on layers of the second block.
fn recipe_of_two_blocks(site: &str, layers: &[&str]) -> String {
    let names: Vec<String> = layers.iter().map(|layer| format!("transformer.h.1.{layer}")).collect();
    with(
        RECIPE,
        &[
            "data.arithmetic.modulus=13",
            "data.split.seeded.train=0.7",
            "training.epochs=3",
            "training.batch_size=16",
            &format!("probe.vectors={site}"),
            &format!("circuit_config.target_layers={names:?}"),
        ],
    )
}

fn model_of_two_blocks(folder: &Path) {
    save(
        folder,
        Gpt2Config { vocab_size: 14, n_positions: 3, n_embd: 16, n_layer: 2, n_head: 2, ..Default::default() },
    );
}

#[test]
fn activations_that_are_kept_change_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    model_of_two_blocks(folder.path());
    let probes: [(&str, &[&str]); 4] = [
        ("attn_update_1", &["attn.c_attn", "attn.c_proj"]),
        ("mlp_update_1", &["mlp.c_fc", "mlp.c_proj"]),
        ("mlp_stream_1", &["attn.c_attn", "mlp.c_proj"]),
        ("mlp_stream_1", &["mlp.c_proj"]),
    ];
    for (site, layers) in probes {
        let recipe = recipe_of_two_blocks(site, layers);
        let train = |activations: ActivationCache| {
            let mut training = alone(folder.path(), &recipe).unwrap();
            training.objective.activations = activations;
            let losses: Vec<u64> = (0..3).map(|epoch| training.epoch(epoch).unwrap().loss.to_bits()).collect();
            let (rows, used) = (training.data.split().test.clone(), training.objective.activations.used());
            let vectors = training.evaluation(SUPPORT).vectors(&rows, true).unwrap().into_data();
            let unmasked = training.evaluation(SUPPORT).vectors(&rows, false).unwrap().into_data();
            (losses, training.circuit().mask_params(), vectors, unmasked, used)
        };
        let off = train(ActivationCache::with_megabytes(0));
        let (full, partial) = (train(ActivationCache::with_megabytes(1)), train(ActivationCache::with_bytes(3000)));
        assert!(off.4 == 0 && full.4 > partial.4 && (2000..=3000).contains(&partial.4), "{site}: {}", partial.4);
        for on in [full, partial] {
            assert_eq!(on.0, off.0, "{site}");
            assert_eq!(on.1, off.1, "{site}");
            assert_eq!((on.2, on.3), (off.2.clone(), off.3.clone()), "{site}");
        }
    }
}

#[test]
fn parallel_probes_on_one_base_equal_probes_trained_alone() {
    let folder = tempfile::tempdir().unwrap();
    model_of_two_blocks(folder.path());
    let neurons = |site: &str, layer: &str| {
        with(&recipe_of_two_blocks(site, &[layer]), &["circuit_config.mask_hparams.mask_unit=neuron"])
    };
    let weights = recipe_of_two_blocks("mlp_stream_1", &["mlp.c_proj"]);
    let recipes = [neurons("attn_update_1", "attn.c_attn"), weights, neurons("mlp_update_1", "mlp.c_fc")];
    let jobs: Vec<Job> = recipes
        .iter()
        .flat_map(|recipe| ["seed=0", "seed=1"].map(|seed| job(folder.path(), &with(recipe, &[seed])).unwrap()))
        .collect();
    let masks = |mut training: ProbeTraining| {
        (0..2).for_each(|epoch| assert!(training.epoch(epoch).unwrap().loss.is_finite()));
        training.circuit().mask_params()
    };
    for pool in [1, 0].map(|megabytes| BaseModelPool::new(&Device::default(), megabytes)) {
        let work = |job: &Job, _: &Interrupt| Ok(masks(job.probe_training(&pool)?));
        let check = |index: usize, found| {
            let job: &Job = &jobs[index];
            let alone = masks(job.probe_training(&BaseModelPool::new(&Device::default(), 1024))?);
            assert_eq!(found, alone, "{:?} with seed {}", job.recipe.probe, job.recipe.seed);
            Ok::<_, TrainError>(())
        };
        run_parallel(2, &Interrupt::default(), &jobs, work, check).unwrap();
    }
}

#[test]
fn an_activation_cache_too_small_for_a_batch_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    save(
        folder.path(),
        Gpt2Config { vocab_size: 114, n_positions: 3, n_embd: 64, n_layer: 2, n_head: 2, ..Default::default() },
    );
    let recipe = with(RECIPE, &["data.arithmetic.modulus=113", "training.batch_size=5000"]);
    let error = |recipe: &str, megabytes| {
        job(folder.path(), recipe).unwrap().probe_training(&BaseModelPool::new(&Device::default(), megabytes)).err()
    };
    assert!(error(&recipe, 1).is_none(), "embeddings are not cached");
    let recipe = with(
        &recipe,
        &["circuit_config.target_layers=[\"transformer.h.1.attn.c_attn\"]", "probe.vectors=attn_update_1"],
    );
    let message = error(&recipe, 1).unwrap().to_string();
    assert!(message.contains("1 MB") && message.contains("one batch, which needs 4 MB"), "{message}");
    assert!(error(&recipe, 4).is_none() && error(&recipe, 0).is_none());
}

#[test]
fn a_batch_larger_than_the_split_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    model_of_one_block(folder.path());
    let error = alone(folder.path(), &with(RECIPE, &["training.batch_size=21"])).err().unwrap().to_string();
    let expected = "training.batch_size: 21, but there are 20 training examples; it must be between 1 and 20";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_loss_of_a_subnetwork_probe_has_no_l0_term() {
    let folder = tempfile::tempdir().unwrap();
    save(
        folder.path(),
        Gpt2Config { vocab_size: 6, n_positions: 4, n_embd: 8, n_layer: 1, n_head: 2, ..Default::default() },
    );
    write_tokenizer(&folder.path().join("model"));
    let rows = "a b,2,3,x,b,train\nc d a b,0,3,y,cd,train\nb b,0,1,x,b,train\nd,0,1,y,d,test\n";
    std::fs::write(folder.path().join("a.csv"), format!("text,start,end,label,word,split\n{rows}")).unwrap();
    let recipe = r#"
        kind = "subnetwork_probe"
        model = "model"
        probe.vectors = "mlp_stream_0"
        training = { epochs = 1, batch_size = 3 }
        evaluation = { shuffled_labels = false, plain = false }
        [data]
        path = "a.csv"
        text = "text"
        read = { span = ["start", "end"] }
        label = "label"
        split = { column = "split" }
        [circuit_config]
        mask_method = "hard_concrete"
        target_layers = ["transformer.h.0.mlp.c_fc"]
        mask_hparams = { mask_unit = "neuron", mask_init_percentage = 0.7 }
    "#;
    let train = |lambda: &str| {
        let recipe = with(recipe, &[&format!("circuit_config.l0_lambda={lambda}")]);
        let pool = BaseModelPool::new(&Device::default(), 1);
        let job = job(folder.path(), &recipe).unwrap().in_folder(folder.path().join(lambda));
        let report = job.train(&pool, &Interrupt::default()).unwrap().unwrap();
        let masks = std::fs::read(job.folder.join("masks.safetensors")).unwrap();
        (report.training.unwrap().metrics[0].clone(), masks)
    };
    let ((without, masks), (with, other_masks)) = (train("0.0"), train("1e3"));
    assert_eq!(without.loss, with.loss);
    assert_eq!(with.get("l0_max"), Some(256.0));
    assert_ne!(masks, other_masks, "the L0 term moves the masks");
}
