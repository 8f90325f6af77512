//! Tests of `train` with probes on sentences in a table.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ns_train::Row;
use serde_json::Value;

use crate::probe::{PROBE, trained};
use crate::support::copy_of_case;
use crate::work::{Work, command, error, failure, path, success, xtask};

/// The start of all recipes on sentences.
const SENTENCES: &str = r#"
model = "model"

[data]
path = "words.csv"
text = "sentence"
read = { word = "noun" }
label = "number"
split = { seeded = { train = 0.6, dev = 0.1, seed = 0, group = "noun" } }

[training]
epochs = 3
batch_size = 8
optimizer = { learning_rate = 1e-1 }
"#;

pub(crate) const MASKS: &str = r#"
[circuit_config]
target_layers = "site"
mask_method = "continuous_sparsification"
add_l0 = true
l0_lambda = 1e-6
mask_hparams = { mask_unit = "neuron", mask_init_value = 0.1 }
"#;

/// A folder with a model, 48 sentences about 12 nouns, and a recipe.
pub(crate) fn sentences(recipe: &str) -> Work {
    let work = Work::new(recipe);
    let (_case, model) = copy_of_case("models", "gpt2-base-1layer-1head");
    std::fs::create_dir(work.path("model")).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(model.join(file), work.path("model").join(file)).unwrap();
    }
    let nouns = (0..12).map(|noun| format!("noun{noun}"));
    let words: Vec<String> = nouns.chain((0..6).map(|filler| format!("word{filler}"))).collect();
    let mut vocab = BTreeMap::from([("?".to_string(), 0)]);
    vocab.extend(words.iter().enumerate().map(|(id, word)| (word.clone(), id + 1)));
    let tokenizer = serde_json::json!({
        "version": "1.0", "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "unk_token": "?", "vocab": vocab },
    });
    std::fs::write(work.path("model/tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(work.path("model/tokenizer_config.json"), r#"{"pad_token": "?"}"#).unwrap();
    let mut table = String::from("sentence,noun,number,size,value,partner,set\n");
    for row in 0..48 {
        let (noun, first, last) = (row % 12, row % 5, row % 6);
        let middle = if row % 3 == 0 { "" } else { " word1" };
        let (number, size) = (["singular", "plural"][noun % 2], ["big", "small"][noun / 2 % 2]);
        let (value, set) = (2.5 * noun as f64 - 7.0, ["train", "train", "test"][row / 2 % 3]);
        let sentence = |noun: usize| format!("word{first}{middle} noun{noun} word{last}");
        let (text, partner) = (sentence(noun), sentence((noun + 1) % 12));
        table += &format!("{text},noun{noun},{number},{size},{value},{partner},{set}\n");
    }
    std::fs::write(work.path("words.csv"), table).unwrap();
    work
}

pub(crate) fn recipe(kind: &str, probe: &str, rest: &str) -> String {
    format!("kind = \"{kind}\"\n{SENTENCES}[probe]\n{probe}\n{rest}")
}

pub(crate) fn train<const N: usize>(work: &Work, out: &str, options: [&str; N]) -> Output {
    let mut command = command(work.folder.path(), ["train", "recipe.toml", "--out", out]);
    command.args(options).output().unwrap()
}

pub(crate) fn rows(work: &Work, folder: &str) -> Vec<Row> {
    serde_json::from_str(&work.read(&format!("{folder}/results.json"))).unwrap()
}

fn numbers(row: &Row, names: &[&str]) -> Vec<f64> {
    names.iter().map(|name| row.number(name).unwrap_or_else(|| panic!("{name}: {row:?}"))).collect()
}

#[test]
fn a_row_and_its_folder_say_what_was_run() {
    let work = trained(PROBE);
    success(&xtask(["train", path(&work.path("probe.toml")), "--seed", "1", "--out", path(&work.path("new"))]));
    let row = &rows(&work, "new")[0];
    assert_eq!((row.run.as_str(), row.model.as_str(), row.data.as_str()), ("probe-1", "run/model", "sum mod 5"));
    assert_eq!((row.n_train, row.n_test, row.layer), (15, 10, Some(0)));
    assert_eq!(row.number("acc_ablated"), row.number("accuracy_test_zero"));
    let about: Value = serde_json::from_str(&work.read("new/about.json")).unwrap();
    assert_eq!(about["model_sha256"].as_str().unwrap().len(), 64);
    assert!(about["backend"].as_str().unwrap().contains("lex") && about["seconds"].as_f64().unwrap() > 0.0, "{about}");
}

#[test]
fn labels_and_sites_make_a_grid_whose_results_do_not_depend_on_jobs() {
    let text = recipe("circuit_probe", "vectors = \"*_update_0\"", MASKS)
        .replace("label = \"number\"", "labels = [\"number\", \"size\"]");
    let work = sentences(&text);
    let printed = success(&train(&work, "one", []));
    assert_eq!(printed.matches("| recipe-data.label=").count(), 4, "{printed}");
    success(&train(&work, "two", ["--jobs", "2"]));
    for file in ["results.json", "results.csv", "table.md"] {
        assert_eq!(work.read(&format!("one/{file}")), work.read(&format!("two/{file}")), "{file}");
    }
    let rows = rows(&work, "one");
    let named = |row: &Row| (row.variable.clone().unwrap(), row.site.clone().unwrap());
    assert_eq!(named(&rows[1]), ("number".into(), "mlp_update_0".into()));
    assert_eq!(named(&rows[2]), ("size".into(), "attn_update_0".into()));
    for row in &rows {
        let found = numbers(row, &["knn_test", "knn_dev", "knn_unmasked", "majority", "majority_test", "l0", "l0_max"]);
        assert!(found.iter().all(|number| *number >= 0.0) && row.measures.get("knn_shuffled") == Some(&Value::Null));
        assert!(row.n_train + row.n_test < 48 && row.number("acc_full").is_none(), "{row:?}");
    }
    assert_ne!(rows[0].number("l0_max"), rows[1].number("l0_max"), "attention and MLP have other layers");
    let csv = work.read("one/results.csv");
    assert!(csv.starts_with("run,kind,model,data,variable,site,layer,block,seed,n_train,n_test,knn_test"), "{csv}");
    assert_eq!(csv.lines().count(), 5);

    for figure in ["probes.svg", "probes.png"] {
        assert!(work.path("one").join(figure).is_file(), "{figure}");
    }
    assert!(work.read("one/probes.svg").contains("number · attn_update_0"));

    let before = work.read("one/recipe-data.label=size-probe.vectors=mlp_update_0-0/about.json");
    assert_eq!(success(&train(&work, "one", [])), printed);
    let after = work.read("one/recipe-data.label=size-probe.vectors=mlp_update_0-0/about.json");
    assert_eq!(before, after, "a finished run is not repeated");
}

#[test]
#[cfg(unix)]
fn an_interrupted_grid_continues_with_the_same_results() {
    let text = recipe("circuit_probe", "vectors = \"*_update_0\"", MASKS) + "[evaluation]\nshuffled_labels = true\n";
    let work = sentences(&text.replace("epochs = 3", "epochs = 60"));
    let mut child = command(work.folder.path(), ["train", "recipe.toml", "--out", "stopped"]);
    let mut child = child.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let state = work.path("stopped/recipe-probe.vectors=attn_update_0-0/state.json");
    while !state.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the command ended by itself");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let message = failure(&child.wait_with_output().unwrap());
    assert!(message.contains("of 2 runs done; the same command continues"), "{message}");
    assert!(!work.path("stopped/recipe-probe.vectors=mlp_update_0-0/results.json").exists());
    success(&train(&work, "stopped", []));
    success(&train(&work, "whole", []));
    assert_eq!(work.read("stopped/results.json"), work.read("whole/results.json"));
    assert!(rows(&work, "whole").iter().all(|row| row.number("knn_shuffled").is_some()));
}

#[test]
fn a_subnetwork_probe_has_a_plain_row_and_controls() {
    let work = sentences(&recipe("subnetwork_probe", "vectors = \"attn_stream_0\"", MASKS));
    success(&train(&work, "run", []));
    let rows = rows(&work, "run");
    assert_eq!(rows.iter().map(|row| &*row.run).collect::<Vec<_>>(), ["recipe-0", "recipe-0-plain"]);
    for row in &rows {
        numbers(row, &["probe_test", "probe_dev", "probe_train", "probe_shuffled", "f1_macro_test", "majority_test"]);
    }
    assert!(rows[0].number("l0_max").unwrap() > 0.0);
    assert_eq!(rows[1].measures.get("l0"), Some(&Value::Null));
    for folder in ["", "shuffled", "plain", "plain/shuffled"] {
        assert!(work.path("run").join(folder).join("probe_config.json").is_file(), "{folder}");
    }
    assert!(work.path("run/shuffled/masks.safetensors").exists() && !work.path("run/plain/masks.safetensors").exists());
    // A plain probe is a linear probe.
    std::fs::write(work.path("recipe.toml"), recipe("linear_probe", "vectors = \"attn_stream_0\"", "")).unwrap();
    success(&train(&work, "linear", []));
    assert_eq!(self::rows(&work, "linear")[0].measures, rows[1].measures);
}

#[test]
fn a_linear_probe_may_have_a_hidden_layer_and_read_all_tokens() {
    let text =
        recipe("linear_probe", "vectors = \"mlp_stream_0\"\nhidden = 4", "[evaluation]\nshuffled_labels = false\n")
            .replace("read = { word = \"noun\" }", "read = \"all\"")
            .replace("batch_size = 8", "batch_size = 8\ndrop_last = false");
    let work = sentences(&text);
    success(&train(&work, "run", ["--set", "training.epochs=2", "--seeds", "2"]));
    let rows = rows(&work, "run");
    assert_eq!(rows.iter().map(|row| row.seed).collect::<Vec<_>>(), [0, 1]);
    assert!(rows[0].n_train > 48, "each token has a label: {rows:?}");
    assert_eq!(rows[0].measures.get("probe_shuffled"), Some(&Value::Null));
    assert_eq!(work.metrics("run/recipe-1").len(), 2);
    assert!(work.path("run/recipe-0/training.png").is_file());
}

/// A regression on the number of the noun.
fn regression(probe: &str, rest: &str) -> String {
    recipe("linear_probe", probe, rest).replace("label = \"number\"", "label = \"value\"\nnumeric = true")
}

#[test]
fn a_regression_has_r2_and_rank_correlations() {
    let text = regression("vectors = \"attn_stream_0\"", "").replace("epochs = 3", "epochs = 200");
    let work = sentences(&text.replace("learning_rate = 1e-1", "learning_rate = 5e-2, weight_decay = 0.0"));
    let printed = success(&train(&work, "run", []));
    assert!(printed.contains("R² test") && !printed.contains("| test"), "{printed}");
    let row = rows(&work, "run").remove(0);
    for set in ["train", "test"] {
        let [r2, probe, spearman] = [format!("r2_{set}"), format!("probe_{set}"), format!("spearman_{set}")];
        let found = numbers(&row, &[&r2, &probe, &spearman]);
        assert!(found[0] == found[1] && found[0] <= 1.0 && found[2].abs() <= 1.0, "{row:?}");
    }
    for constant in ["r2_dev", "probe_dev", "spearman_dev"] {
        assert_eq!(row.measures.get(constant), Some(&Value::Null), "the development set has one noun");
    }
    let found = numbers(&row, &["r2_train", "spearman_train", "r2_shuffled", "probe_shuffled", "spearman_shuffled"]);
    assert!(found[0] > 0.95 && found[1] > 0.95, "the embeddings of 12 nouns can hold 12 numbers: {row:?}");
    assert!(found[2] == found[3] && found[2] < 0.5, "nouns of the test set have labels of their own: {row:?}");
    for absent in ["f1_macro_test", "majority", "majority_test", "r2_ood", "probe_ood"] {
        assert_eq!(row.measures.get(absent), None, "{absent}");
    }
    let config: Value = serde_json::from_str(&work.read("run/probe_config.json")).unwrap();
    assert_eq!(config["n_classes"], 1);
    assert!(config["label_sd"].as_f64().unwrap() > 0.0, "{config}");
    let metrics = work.metrics("run");
    assert!(metrics[199].loss < 0.05, "the loss is relative to the variance: {metrics:?}");

    // Without its results, the run is evaluated again from its last checkpoint.
    std::fs::remove_file(work.path("run/results.json")).unwrap();
    success(&train(&work, "run", []));
    let again = rows(&work, "run").remove(0);
    for name in ["r2_train", "r2_test", "spearman_train", "r2_shuffled"] {
        // The cache holds activations of training batches, whose padding is another.
        assert!((again.number(name).unwrap() - row.number(name).unwrap()).abs() < 1e-6, "{name}: {again:?}");
    }
}

#[test]
fn a_regression_may_have_a_hidden_layer_and_read_all_tokens() {
    let text = regression("vectors = \"attn_stream_0\"\nhidden = 4", "[evaluation]\nshuffled_labels = false\n");
    let work = sentences(&text.replace("read = { word = \"noun\" }", "read = \"all\""));
    success(&train(&work, "run", []));
    let row = rows(&work, "run").remove(0);
    assert!(row.n_train > 48 && row.number("r2_test").is_some(), "each token has a label: {row:?}");
    assert_eq!(row.measures.get("r2_shuffled"), Some(&Value::Null));
    let printed = success(&train(&work, "dry", ["--dry-run"]));
    assert!(printed.contains("different numbers") && printed.contains("] → "), "{printed}");
}

#[test]
fn arithmetic_labels_may_be_numbers() {
    let work = trained(PROBE);
    let without_masks = PROBE.split("[circuit_config]").next().unwrap();
    let training = PROBE.split("[training]").nth(1).unwrap().replace("[evaluation]\ncontrols = 2", "");
    let text = format!("{without_masks}[training]{training}").replace("\"a_plus_b\"", "\"a_plus_b\"\nnumeric = true");
    std::fs::write(work.path("recipe.toml"), text.replace("circuit_probe", "linear_probe")).unwrap();
    success(&train(&work, "numbers", []));
    let row = &rows(&work, "numbers")[0];
    numbers(row, &["r2_train", "r2_test", "r2_shuffled", "spearman_test"]);
    assert_eq!((row.n_train, row.measures.get("r2_dev"), row.number("acc_full")), (15, None, None));
}

#[test]
fn partners_are_shown_and_those_of_another_length_are_warned_of() {
    let with = |partner: &str| {
        recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS)
            .replace("label = \"number\"", &format!("label = \"number\"\npartner = {partner}"))
    };
    let work = sentences(&with("\"partner\""));
    let output = train(&work, "run", ["--dry-run"]);
    let (printed, message) = (success(&output), error(&output));
    assert_eq!(printed.matches("\n    partner: word").count(), 3, "{printed}");
    assert!(!message.contains("tokens long"), "{message}");
    let work = sentences(&with("{ derange = { seed = 0 } }"));
    let output = train(&work, "run", ["--seeds", "2"]);
    success(&output);
    let message = error(&output);
    assert_eq!(message.matches("partners have another length").count(), 1, "once for both runs: {message}");
    assert!(message.contains("words.csv`, line ") && message.contains("tokens long, but its row has"), "{message}");
}

