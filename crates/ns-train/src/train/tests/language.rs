//! Language models: training on the tokens of texts, and answers that are tokens.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ns_models::{AnyTransformer, Gpt2, Gpt2Config, IGNORED_LABEL, Labels, Logits, Model, ModelInputs, Pretrained};
use serde_json::json;

use super::*;
use crate::data::fixtures::{write_tokenizer, write_word_pieces};
use crate::evaluate::Row;
use crate::run::Interrupt;
use crate::train::task_run::TaskRun;
use crate::train::{BaseModelPool, TaskTraining, Trainable, initialize};

const TABLE: &str = "text,number,right,wrong,split\n\
    a b c,one,a,b,train\n\
    d a,two,b,a,train\n\
    b c d a b,one,c,d,train\n\
    c,two,d,c,train\n\
    a d c,one,a,b,test\n\
    b d,two,b,a,test\n\
    d d a c,two,c,d,test\n";

const RECIPE: &str = r#"
    kind = "model"
    model = "model"
    data = { path = "a.csv", text = "text", split = { column = "split" } }
    training = { epochs = 2, batch_size = 2 }
"#;

/// A circuit probe whose data may have any answers.
const PROBE: &str = r#"
    kind = "circuit_probe"
    model = "model"
    data = { path = "a.csv", text = "text", read = "last", label = "number", split = { column = "split" } }
    probe.vectors = "attn_update_0"
    circuit_config = { target_layers = "site", mask_hparams = { mask_unit = "neuron", mask_init_value = 0.05 } }
    training = { epochs = 1, batch_size = 4 }
    evaluation = { controls = 2, ablations = ["zero", "reinitialise"] }
"#;

/// A folder with a language model, its tokenizer and a table.
fn folder() -> tempfile::TempDir {
    folder_of_width(8)
}

fn folder_of_width(n_embd: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = Gpt2Config { vocab_size: 6, n_positions: 8, n_embd, n_layer: 2, n_head: 2, ..Gpt2Config::default() };
    let model = AnyTransformer::from(Gpt2::init(&config, &Device::default()).unwrap());
    initialize(model, 3).save(folder.path().join("model")).unwrap();
    write_tokenizer(&folder.path().join("model"));
    std::fs::write(folder.path().join("a.csv"), TABLE).unwrap();
    folder
}

fn training(folder: &Path, text: &str) -> Result<TaskTraining, TrainError> {
    let job = job(folder, text)?;
    let pool = BaseModelPool::new(&Device::default(), 1);
    let training = || {
        let (recipe, examples) = job.read(&pool)?;
        Ok(TaskRun::new(&job, recipe, examples, &pool)?.into_trainer())
    };
    training().map_err(|error| job.document.locate(error))
}

fn rows(folder: &Path, text: &str) -> Result<Vec<Row>, TrainError> {
    let job = job(folder, text)?;
    let report = job.train(&BaseModelPool::new(&Device::default(), 1), &Interrupt::default())?;
    Ok(report.unwrap().rows)
}

/// The loss that HF's `forward(labels=…)` gives for the texts, with padding that has no label.
fn hf_loss(model: &AnyTransformer, texts: &[&[i64]]) -> f64 {
    let seq = texts.iter().map(|text| text.len()).max().unwrap();
    let padded = |padding: i64, of: &dyn Fn(i64) -> i64| {
        let values: Vec<i64> = texts
            .iter()
            .flat_map(|text| {
                text.iter().map(|id| of(*id)).chain(std::iter::repeat_n(padding, seq - text.len())).collect::<Vec<_>>()
            })
            .collect();
        Tensor::<2, Int>::from_data(TensorData::new(values, [texts.len(), seq]), &model.device())
    };
    let inputs = ModelInputs::new(padded(0, &|id| id)).with_attention_mask(padded(0, &|_| 1));
    let labels = Labels::Tokens(padded(IGNORED_LABEL, &|id| id));
    model.task_output(&inputs, &labels).unwrap().loss.into_scalar()
}

