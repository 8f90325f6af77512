//! Tests of `evaluate`: a finished run on other data.

use ns_train::recipe::Document;
use ns_train::{Dataset, Examples, ModelLimits, Row};
use serde_json::Value;

use crate::grammar::{MASKS, recipe, rows, sentences, train};
use crate::probe::{PROBE, trained};
use crate::work::{Work, failure, success, xtask_in};

const CONTROL: &str = "[evaluation]\nshuffled_labels = true\n";

/// Sentences whose sets are in the column `split`, and `new.csv` with the test rows, without that column.
fn with_column(text: &str) -> Work {
    let seeded = "split = { seeded = { train = 0.6, dev = 0.1, seed = 0, group = \"noun\" } }";
    let work = sentences(&text.replace(seeded, "split = { column = \"split\" }"));
    let table = work.read("words.csv");
    let (header, lines) = table.split_once('\n').unwrap();
    let set = |row: usize| ["train", "test", "train", "dev", "train", "train", "ood"][row % 7];
    let divided: String = lines.lines().enumerate().map(|(row, line)| format!("{line},{}\n", set(row))).collect();
    std::fs::write(work.path("words.csv"), format!("{header},split\n{divided}")).unwrap();
    let test: Vec<&str> =
        lines.lines().enumerate().filter(|(row, _)| set(*row) == "test").map(|(_, line)| line).collect();
    std::fs::write(work.path("new.csv"), format!("{header}\n{}\n", test.join("\n"))).unwrap();
    work
}

fn evaluate(work: &Work, run: &str) -> Vec<Row> {
    let printed = success(&xtask_in(work.folder.path(), ["evaluate", run, "--data", "new.csv"]));
    let found = rows(work, &format!("{run}/evaluation-new"));
    assert!(found.iter().all(|row| row.data == "new.csv" && printed.contains(&row.run)), "{printed}");
    for file in ["results.csv", "table.md"] {
        assert!(work.path(run).join("evaluation-new").join(file).is_file(), "{file}");
    }
    found
}

/// Checks that a row has the values of the training, and that only values of other sets are absent.
fn assert_same(found: &Row, trained: &Row) {
    let absent: Vec<&str> =
        trained.measures.iter().map(|(name, _)| name).filter(|name| found.measures.get(name).is_none()).collect();
    assert!(absent.iter().all(|name| name.ends_with("_dev") || name.ends_with("_ood") || *name == "probe_train"));
    for (name, value) in found.measures.iter() {
        assert_eq!(trained.measures.get(name), Some(value), "{name}");
    }
    let new = Row { data: trained.data.clone(), measures: trained.measures.clone(), ..found.clone() };
    assert_eq!(&new, trained);
}

#[test]
fn a_circuit_probe_has_its_accuracies_again_on_its_test_rows() {
    let work =
        with_column(&(recipe("circuit_probe", "vectors = \"attn_update_0\"\nsupport_draws = 3", MASKS) + CONTROL));
    success(&train(&work, "run", []));
    let (found, trained) = (evaluate(&work, "run"), rows(&work, "run"));
    assert_eq!((found.len(), found[0].n_test), (1, 7));
    assert_same(&found[0], &trained[0]);
    for name in ["knn_test", "knn_unmasked", "knn_shuffled", "majority", "majority_test", "l0", "l0_max"] {
        assert!(found[0].number(name).is_some(), "{name}: {found:?}");
    }
    assert!(found[0].measures.get("knn_dev").is_none() && trained[0].number("knn_ood").is_some());
}

#[test]
fn a_subnetwork_probe_has_its_accuracies_again_on_its_test_rows() {
    let work = with_column(&recipe("subnetwork_probe", "vectors = \"attn_stream_0\"\nhidden = 8", MASKS));
    success(&train(&work, "run", []));
    let (found, trained) = (evaluate(&work, "run"), rows(&work, "run"));
    assert_eq!(found.iter().map(|row| &*row.run).collect::<Vec<_>>(), ["recipe-0", "recipe-0-plain"]);
    for (found, trained) in found.iter().zip(&trained) {
        assert_same(found, trained);
        for name in ["probe_test", "probe_shuffled", "f1_macro_test", "majority_test"] {
            assert!(found.number(name).is_some(), "{name}: {found:?}");
        }
    }
    assert!(found[0].number("l0").is_some() && found[1].measures.get("l0") == Some(&Value::Null));
    // Other labels give another accuracy: the results are those of the file.
    let swapped =
        work.read("new.csv").replace("singular", "x").replace("plural", "singular").replace(",x,", ",plural,");
    std::fs::write(work.path("new.csv"), swapped).unwrap();
    let other = evaluate(&work, "run")[0].number("probe_test").unwrap();
    assert!((other - (1.0 - found[0].number("probe_test").unwrap())).abs() < 1e-12, "{other}");
}