#[test]
fn support_sets_do_not_depend_on_the_order_of_the_rows() {
    let text = recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS).replace("epochs = 3", "epochs = 1");
    let split = "split = { seeded = { train = 0.6, dev = 0.1, seed = 0, group = \"noun\" } }";
    assert!(text.contains(split));
    let work = sentences(&text.replace(split, "split = { column = \"set\" }"));
    let unmasked = |out: &str| -> Vec<Vec<f64>> {
        success(&train(&work, out, ["--seeds", "4"]));
        rows(&work, out).iter().map(|row| numbers(row, &["knn_unmasked"])).collect()
    };
    let before = unmasked("before");
    let table = work.read("words.csv");
    let mut lines: Vec<&str> = table.lines().collect();
    lines[1..].reverse();
    std::fs::write(work.path("words.csv"), lines.join("\n") + "\n").unwrap();
    assert_eq!(before, unmasked("after"));
    assert!(before.iter().any(|accuracy| accuracy != &before[0]), "the support set matters: {before:?}");
}

#[test]
fn a_dry_run_shows_what_is_read() {
    let work = sentences(&recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS));
    let printed = success(&train(&work, "run", ["--dry-run"]));
    for part in
        ["recipe-0: circuit_probe of number at attn_update_0", "memory: about ", "train: ", "2 classes", "[noun"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!work.path("run").exists());
}