#[test]
fn the_loss_is_that_of_hf_and_padding_has_none() {
    let folder = folder();
    let model = AnyTransformer::load(folder.path().join("model"), &Device::default()).unwrap();
    let row = &rows(folder.path(), &with(RECIPE, &["training.epochs=1", "training.optimizer.learning_rate=0.0"]));
    let row = &row.as_ref().unwrap()[0];
    let expected = hf_loss(&model, &[&[2, 5, 4], &[3, 5], &[5, 5, 2, 4]]);
    let loss = row.number("loss_test").unwrap();
    assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    assert!((row.number("perplexity_test").unwrap() - loss.exp()).abs() < 1e-12);
    // `c` has no token to predict; the other texts of the sets have 2 + 1 + 4 and 2 + 1 + 3.
    assert_eq!((row.n_train, row.n_test), (7, 6));
}

#[test]
fn texts_are_learned_and_a_resumed_run_has_the_same_bits() {
    let folder = folder();
    let text = with(RECIPE, &["training.epochs=12", "training.optimizer.learning_rate=0.03", "model={}"]);
    let fresh = "[model]\ntokenizer = \"model\"\nmodel_type = \"gpt2\"\narchitectures = [\"GPT2LMHeadModel\"]\n\
                 vocab_size = 6\nn_positions = 8\nn_embd = 8\nn_layer = 1\nn_head = 2\n";
    let text = text.replace("[model]\n", fresh);
    let found = rows(folder.path(), &text).unwrap();
    let metrics = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap())
        .collect();
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");
    let saved = AnyTransformer::load(folder.path().join("run/model"), &Device::default()).unwrap();
    let loss = hf_loss(&saved, &[&[2, 5, 4], &[3, 5], &[5, 5, 2, 4]]);
    assert!((loss - found[0].number("loss_test").unwrap()).abs() < 1e-5);
    assert!(folder.path().join("run/model/tokenizer.json").is_file());
    let config = std::fs::read_to_string(folder.path().join("run/model/config.json")).unwrap();
    assert!(!config.contains("tokenizer\""), "{config}");
    // Again, stopped after each epoch.
    let job = job(folder.path(), &text).unwrap().in_folder(folder.path().join("parts"));
    let (pool, interrupt) = (BaseModelPool::new(&Device::default(), 1), Interrupt::default());
    interrupt.ask();
    for _ in 0..11 {
        assert!(job.train(&pool, &interrupt).unwrap().is_none());
    }
    job.train(&pool, &interrupt).unwrap().unwrap();
    let weights = |run: &str| std::fs::read(folder.path().join(run).join("model/model.safetensors")).unwrap();
    assert!(weights("parts") == weights("run"));
}

#[test]
fn batches_hold_texts_of_similar_length() {
    let folder = folder();
    let texts: String = (0..64).map(|row| format!("{}\n", vec!["a"; 2 + row % 4].join(" "))).collect();
    std::fs::write(folder.path().join("train.txt"), texts).unwrap();
    std::fs::write(folder.path().join("test.txt"), "a b\n").unwrap();
    let files = "data={ path = { train = \"train.txt\", test = \"test.txt\" } }";
    let training = training(folder.path(), &with(RECIPE, &[files, "training.batch_size=8"])).unwrap();
    let (first, second) = (training.batches(0), training.batches(1));
    assert_eq!((first.len(), first == training.batches(0), first == second), (8, true, false));
    let mut seen: Vec<usize> = first.iter().flatten().copied().collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..64).collect::<Vec<_>>());
    let lengths = |rows: &Vec<usize>| rows.iter().map(|row| 2 + row % 4).collect::<std::collections::BTreeSet<_>>();
    assert!(first.iter().all(|rows| lengths(rows).len() == 1), "{first:?}");
}

