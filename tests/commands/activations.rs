//! Tests of `activations`: the file of vectors, against forward passes of single rows.

use std::collections::HashMap;
use std::process::Output;

use burn::tensor::{Device, Tensor};
use ns_models::{AnyTransformer, Model, Site, TextTokenizer, Transformer};
use ns_train::Table;
use safetensors::SafeTensors;

use crate::grammar::sentences;
use crate::work::{Work, command, failure, success};

const SITES: [&str; 3] = ["attn_update_0", "attn_stream_0", "mlp_stream_0"];

/// Spans of one and of two words, which begin after 0 to 2 words.
const SPANS: &str = "sentence,start,end,index\n\
    noun3 word1 noun4,0,5,0\n\
    word1 noun3 noun4 word2 word5,6,17,1\n\
    word2 word1 noun7,12,17,2\n";

/// The content of a file.
struct Vectors {
    floats: HashMap<String, (Vec<usize>, Vec<f32>)>,
    integers: HashMap<String, Vec<i64>>,
    metadata: HashMap<String, String>,
}

fn activations(work: &Work, options: &[&str]) -> Output {
    let mut command = command(work.folder.path(), ["activations", "model", "--out", "out/v.safetensors"]);
    command.args(options).output().unwrap()
}

fn written(work: &Work, options: &[&str]) -> Vectors {
    success(&activations(work, options));
    let bytes = std::fs::read(work.path("out/v.safetensors")).unwrap();
    let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    let (mut floats, mut integers) = (HashMap::new(), HashMap::new());
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let (chunks, shape) = (view.data(), view.shape().to_vec());
        if view.dtype() == safetensors::Dtype::F32 {
            let values = chunks.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
            floats.insert(name, (shape, values));
        } else {
            assert_eq!(view.dtype(), safetensors::Dtype::I64, "{name}");
            integers
                .insert(name, chunks.chunks(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect());
        }
    }
    Vectors { floats, integers, metadata }
}

/// The vectors of each token of one row at a site, from a forward pass of this row alone, `[tokens, hidden]`.
fn directly(work: &Work, text: &str, site: &str) -> Tensor<2> {
    let model = AnyTransformer::load(work.path("model"), &Device::default()).unwrap();
    let batch = TextTokenizer::from_folder(work.path("model")).unwrap().encode(&[text], &model.device()).unwrap();
    let [_, seq] = batch.inputs.input_ids.clone().unwrap().dims();
    model.vectors_at(site.parse::<Site>().unwrap(), 0..seq, &batch.inputs).unwrap().squeeze_dim(0)
}

fn close(found: &[f32], expected: Tensor<1>) {
    let expected: Vec<f32> = expected.into_data().iter().collect();
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-5);
    assert!(near && expected.iter().any(|value| value.abs() > 1e-3), "{found:?} {expected:?}");
}

#[test]
fn vectors_at_words_are_those_of_the_model() {
    let work = sentences("");
    let noun = r#"{ word = "noun" }"#;
    let options = ["--data", "words.csv", "--text", "sentence", "--read", noun, "--batch", "5"];
    let found = written(&work, &[&options[..], &["--site", "attn_*_0", "--site", "mlp_stream_0"]].concat());
    assert_eq!(found.floats.len(), 3);
    assert_eq!(found.integers["rows"], (0..48).collect::<Vec<i64>>());
    let metadata = [("model", "model"), ("data", "words.csv"), ("read", noun)];
    assert_eq!(found.metadata, metadata.map(|(name, value)| (name.to_string(), value.to_string())).into());
    let table = Table::read(work.path("words.csv")).unwrap();
    for (row, text) in table.column("sentence").unwrap().iter().enumerate() {
        // Every word is one token; the noun is the second or the third.
        let position = if row % 3 == 0 { 1 } else { 2 };
        assert_eq!(found.integers["positions"][row], position);
        for site in SITES {
            let (shape, values) = &found.floats[site];
            assert_eq!(shape, &[48, 16], "{site}");
            let vector = directly(&work, text, site).slice_dim(0, position as usize..position as usize + 1);
            close(&values[row * 16..(row + 1) * 16], vector.squeeze_dim(0));
        }
    }
}

#[test]
fn several_tokens_have_a_vector_each_or_a_mean() {
    let work = sentences("");
    std::fs::write(work.path("spans.csv"), SPANS).unwrap();
    let read = |read: &str| {
        let options = ["--data", "spans.csv", "--text", "sentence", "--site", "attn_update_0", "--read", read];
        written(&work, &options)
    };
    let all = read("all");
    assert_eq!(all.integers["rows"], [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]);
    assert_eq!(all.integers["positions"], [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2]);
    let row = directly(&work, "word1 noun3 noun4 word2 word5", "attn_update_0");
    close(&all.floats["attn_update_0"].1[3 * 16..8 * 16], row.clone().reshape([80]));

    let mean = read(r#"{ span = ["start", "end"], token = "mean" }"#);
    assert_eq!((&mean.integers["rows"], &mean.integers["positions"]), (&vec![0, 1, 2], &vec![0, 1, 2]));
    close(&mean.floats["attn_update_0"].1[16..32], row.slice_dim(0, 1..3).mean_dim(0).squeeze_dim(0));

    let last = read("last");
    assert_eq!((&last.integers["positions"], last.metadata["read"].as_str()), (&vec![2, 4, 2], "\"last\""));
}

#[test]
fn token_ids_are_read_as_texts_are() {
    let work = sentences("");
    // The ids of `noun3 word1 noun4`, see the vocabulary.
    std::fs::write(work.path("ids.csv"), "ids,text\n4 14 5,noun3 word1 noun4\n").unwrap();
    let ids = written(&work, &["--data", "ids.csv", "--tokens", "ids", "--site", "mlp_update_0"]);
    let texts = written(&work, &["--data", "ids.csv", "--site", "mlp_update_0"]);
    let last = directly(&work, "noun3 word1 noun4", "mlp_update_0").slice_dim(0, 2..3).squeeze_dim::<1>(0);
    for found in [ids, texts] {
        close(&found.floats["mlp_update_0"].1, last.clone());
    }
}

#[test]
fn mistakes_write_nothing() {
    let work = sentences("");
    for (options, expected) in [
        (&["--site", "attn_update_1"][..], "--site is `attn_update_1`, but the model has 1 blocks"),
        (&["--site", "attn_*_7"], "--site is `attn_*_7`, but the model has 1 blocks"),
        (&["--site", "attn_update_0", "--read", "frist"], "it must be last, first, all"),
        (
            &["--site", "attn_update_0", "--read", "{ index = 1, word = \"noun\" }"],
            "--read is a table of 2 rules, but exactly one",
        ),
        (&["--site", "attn_update_0", "--batch", "0"], "--batch is 0, but it must be at least 1"),
        (&["--site", "attn_update_0", "--read", "{ index = 9 }"], "words.csv`, line 2: data.read.index is 9"),
    ] {
        let message = failure(&activations(&work, &[&["--data", "words.csv", "--text", "sentence"], options].concat()));
        assert!(message.contains(expected), "{message}");
    }
    let message = failure(&activations(&work, &["--data", "words.csv", "--site", "attn_update_0"]));
    assert!(message.contains("`words.csv` has no column `text`"), "{message}");
    assert!(!work.path("out/v.safetensors").exists());
    assert_eq!(std::fs::read_dir(work.path("out")).unwrap().count(), 0);
}
