//! Language models: training on texts, and the shipped model of agreement.

use ns_train::Row;

use crate::support::golden;
use crate::work::{Work, command, failure, path, success, xtask_in};

/// A grammar of 64 sentences.
const GRAMMAR: &str = r#"
[features]
number = ["singular", "plural"]
[words]
N  = { singular = ["cat", "dog", "owl", "cow", "hen", "pig", "rat", "bat"], plural = "+s" }
BE = { singular = "is", plural = "are" }
A  = ["old", "new", "red", "big"]
[templates]
all = "the {N number} {BE number} {A} ."
[columns]
before = "the {N number}"
right = " {BE number}"
wrong = " {BE !number}"
[sets]
train = { sample = 48 }
test = {}
"#;

const RECIPE: &str = r#"
kind = "model"

[data]
grammar = "grammar.toml"

[training]
epochs = 30
batch_size = 16
optimizer = { learning_rate = 1e-2 }

[model]
tokenizer = "tokenizer"
model_type = "gpt2"
architectures = ["GPT2LMHeadModel"]
vocab_size = 26
n_positions = 8
n_embd = 16
n_layer = 1
n_head = 2
"#;

/// Which verb the model gives after the subject.
const BEHAVIOUR: &str = r#"
kind = "linear_probe"
model = "run/model"
data = { grammar = "grammar.toml", text = "before", read = "last", label = "number" }
probe.vectors = "mlp_stream_0"
training = { epochs = 1, batch_size = 4 }

[behaviour]
answer = { classes = { singular = " is", plural = " are" } }
metrics = ["accuracy", "logit_difference"]
sets = ["train", "test"]
"#;

fn work() -> Work {
    let work = Work::new(RECIPE);
    std::fs::write(work.path("grammar.toml"), GRAMMAR).unwrap();
    let options = ["data", "grammar.toml", "--out", "sentences.csv", "--tokenizer", "tokenizer"];
    success(&xtask_in(work.folder.path(), options));
    work
}

fn rows(work: &Work, run: &str) -> Vec<Row> {
    serde_json::from_str(&work.read(&format!("{run}/results.json"))).unwrap()
}

#[test]
fn a_grammar_its_tokenizer_and_a_model_that_learns_agreement() {
    let work = work();
    let train = |recipe: &str, out: &str| success(&xtask_in(work.folder.path(), ["train", recipe, "--out", out]));
    let printed = train("recipe.toml", "run");
    assert!(printed.contains("perplexity test"), "{printed}");
    let row = &rows(&work, "run")[0];
    assert_eq!((row.n_train, row.n_test, row.variable.as_deref()), (48 * 4, 16 * 4, None));
    let (loss, perplexity) = (row.number("loss_test").unwrap(), row.number("perplexity_test").unwrap());
    // Below that of a guess among all tokens.
    assert!((1.0..26.0).contains(&perplexity) && (loss.exp() - perplexity).abs() < 1e-9, "{perplexity}");
    std::fs::write(work.path("behaviour.toml"), BEHAVIOUR).unwrap();
    train("behaviour.toml", "answers");
    let answers = &rows(&work, "answers")[0];
    assert_eq!((answers.number("accuracy_train"), answers.number("accuracy_test")), (Some(1.0), Some(1.0)));
    assert!(answers.number("logit_difference_test").unwrap() > 1.0);
    // Other texts, as plain text: one line has a word that the grammar does not have.
    std::fs::write(work.path("other.txt"), "the cat is old .\nthe gnu is old .\n").unwrap();
    let message = failure(&xtask_in(work.folder.path(), ["evaluate", "run", "--data", "other.txt"]));
    assert!(message.contains("has no column `sentence`"), "{message}");
    std::fs::write(work.path("other.csv"), "sentence\nthe cat is old .\nthe gnu is old .\n").unwrap();
    success(&xtask_in(work.folder.path(), ["evaluate", "run", "--data", "other.csv", "--out", "other"]));
    assert!(rows(&work, "other")[0].number("perplexity_test").unwrap() > perplexity);
}

#[test]
fn a_dry_run_shows_the_texts_and_the_number_of_tokens() {
    let work = work();
    let printed = success(&xtask_in(work.folder.path(), ["train", "recipe.toml", "--dry-run"]));
    assert!(printed.contains("model of the tokens of the texts (192 in training) in fresh gpt2"), "{printed}");
    assert!(printed.contains("train: 48 examples\n") && printed.contains("  the "), "{printed}");
}