#[test]
fn a_masked_model_predicts_a_share_of_the_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    write_word_pieces(&model);
    let names = json!({ "pad_token": "[PAD]", "mask_token": "[UNK]" });
    std::fs::write(model.join("tokenizer_config.json"), names.to_string()).unwrap();
    let words = ["the", "judge", "sat", "there"].repeat(2).join(" ");
    let table: String = (0..400).map(|row| format!("{words},{}\n", if row < 300 { "train" } else { "test" })).collect();
    std::fs::write(folder.path().join("a.csv"), format!("text,split\n{table}")).unwrap();
    let text = with(RECIPE, &["model={}", "training.batch_size=100", "training.mask_probability=0.25"]);
    let fresh = "[model]\ntokenizer = \"model\"\nmodel_type = \"bert\"\narchitectures = [\"BertForMaskedLM\"]\n\
                 vocab_size = 12\nhidden_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
                 intermediate_size = 8\nmax_position_embeddings = 12\n";
    let mut training = training(folder.path(), &text.replace("[model]\n", fresh)).unwrap();
    let (device, rows) = (Device::default(), training.data().split().train.clone());
    let ids = |batch: &ns_probe::ProbeBatch| -> Vec<i64> {
        batch.inputs.input_ids.as_ref().unwrap().to_data().iter().collect()
    };
    let whole = [2, 4, 5, 6, 7, 4, 5, 6, 7, 3];
    let first = training.data().training_batch(&rows, 0, &device).unwrap();
    assert_eq!(first.labels.len(), 2 * rows.len(), "a quarter of 8 tokens");
    let (mut masked, mut kept, mut others, mut labels) = (0, 0, 0, first.labels.iter());
    for (at, (id, selected)) in ids(&first).iter().zip(&first.token_mask).enumerate() {
        let original = whole[at % 10];
        match selected {
            false => assert_eq!(*id, original),
            true => {
                assert_eq!(labels.next(), Some(&original));
                assert!(![0, 9].contains(&(at % 10)), "special tokens are not predicted");
                match *id {
                    1 => masked += 1,
                    id if id == original => kept += 1,
                    _ => others += 1,
                }
            }
        }
    }
    // Of 600 tokens 80%, 10% and 10%, where a random token may be the mask or the token itself.
    assert!(
        (450..=520).contains(&masked) && (35..=100).contains(&kept) && (30..=85).contains(&others),
        "{masked} {kept} {others}"
    );
    let again = training.data().training_batch(&rows, 0, &device).unwrap();
    let next = training.data().training_batch(&rows, 1, &device).unwrap();
    assert_eq!((ids(&again), &again.token_mask), (ids(&first), &first.token_mask));
    assert_ne!(next.token_mask, first.token_mask);
    let evaluated = [0, 1].map(|_| training.data().batch(&rows, &device).unwrap().token_mask);
    assert_eq!(evaluated[0], evaluated[1]);
    let metrics = training.epoch(0).unwrap();
    assert!(metrics.loss.is_finite() && metrics.loss > 1.0);
}

/// The logits of the base model after each test text, in the order of the table.
fn last_logits(folder: &Path) -> Vec<Vec<f64>> {
    let model = AnyTransformer::load(folder.join("model"), &Device::default()).unwrap();
    let of_text = |ids: &[i64]| {
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids.to_vec(), [1, ids.len()]), &model.device());
        let Some(Logits::Tokens(logits)) = model.logits(&ModelInputs::new(ids)).unwrap() else { panic!("no logits") };
        let [_, seq, vocab] = logits.dims();
        logits.slice_dim(1, seq - 1..seq).reshape([vocab]).into_data().iter::<f64>().collect()
    };
    [&[2, 5, 4][..], &[3, 5], &[5, 5, 2, 4]].map(of_text).into()
}

fn behaviour(answer: &str) -> String {
    let sets = format!("behaviour={{ {answer}, metrics = [\"accuracy\", \"logit_difference\", \"kl\"] }}");
    with(PROBE, &[&sets])
}

