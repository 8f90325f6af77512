//! Patched runs that continue from the patched site, against whole forward passes with an edit.

use burn::tensor::Device;
use ns_models::{AnyTransformer, Head, Logits, Model, Transformer};
use ns_probe::{ActivationSite, Edit, Replacement, head_inputs, record_activations, run_edited};
use serde_json::{Value, json};

use super::pairs::Pairs;
use super::run::PatchRuns;
use super::{CountedFrom, PatchKind};
use crate::data::{Examples, ModelLimits};
use crate::error::TrainError;
use crate::evaluate::scores::label_scores;
use crate::evaluate::{Answers, Candidates};
use crate::recipe::DataSection;
use crate::train::initialize;

/// Rows of 4 and of 5 tokens; the partner of the second differs from it in its last token alone.
const TABLE: &str = "ids,other,label,at,set
2 3 4 5,2 6 4 5,0,3,train
7 3 2 6 5,7 3 2 6 4,1,4,train
1 9 9 4,5 5 3 2,2,2,train
3 3 4 1 8,3 6 4 1 8,0,2,train
2 3,3 2,0,1,test
";

fn config(model_type: &str, class: &str, extra: Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "architectures": [class], "vocab_size": 11, "hidden_size": 8,
        "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 9,
        "num_labels": 3, "pad_token_id": 1, "initializer_range": 0.6,
    });
    config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    config
}

fn configs() -> Vec<Value> {
    let gpt2 = json!({ "n_embd": 8, "n_layer": 3, "n_head": 2, "n_positions": 9 });
    vec![
        config("gpt2", "GPT2LMHeadModel", gpt2),
        config("gpt_neox", "GPTNeoXForCausalLM", json!({ "rotary_pct": 0.5 })),
        config(
            "gpt_neox",
            "GPTNeoXForTokenClassification",
            json!({ "use_parallel_residual": false, "rotary_pct": 1.0 }),
        ),
        config("bert", "BertForMaskedLM", json!({})),
        config("bert", "BertForSequenceClassification", json!({})),
        config("convbert", "ConvBertForTokenClassification", json!({ "conv_kernel_size": 3, "num_groups": 2 })),
    ]
}

/// The pairs of [`TABLE`], read as the rule says.
fn examples(read: Option<&str>) -> Examples {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pairs.csv"), TABLE).unwrap();
    let read = read.map(|rule| format!("read = {rule}\n")).unwrap_or_default();
    let text = "path = \"pairs.csv\"\ntokens = \"ids\"\npartner = \"other\"\nlabel = \"label\"\n".to_string()
        + "split = { column = \"set\" }\n";
    let section: DataSection = toml::from_str(&(text + &read)).unwrap();
    Examples::read(&section.resolve(&folder.path().join("recipe.toml")), None, ModelLimits::default()).unwrap()
}

fn answers(model: &AnyTransformer) -> Answers {
    let reads = model.head() == Head::TokenClassification || model.head().is_language_model();
    Answers { examples: examples(reads.then_some("{ position = \"at\" }")), candidates: Candidates::All }
}

fn all_sites(model: &AnyTransformer) -> Vec<ActivationSite> {
    let heads = head_inputs(model).into_keys().map(ActivationSite::Heads);
    model.sites().into_iter().map(ActivationSite::from).chain(heads).collect()
}

fn model(config: &Value) -> AnyTransformer {
    initialize(AnyTransformer::init(config, &Device::default()).unwrap(), 5)
}

/// The logit differences of whole forward passes with an edit.
fn edited(pairs: &Pairs<'_>, model: &AnyTransformer, site: &ActivationSite, cell: usize) -> Vec<f64> {
    let (_, recorded) = record_activations(model, &pairs.clean.inputs, std::slice::from_ref(site)).unwrap();
    let edit = Edit::new(site.clone(), Replacement::ByToken(recorded.get(site).unwrap()));
    let edit = match site {
        ActivationSite::Heads(_) => edit.units([cell]),
        _ => edit.positions([cell]),
    };
    let logits = run_edited(model, &pairs.corrupted.inputs, &[edit]).unwrap().logits.unwrap();
    let scores = match logits {
        Logits::Tokens(logits) if model.head().is_language_model() => pairs.corrupted.select_tokens(logits).unwrap(),
        logits => label_scores(model, Some(logits), &pairs.corrupted).unwrap(),
    };
    pairs.answers.compare(scores).margins()
}