#[test]
fn a_seeded_split_keeps_its_training_rows() {
    let text = recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS) + CONTROL;
    let work = sentences(&text);
    let absolute = work.path("words.csv");
    std::fs::write(work.path("recipe.toml"), text.replace("words.csv", absolute.to_str().unwrap())).unwrap();
    success(&train(&work, "run", ["--seed", "2"]));
    let section = Document::read(work.path("run/recipe.toml")).unwrap().recipe().unwrap().data;
    let examples = Examples::read(&section, Some(&work.path("model")), ModelLimits::default()).unwrap();
    let table = work.read("words.csv");
    let lines: Vec<&str> = table.lines().collect();
    let test = examples.split().test.iter().map(|row| format!("{}\n", lines[row + 1])).collect::<String>();
    std::fs::write(work.path("new.csv"), format!("{}\n{test}", lines[0])).unwrap();
    let found = evaluate(&work, "run");
    assert_same(&found[0], &rows(&work, "run")[0]);
    assert!(found[0].number("knn_shuffled").is_some());
    // Columns that the recipe does not read are not needed.
    let lines = work.read("new.csv").replace(",size", "").replace(",big", "").replace(",small", "");
    std::fs::write(work.path("new.csv"), lines).unwrap();
    assert_eq!(evaluate(&work, "run"), found);
}

#[test]
fn without_the_groups_of_the_new_rows_the_control_has_no_labels() {
    let text = recipe("linear_probe", "vectors = \"attn_stream_0\"", "");
    let work = sentences(&text.replace("read = { word = \"noun\" }", "read = \"first\""));
    success(&train(&work, "run", []));
    std::fs::write(work.path("new.csv"), "number,sentence\nplural,word1 noun3 word2\nsingular,noun4 word5\n").unwrap();
    let found = evaluate(&work, "run");
    assert_eq!(found[0].measures.get("probe_shuffled"), Some(&Value::Null));
    assert!(found[0].number("probe_test").is_some() && found[0].n_test == 2);
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let work = with_column(&recipe("circuit_probe", "vectors = \"attn_update_0\"", MASKS));
    success(&train(&work, "run", []));
    let refused = |run: &str, expected: &str| {
        let message = failure(&xtask_in(work.folder.path(), ["evaluate", run, "--data", "new.csv"]));
        assert!(message.contains(expected), "{message}");
    };
    let message = failure(&xtask_in(work.folder.path(), ["evaluate", "run", "--data", "new.csv", "--out", "run"]));
    assert!(message.contains("`run` is the folder of a run, whose results would be overwritten"), "{message}");
    refused("model", "the run is `model`, a folder without recipe.toml, but it must be the folder of one run");

    let table = work.read("new.csv");
    std::fs::write(work.path("new.csv"), table.replacen("singular", "dual", 1)).unwrap();
    refused("run", "the class is `dual` in the test set, but the training set has only `plural`, `singular`");
    std::fs::write(work.path("new.csv"), table.replacen("sentence", "sentences", 1)).unwrap();
    refused("run", "data.text: `new.csv` has no column `sentence` (did you mean `sentences`");
    std::fs::write(work.path("new.csv"), table).unwrap();

    let weights = work.path("model/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, other).unwrap();
    refused("run", "with other weights, but the run needs the weights with which it was trained");
    std::fs::write(&weights, bytes).unwrap();

    std::fs::remove_file(work.path("run/masks.safetensors")).unwrap();
    refused("run", "cannot read `run/masks.safetensors`: no such file; the run is of another version");
    std::fs::remove_file(work.path("run/results.json")).unwrap();
    refused("run", "the run is `run`, a folder without results.json, but only finished runs are evaluated");
    std::fs::write(work.path("run/recipe.toml"), work.read("run/recipe.toml").replacen("kind", "# kind", 1)).unwrap();
    refused("run", "run/recipe.toml`, kind: missing; the run is of an old recipe form");
    assert!(!work.path("run/evaluation-new").exists());
}

#[test]
fn arithmetic_has_no_other_data() {
    let work = trained(PROBE);
    std::fs::write(work.path("recipe.toml"), PROBE).unwrap();
    success(&train(&work, "new", []));
    std::fs::write(work.path("new.csv"), "a,b\n1,2\n").unwrap();
    let message = failure(&xtask_in(work.folder.path(), ["evaluate", "new", "--data", "new.csv"]));
    assert!(message.contains("data: no table, but only a table can have another test set"), "{message}");
}
