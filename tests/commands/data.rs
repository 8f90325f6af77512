//! Tests of `data`, and of recipes whose examples a grammar generates.

use std::process::Output;

use burn::tensor::Device;
use ns_models::TextTokenizer;
use ns_train::Table;

use crate::grammar::{recipe, rows, sentences, train};
use crate::work::{Work, command, error, failure, success, xtask_in};

/// Sentences of words that the tokenizer of [`sentences`] knows: 2 · 8 · 4 of each group.
const GRAMMAR: &str = r#"
[features]
number = ["singular", "plural"]

[words]
N = { singular = ["noun0", "noun2", "noun4", "noun6"], plural = ["noun1", "noun3", "noun5", "noun7"] }
W = ["word0", "word1", "word2", "word3", "word4", "word5", "noun8", "noun9"]

[templates]
near = "{N number} {W}"
far = "{W} {N number}"

[columns]
noun = "{N number}"

[partners]
partner = "number"

[sets]
train = { templates = "near", sample = 24 }
test = { templates = "near", sample = 12 }
ood = { templates = "far", sample = 8 }
"#;

fn work(data: &str) -> Work {
    let table = "path = \"words.csv\"\ntext = \"sentence\"\n";
    let split = "split = { seeded = { train = 0.6, dev = 0.1, seed = 0, group = \"noun\" } }\n";
    let text = recipe("linear_probe", "vectors = \"attn_stream_0\"", "");
    assert!(text.contains(table) && text.contains(split));
    let work = sentences(&text.replace(table, data).replace(split, ""));
    std::fs::write(work.path("g.toml"), GRAMMAR).unwrap();
    work
}

fn data(work: &Work, options: &[&str]) -> Output {
    command(work.folder.path(), ["data", "g.toml"]).args(options).output().unwrap()
}

#[test]
fn the_sets_are_written_and_counted() {
    let work = work("grammar = \"g.toml\"\n");
    let printed = success(&data(&work, &["--out", "new/sets.csv"]));
    assert!(printed.contains("new/sets.csv: 44 sentences"), "{printed}");
    assert!(printed.contains("by template: near 36, far 8"), "{printed}");
    assert!(printed.contains("by set: train 24, test 12, ood 8"), "{printed}");
    assert_eq!(printed.matches("partner = \"").count(), 3, "{printed}");
    let table = Table::read(work.path("new/sets.csv")).unwrap();
    assert_eq!(table.columns(), ["sentence", "template", "number", "noun", "partner", "set"]);
    assert_eq!(table.len(), 44);
}

#[test]
fn options_choose_other_sentences() {
    let work = work("grammar = \"g.toml\"\n");
    let rows = |options: &[&str]| {
        success(&data(&work, &[options, &["--out", "a.tsv"]].concat()));
        Table::read(work.path("a.tsv")).unwrap()
    };
    assert_eq!(rows(&["--all"]).len(), 128);
    assert_eq!(rows(&["--templates", "near", "--templates", "far"]).len(), 128);
    let sample = rows(&["--templates", "far", "--sample", "10", "--where", "number=plural"]);
    assert!(sample.len() == 10 && sample.column("number").unwrap().iter().all(|number| number == "plural"));
    let other = rows(&["--templates", "far", "--sample", "10", "--where", "number=plural", "--seed", "1"]);
    assert_ne!(sample, other);
}

#[test]
fn a_tokenizer_of_its_words_is_written() {
    let work = work("grammar = \"g.toml\"\n");
    let printed = success(&data(&work, &["--out", "a.csv", "--tokenizer", "new/tokenizer"]));
    assert!(printed.contains("new/tokenizer: a tokenizer of 18 tokens"), "{printed}");
    let tokenizer = TextTokenizer::from_folder(work.path("new/tokenizer")).unwrap();
    let batch = tokenizer.encode(&["word5 noun0"], &Device::default()).unwrap();
    let tokens = batch.rows()[0].tokens().iter().map(|token| tokenizer.token(token.id).unwrap());
    assert_eq!(tokens.collect::<Vec<_>>(), ["word5", "noun0"]);
}