#[test]
fn a_run_from_the_patched_site_equals_a_whole_forward_pass() {
    for config in configs() {
        let model = model(&config);
        let (answers, sites, heads) = (answers(&model), all_sites(&model), head_inputs(&model));
        assert_eq!(heads.len(), 3, "{config}");
        for (rows, length) in [([0, 2], 4), ([1, 3], 5)] {
            let pairs = Pairs::new(&model, &answers, &rows).unwrap();
            let recorded = pairs.record(&sites, &heads).unwrap();
            let [_, corrupted] = pairs.unpatched().unwrap();
            let mut largest: f64 = 0.0;
            for site in &sites {
                let cells = if matches!(site, ActivationSite::Heads(_)) { heads[&0].heads.len() } else { length };
                for cell in 0..cells {
                    let (found, expected) = (recorded.patched(site, cell).unwrap(), edited(&pairs, &model, site, cell));
                    assert_eq!(found.len(), 2);
                    for ((found, expected), corrupted) in found.iter().zip(&expected).zip(&corrupted) {
                        assert!((found - expected).abs() < 1e-5, "{config} {site} {cell}: {found} {expected}");
                        largest = largest.max((found - corrupted).abs());
                    }
                }
            }
            assert!(largest > 0.1, "{config}: patches change something, {largest}");
        }
    }
}

#[test]
fn positions_of_unequal_examples_are_counted_from_the_end_and_what_no_example_has_is_missing() {
    let model = model(&configs()[0]);
    let answers = answers(&model);
    let found = PatchRuns::new(&model, &answers, &[0, 1, 2, 3], all_sites(&model)).run().unwrap();
    assert_eq!(found.counted_from, CountedFrom::End);
    assert_eq!(found.positions.iter().map(|position| position.index).collect::<Vec<_>>(), [-5, -4, -3, -2, -1]);
    assert_eq!(found.positions.iter().map(|position| position.examples).collect::<Vec<_>>(), [2, 4, 4, 4, 4]);
    assert_ne!(found.positions[0].clean, found.clean, "the mean of the two examples of five tokens");
    assert_eq!(found.positions[4].corrupted, found.corrupted);
    let kinds: Vec<PatchKind> = found.maps.iter().map(|map| map.kind).collect();
    assert_eq!(kinds, PatchKind::ALL);
    assert_eq!(found.maps[0].rows.len(), 4, "the embeddings and three blocks");
    assert_eq!(found.maps[4].rows[2].normalised.len(), 2, "two heads");
    // The stream of the last block at the token that is read holds all; examples 2 and 3 are read elsewhere.
    let alone = PatchRuns::new(&model, &answers, &[0], all_sites(&model)).run().unwrap();
    assert_eq!((alone.counted_from, alone.positions[1].token.as_deref()), (CountedFrom::Start, Some("3")));
    let last = &alone.maps[0].rows[3].normalised;
    assert!((last[3].unwrap() - 1.0).abs() < 1e-5 && last[..3] == [Some(0.0); 3], "{last:?}");
    let embeddings = &alone.maps[0].rows[0];
    assert!((embeddings.normalised[1].unwrap() - 1.0).abs() < 1e-5, "the only token that differs: {embeddings:?}");
    assert_eq!(embeddings.patched[0], Some(alone.corrupted));
}

#[test]
fn partners_that_are_answered_alike_are_an_error() {
    let model = model(&configs()[0]);
    // The first token comes before the only one that differs.
    let answers = Answers { examples: examples(Some("\"first\"")), candidates: Candidates::All };
    let error = PatchRuns::new(&model, &answers, &[1], all_sites(&model)).run().unwrap_err();
    let TrainError::ConstantMetric { clean, corrupted } = error else { panic!("{error}") };
    assert_eq!(clean, corrupted);
}