#[test]
fn mistakes_name_file_line_and_key() {
    let right = recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS);
    for (from, to, expected) in [
        ("label = \"number\"", "label = \"nummer\"", "recipe.toml`, line 9, data.label: "),
        ("group = \"noun\"", "group = \"nouns\"", "recipe.toml`, line 10, data.split.seeded.group: "),
        ("batch_size = 8", "batch_sizes = 8", "recipe.toml`, line 14, training.batch_sizes: unknown"),
        ("batch_size = 8", "batch_size = 80", "recipe.toml`, line 14, training.batch_size: 80, but there are"),
        (
            "attn_update_0",
            "attn_update_7",
            "recipe.toml`, line 17, probe.vectors: `attn_update_7`, but the model has 1",
        ),
        ("attn_update_0", "attn_*_7", "recipe.toml`, line 17, probe.vectors: `attn_*_7`, but the model has 1"),
        (
            "\"model\"",
            "\"model2\"",
            "recipe.toml`, line 3, model: `model2`, but the program cannot find the model: no such folder",
        ),
        ("circuit_probe", "circuit", "probe: given, but a circuit does not"),
        (
            "label = \"number\"",
            "label = \"number\"\npartner = \"partners\"",
            "no column `partners` (did you mean `partner`?)",
        ),
        ("label = \"number\"", "label = \"number\"\nnumeric = true", "line 10, data.numeric: true, but only a linear_"),
    ] {
        assert!(right.contains(from), "{from}");
        let work = sentences(&right.replace(from, to));
        let message = failure(&train(&work, "run", []));
        assert!(message.contains(expected), "{to}: {message}");
        assert!(!work.path("run").exists(), "{to}");
    }
}