#[test]
fn answers_of_columns_and_classes_are_compared_with_each_other() {
    let folder = folder();
    let logits = last_logits(folder.path());
    // The ids of a, b, c and d are 2 to 5.
    let expect = |row: &Row, pairs: [[usize; 2]; 3]| {
        let margins: Vec<f64> = logits.iter().zip(pairs).map(|(row, [right, wrong])| row[right] - row[wrong]).collect();
        let difference = margins.iter().sum::<f64>() / 3.0;
        let accuracy = margins.iter().filter(|margin| **margin > 0.0).count() as f64 / 3.0;
        assert!((row.number("logit_difference_test").unwrap() - difference).abs() < 1e-6);
        assert!((row.number("accuracy_test").unwrap() - accuracy).abs() < 1e-9);
        assert_eq!(row.number("kl_test"), Some(0.0));
    };
    let columns = &rows(folder.path(), &behaviour("answer = { right = \"right\", wrong = \"wrong\" }")).unwrap()[0];
    expect(columns, [[2, 3], [3, 2], [4, 5]]);
    for key in ["circuit", "zero", "reinitialise", "zero_random_mean", "zero_random_sd", "zero_p"] {
        assert!(columns.number(&format!("accuracy_test_{key}")).is_some(), "{key}");
        assert!(columns.number(&format!("kl_test_{key}")).is_some(), "{key}");
    }
    assert!(columns.number("kl_test_zero").unwrap() > 0.0);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    let classes = &rows(folder.path(), &behaviour("answer = { classes = { one = \"a\", two = \" b\" } }")).unwrap()[0];
    expect(classes, [[2, 3], [3, 2], [3, 2]]);
    assert_eq!(classes.number("kl_test_zero"), columns.number("kl_test_zero"), "over the whole vocabulary");
}

/// Sentences that begin alike run as a tree. The answers are those of separate forward passes.
#[test]
fn sentences_that_begin_alike_are_computed_once() {
    let folder = folder_of_width(64);
    let words = ["a", "b", "c", "d"];
    let mut table = String::from("text,number,right,wrong,split\n");
    for at in 0..64 {
        let text: Vec<&str> = (0..3 + at % 2).map(|place| words[at >> (2 * (3 - place)) & 3]).collect();
        let (number, split) = (["one", "two"][at % 2], if at < 8 { "train" } else { "test" });
        table += &format!("a a b b {},{number},a,b,{split}\n", text.join(" "));
    }
    std::fs::write(folder.path().join("a.csv"), table).unwrap();
    let number = |recipe: &str| {
        let row = rows(folder.path(), recipe).unwrap().remove(0);
        std::fs::remove_dir_all(folder.path().join("run")).unwrap();
        let keys =
            ["accuracy_test", "logit_difference_test", "logit_difference_test_zero", "kl_test_zero", "kl_test_circuit"];
        keys.map(|key| row.number(key).unwrap())
    };
    let probe = behaviour("answer = { right = \"right\", wrong = \"wrong\" }");
    let tree = number(&probe);
    // Masks of the embeddings cannot run as a tree, and those of a circuit run the whole model.
    let layers = "circuit_config.target_layers=[\"transformer.h.0.attn.c_attn\", \"transformer.h.0.attn.c_proj\"]";
    let circuit = with(&probe, &["kind=circuit", "training.optimizer.learning_rate=0.0", layers]);
    let probe = number(&with(&probe, &["training.optimizer.learning_rate=0.0"]));
    let (head, tail) = circuit.split_once("[probe]").unwrap();
    let circuit = number(&format!("{head}{}", tail.split_once("\n\n").map_or("", |(_, rest)| rest)));
    for (tree, whole) in probe.iter().zip(circuit) {
        assert!((tree - whole).abs() < 1e-5, "{probe:?} {circuit:?}");
    }
    assert!(tree[2] != tree[1] && probe[3] > 0.0);
}