#[test]
fn mistakes_are_refused_before_a_file_is_written() {
    let work = work("grammar = \"g.toml\"\n");
    let refused = |options: &[&str], expected: &str| {
        let message = failure(&data(&work, options));
        assert!(message.contains(expected), "{message}");
    };
    refused(&["--out", "a.csv", "--sample", "129"], "there are only 128 sentences for the sample of 129");
    refused(&["--out", "a.csv", "--templates", "nar"], "near, far (did you mean `near`?)");
    refused(&["--out", "a.csv", "--where", "number"], "it must be FEATURE=VALUE, e.g. gender=feminine");
    refused(&["--out", "a.parquet"], "the file extension is .parquet, but a table is written as .csv or .tsv");
    std::fs::write(work.path("g.toml"), GRAMMAR.replace("{W}\"", "{V}\"")).unwrap();
    refused(&["--out", "a.csv"], "`g.toml`, line 10, templates.near: `{V}`: `V` is no word class and no phrase");
    assert!(!work.path("a.csv").exists());
}

#[test]
fn a_recipe_reads_a_grammar_as_it_reads_its_table() {
    let work = work("grammar = \"g.toml\"\n");
    let printed = success(&train(&work, "run", ["--dry-run"]));
    assert!(printed.contains("24") && printed.contains("[noun"), "{printed}");
    success(&train(&work, "run", []));
    let found = rows(&work, "run");
    assert_eq!((found[0].n_train, found[0].n_test), (24, 12));
    assert!(found[0].data.ends_with("g.toml") && found[0].number("probe_ood").is_some(), "{found:?}");
    success(&data(&work, &["--out", "sets.csv"]));
    let text = work.read("recipe.toml");
    let table = "path = \"sets.csv\"\ntext = \"sentence\"\nsplit = { column = \"set\" }\n";
    std::fs::write(work.path("recipe.toml"), text.replace("grammar = \"g.toml\"\n", table)).unwrap();
    success(&train(&work, "table", []));
    assert_eq!(rows(&work, "table")[0].measures, found[0].measures);
}

#[test]
fn a_finished_run_is_evaluated_on_a_table() {
    let work = work("grammar = \"g.toml\"\n");
    success(&train(&work, "run", []));
    let trained = rows(&work, "run");
    success(&data(&work, &["--out", "sets.csv"]));
    let lines = work.read("sets.csv");
    let test: Vec<&str> = lines.lines().filter(|line| !line.ends_with(",train") && !line.ends_with(",ood")).collect();
    std::fs::write(work.path("new.csv"), test.join("\n")).unwrap();
    success(&xtask_in(work.folder.path(), ["evaluate", "run", "--data", "new.csv"]));
    let found = rows(&work, "run/evaluation-new");
    assert_eq!((found[0].n_train, found[0].n_test), (24, 12));
    for name in ["probe_test", "probe_shuffled", "majority_test"] {
        assert_eq!(found[0].measures.get(name), trained[0].measures.get(name), "{name}");
    }
}

#[test]
fn keys_that_do_not_go_with_a_grammar_are_refused() {
    let refused = |data: &str, grammar: &str, expected: &str| {
        let work = work(data);
        std::fs::write(work.path("g.toml"), grammar).unwrap();
        let output = train(&work, "run", ["--dry-run"]);
        assert!(!output.status.success() && error(&output).contains(expected), "{}", error(&output));
    };
    let two = "grammar = \"g.toml\"\npath = \"words.csv\"\n";
    refused(two, GRAMMAR, "data: several sources, but `path`, `arithmetic` and `grammar` exclude each other");
    refused("", GRAMMAR, "data: without a source, but it needs `path`, `arithmetic` or `grammar`");
    let tokens = "grammar = \"g.toml\"\ntokens = \"ids\"\n";
    refused(tokens, GRAMMAR, "data.tokens: given, but a grammar makes texts; remove it");
    let whole = GRAMMAR.split("[sets]").next().unwrap();
    refused(
        "grammar = \"g.toml\"\n",
        whole,
        "data.split: missing, but the grammar has no [sets]; divide its sentences",
    );
    let unread = GRAMMAR.replace("noun = \"{N number}\"", "noun = \"{N !number}\"");
    refused("grammar = \"g.toml\"\n", &unread, "g.toml`, sentence 1: ");
    refused("grammar = \"g.toml\"\n", "[templates\n", "g.toml`, line 1: ");
    refused("grammar = \"none.toml\"\n", GRAMMAR, "none.toml`: ");
}