#[test]
fn plain_text_of_another_encoding_and_a_missing_tokenizer_are_refused() {
    let work = work();
    let train = |data: &str| {
        let recipe = RECIPE.replace("grammar = \"grammar.toml\"", data);
        std::fs::write(work.path("recipe.toml"), recipe).unwrap();
        failure(&xtask_in(work.folder.path(), ["train", "recipe.toml"]))
    };
    std::fs::write(work.path("a.txt"), b"the cat is old .\nthe c\xe4t is old .\n").unwrap();
    let message = train("path = { train = \"a.txt\", test = \"a.txt\" }");
    assert!(message.contains("a.txt`: line 2 is not UTF-8, from its byte 6 on; convert the file"), "{message}");
    let message = failure(&xtask_in(work.folder.path(), ["train", "recipe.toml", "--set", "model.tokenizer=none"]));
    assert!(message.contains("model.tokenizer: `none`, but it must be the folder with tokenizer.json"), "{message}");
    std::fs::remove_file(work.path("tokenizer/tokenizer.json")).unwrap();
    let message = train("grammar = \"grammar.toml\"");
    assert!(
        message.contains("tokenizer.json` is not a usable tokenizer") || message.contains("no such file"),
        "{message}"
    );
    assert!(!work.path("runs").exists());
}

#[test]
fn an_answer_of_another_form_is_shown_the_forms() {
    let work = work();
    std::fs::write(work.path("behaviour.toml"), BEHAVIOUR).unwrap();
    let options = ["train", "behaviour.toml", "--set", "behaviour.answer={ right = \"right\" }"];
    let message = failure(&xtask_in(work.folder.path(), options));
    assert!(
        message.contains("line 9, behaviour.answer: it must be \"label\", { right = COLUMN, wrong = COLUMN }"),
        "{message}"
    );
}

/// The shipped model, with the recipe of experiment 4 cut down to one site, and without training.
fn shipped(work: &Work, recipe: &str, sets: &[&str]) -> Vec<Row> {
    let recipe = golden().join("../../models/agreement").join(recipe).canonicalize().unwrap();
    let mut train = command(work.folder.path(), ["train", path(&recipe), "--out", "out"]);
    train.args(["--set", "sweep={}", "--set", "training.epochs=30", "--set", "evaluation.controls=3"]);
    for set in sets {
        train.args(["--set", set]);
    }
    success(&train.output().unwrap());
    rows(work, "out")
}

#[test]
fn the_shipped_model_agrees_and_needs_its_circuit() {
    let work = Work::new("");
    let rows = shipped(&work, "circuits-of-number.toml", &["probe.vectors=attn_update_1"]);
    let number = |key: &str| rows[0].number(key).unwrap();
    for set in ["test", "ood"] {
        assert!(number(&format!("accuracy_{set}")) >= 0.99, "{rows:?}");
        let ablated = number(&format!("accuracy_{set}_zero"));
        assert!(ablated < number(&format!("accuracy_{set}_zero_random_mean")) - 0.1, "{rows:?}");
    }
    assert!(number("knn_test") > 0.95, "{rows:?}");
    // More attractors than in training.
    let grammar = golden().join("../../models/agreement/grammars/more-attractors.toml");
    let options = ["--sample", "500", "--out", "more.csv"];
    success(&command(work.folder.path(), ["data", path(&grammar)]).args(options).output().unwrap());
    success(&xtask_in(work.folder.path(), ["evaluate", "out", "--data", "more.csv", "--out", "more"]));
    let more = &self::rows(&work, "more")[0];
    assert!(more.number("accuracy_test").unwrap() >= 0.99, "{more:?}");
}

#[test]
fn the_shipped_model_chooses_the_right_pronoun() {
    let work = Work::new("");
    let rows = shipped(&work, "circuits-of-antecedent.toml", &["probe.vectors=mlp_update_3", "training.epochs=1"]);
    for set in ["test", "ood"] {
        assert!(rows[0].number(&format!("accuracy_{set}")).unwrap() >= 0.99, "{rows:?}");
    }
}
