//! Tests of `train` with recipes that have a `kind`: probes on arithmetic and on sentences in a table.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ns_train::Row;
use serde_json::Value;

use crate::probe::{PROBE, trained};
use crate::support::copy_of_case;
use crate::work::{Work, command, error, failure, path, success, xtask};

/// The recipe [`PROBE`] in the grammar.
const ARITHMETIC: &str = r#"
kind = "circuit_probe"
model = "run/model"

[data]
arithmetic = { task = "sum", modulus = 5 }
label = "a_plus_b"
split = { seeded = { train = 0.6, seed = 0 } }

[probe]
vectors = "attn_update_0"

[circuit_config]
mask_method = "continuous_sparsification"
target_layers = ["transformer.h.0.attn.c_attn"]
freeze_base = true
add_l0 = true
l0_lambda = 1e-6
mask_hparams = { ablation = "none", mask_unit = "neuron", mask_bias = false, mask_init_value = 0.1 }

[training]
epochs = 4
batch_size = 8
final_temperature = 200.0
optimizer = { learning_rate = 1e-1, weight_decay = 1e-2 }

[evaluation]
controls = 2
"#;

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

const MASKS: &str = r#"
[circuit_config]
target_layers = "site"
mask_method = "continuous_sparsification"
add_l0 = true
l0_lambda = 1e-6
mask_hparams = { mask_unit = "neuron", mask_init_value = 0.1 }
"#;

/// A folder with a model, 48 sentences about 12 nouns, and a recipe.
fn sentences(recipe: &str) -> Work {
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
    let mut table = String::from("sentence,noun,number,size\n");
    for row in 0..48 {
        let (noun, first, last) = (row % 12, row % 5, row % 6);
        let middle = if row % 3 == 0 { "" } else { " word1" };
        let (number, size) = (["singular", "plural"][noun % 2], ["big", "small"][noun / 2 % 2]);
        table += &format!("word{first}{middle} noun{noun} word{last},noun{noun},{number},{size}\n");
    }
    std::fs::write(work.path("words.csv"), table).unwrap();
    work
}

fn recipe(kind: &str, probe: &str, rest: &str) -> String {
    format!("kind = \"{kind}\"\n{SENTENCES}[probe]\n{probe}\n{rest}")
}

fn train<const N: usize>(work: &Work, out: &str, options: [&str; N]) -> Output {
    let mut command = command(work.folder.path(), ["train", "recipe.toml", "--out", out]);
    command.args(options).output().unwrap()
}

fn rows(work: &Work, folder: &str) -> Vec<Row> {
    serde_json::from_str(&work.read(&format!("{folder}/results.json"))).unwrap()
}

fn numbers(row: &Row, names: &[&str]) -> Vec<f64> {
    names.iter().map(|name| row.number(name).unwrap_or_else(|| panic!("{name}: {row:?}"))).collect()
}

#[test]
fn arithmetic_has_the_numbers_of_the_old_form() {
    let work = trained(PROBE);
    std::fs::write(work.path("recipe.toml"), ARITHMETIC).unwrap();
    success(&xtask(["probe", path(&work.path("probe.toml")), "--seed", "1", "--out", path(&work.path("old"))]));
    let printed = success(&train(&work, "new", ["--seed", "1"]));
    assert!(printed.contains("ablated") && printed.contains("circuit / max"), "{printed}");
    let old: Vec<BTreeMap<String, Value>> = serde_json::from_str(&work.read("old/results.json")).unwrap();
    let new: Vec<BTreeMap<String, Value>> = serde_json::from_str(&work.read("new/results.json")).unwrap();
    for (key, value) in &old[0] {
        assert_eq!(new[0].get(key), Some(value), "{key}");
    }
    assert!(old[0].contains_key("p_random"), "{old:?}");
    let row = &rows(&work, "new")[0];
    assert_eq!((row.run.as_str(), row.model.as_str(), row.data.as_str()), ("recipe-1", "run/model", "sum mod 5"));
    assert_eq!((row.n_train, row.n_test, row.layer), (15, 10, Some(0)));
    let read = |name: &str| std::fs::read(work.path(name)).unwrap();
    assert_eq!(read("old/masks.safetensors"), read("new/masks.safetensors"));
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
            "label = \"number\"\npartner = \"noun\"",
            "line 10, data.partner: given, but partners are not",
        ),
        (
            "[training]",
            "[evaluation]\nablations = [\"reinitialise\"]\n\n[training]",
            "evaluation.ablations: [Reinitialise]",
        ),
    ] {
        assert!(right.contains(from), "{from}");
        let work = sentences(&right.replace(from, to));
        let message = failure(&train(&work, "run", []));
        assert!(message.contains(expected), "{to}: {message}");
        assert!(!work.path("run").exists(), "{to}");
    }
    let circuit = right.replace("circuit_probe", "circuit").replace("[probe]\nvectors = \"attn_update_0\"", "");
    let message = failure(&train(&sentences(&circuit), "run", []));
    assert!(
        message.contains("line 1, kind: `circuit`, but not yet in this grammar; use the old recipe form"),
        "{message}"
    );
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