#[test]
fn another_position_is_read_and_logits_are_restricted() {
    let folder = folder();
    let at = |text: &str| rows(folder.path(), text).unwrap()[0].number("logit_difference_test").unwrap();
    let last = at(&behaviour("answer = { classes = { one = \"a\", two = \"b\" } }"));
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    let first = at(&behaviour("answer = { classes = { one = \"a\", two = \"b\" } }, at = \"first\""));
    assert_ne!(last, first);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    let table = TABLE.replace(",one,", ",2,").replace(",two,", ",3,");
    std::fs::write(folder.path().join("a.csv"), table).unwrap();
    let ids = at(&behaviour("answer = \"label\", among = [2, 4]"));
    assert!((ids - last).abs() < 1e-9, "logits 2 and 3 alone: {ids} {last}");
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    let error = rows(folder.path(), &behaviour("answer = \"label\", among = [2, 3]")).unwrap_err().to_string();
    assert!(error.contains("behaviour.among: [2, 3], but it holds the first logit"), "{error}");
    let error = rows(folder.path(), &behaviour("answer = \"label\", among = [3, 5]")).unwrap_err().to_string();
    assert!(error.contains("without the answer 2, but all answers must be among these logits"), "{error}");
}

#[test]
fn a_circuit_is_trained_on_the_answers() {
    let folder = folder();
    let circuit = with(
        PROBE,
        &[
            "kind=circuit",
            "circuit_config.target_layers=[\"transformer.h.0.attn.c_attn\"]",
            "behaviour={ answer = { right = \"right\", wrong = \"wrong\" }, sets = [\"test\"] }",
            "training.batch_size=4",
        ],
    );
    let circuit = circuit.split("[probe]").collect::<Vec<_>>();
    let text =
        format!("{}{}", circuit[0], circuit[1].split_once('[').map_or(String::new(), |(_, rest)| format!("[{rest}")));
    let mut training = training(folder.path(), &text).unwrap();
    let rows = training.data().split().train.clone();
    assert_eq!(training.data().labels(&rows), [2, 3, 4, 5]);
    assert!(training.step(0, 0, &rows).unwrap().is_finite());
}

#[test]
fn answers_that_are_no_token_are_refused_with_their_row() {
    let folder = folder();
    let refused = |table: &str, answer: &str, expected: &str| {
        std::fs::write(folder.path().join("a.csv"), table).unwrap();
        let error = rows(folder.path(), &behaviour(answer)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!folder.path().join("run").exists());
    };
    let columns = "answer = { right = \"right\", wrong = \"wrong\" }";
    let two = TABLE.replace("b d,two,b,a", "b d,two,b c,a");
    refused(
        &two,
        columns,
        "a.csv`, line 7: the answer is `b c`, but an answer is one token, and this one splits into `b` `c`",
    );
    let unknown = TABLE.replace("d a,two,b,a", "d a,two,b,x");
    refused(&unknown, columns, "line 3: the answer is `x`, but it is not in the vocabulary of the tokenizer");
    let same = TABLE.replace("d a,two,b,a", "d a,two,b,b");
    refused(&same, columns, "line 3: the right answer is the wrong answer, too");
    refused(TABLE, "answer = { right = \"good\", wrong = \"wrong\" }", "has no column `good`");
    let classes = |classes: &str| format!("answer = {{ classes = {{ {classes} }} }}");
    refused(
        TABLE,
        &classes("one = \"a\", two = \"a b\""),
        "behaviour.answer.classes: `a b`, but an answer is one token",
    );
    refused(TABLE, &classes("one = \"a\", three = \"b\""), "with `three`, but the classes of the label are one, two");
    refused(TABLE, &classes("one = \"a\", two = \" a\""), "the same for two classes");
    refused(TABLE, &classes("one = \"a\""), "it needs the answers of at least two classes");
}

#[test]
fn what_a_language_model_needs_is_said() {
    let folder = folder();
    let refused = |sets: &[&str], expected: &str| {
        let error = training(folder.path(), &with(RECIPE, sets)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&["data.read=last"], "data.read: given, but without a `label` all tokens of the texts are predicted");
    refused(
        &["head=GPT2ForSequenceClassification"],
        "data.label: missing, but a sequence classification predicts a variable",
    );
    refused(&["training.mask_probability=0.0"], "training.mask_probability: 0, but it must be above 0 and at most 1");
    std::fs::write(folder.path().join("a.csv"), "text,split\na,train\nb,train\na b,test\n").unwrap();
    refused(&[], "2 texts without a token to predict in the train set");
    std::fs::remove_file(folder.path().join("model/tokenizer.json")).unwrap();
    refused(&[], "tokenizer.json");
}