#[test]
fn a_run_that_fails_keeps_the_rows_of_the_others() {
    let text = recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS);
    let work = sentences(&(text + "[sweep]\n\"training.batch_size\" = [4, 400, 8]\n"));
    let output = train(&work, "run", []);
    let message = failure(&output);
    let expected = "1 of 3 runs failed:\n  run/recipe-training.batch_size=400-0: ";
    assert!(message.contains(expected) && message.contains("line 14, training.batch_size: 400"), "{message}");
    assert_eq!(rows(&work, "run").len(), 2);
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("| recipe-training").count(), 2);
}

#[test]
fn several_recipes_have_one_table() {
    let work = sentences(&recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS));
    std::fs::write(work.path("other.toml"), recipe("linear_probe", "vectors = \"attn_update_0\"", "")).unwrap();
    let arguments = ["train", "recipe.toml", "other.toml", "--out", "both"];
    success(&command(work.folder.path(), arguments).output().unwrap());
    assert_eq!(rows(&work, "both").iter().map(|row| &*row.run).collect::<Vec<_>>(), ["recipe-0", "other-0"]);
    let twice = command(work.folder.path(), ["train", "recipe.toml", "recipe.toml", "--out", "both"]).output().unwrap();
    assert!(failure(&twice).contains("two runs would share the folder"), "{}", error(&twice));
    success(&command(work.folder.path(), ["train", "recipe.toml", "--seed", "2"]).output().unwrap());
    assert!(
        work.path("runs/recipe-2/table.md").is_file() && Path::new(&work.path("runs/recipe-2/about.json")).is_file()
    );
}
