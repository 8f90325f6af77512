//! Tests of `results`: rows next to reference values, and the published values that are shipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ns_train::{ReferenceRow, read_reference};
use serde_json::{Value, json};

use crate::golden;
use crate::work::{Work, failure, success, xtask_in};

fn published() -> PathBuf {
    golden().join("../../models/agreement/published.csv")
}

/// A folder `run` with the results of two seeds at one site of GPT-2 small.
fn work() -> Work {
    let work = Work::new("");
    let row = |seed: usize, accuracy: f64| {
        json!({
            "run": format!("gpt2-number-{seed}"), "kind": "circuit_probe", "model": "../gpt2",
            "data": "grammars/subject-verb.toml", "variable": "number", "site": "attn_update_6", "layer": 6,
            "block": "attn", "seed": seed, "n_train": 2000, "n_test": 1000, "knn_test": 0.99, "knn_shuffled": 0.5,
            "accuracy_test": accuracy, "l0": 349_440
        })
    };
    std::fs::create_dir(work.path("run")).unwrap();
    std::fs::write(work.path("run/results.json"), json!([row(0, 0.5), row(1, 1.0)]).to_string()).unwrap();
    std::fs::copy(published(), work.path("published.csv")).unwrap();
    work
}

#[test]
fn rows_are_compared_with_the_published_ones() {
    let work = work();
    let arguments = ["results", "run", "--reference", "published.csv", "--json", "comparison.json"];
    let printed = success(&xtask_in(work.folder.path(), arguments));
    let expected = "\
| site          | seeds | 1-NN test             | accuracy              | circuit size          |
| ------------- | ----- | --------------------- | --------------------- | --------------------- |
| attn_update_6 | 2     | 0.990 ± 0.000 / 1.000 | 0.750 ± 0.354 / 0.945 | 349,440 ± 0 / 349,440 |
each cell: run / published.csv
";
    assert_eq!(printed, expected);
    let rows: Value = serde_json::from_str(&work.read("comparison.json")).unwrap();
    assert_eq!((&rows[0]["model"], &rows[0]["data"]), (&"gpt2".into(), &"subject-verb.toml".into()));
    assert_eq!(rows[0]["measures"]["accuracy_test"]["reference"], json!({ "mean": 0.945, "sd": null }));
}

#[test]
fn results_of_a_run_are_a_reference() {
    let work = work();
    let arguments = ["results", "run", "--reference", "run/results.json"];
    let printed = success(&xtask_in(work.folder.path(), arguments));
    assert!(printed.contains("| 0.750 ± 0.354 / 0.750 ± 0.354 |"), "{printed}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let work = work();
    let refused = |folder: &str, file: &str, expected: &str| {
        let message = failure(&xtask_in(work.folder.path(), ["results", folder, "--reference", file]));
        assert!(message.contains(expected), "{message}");
    };
    refused("none", "published.csv", "cannot read `none/results.json`");
    refused("run", "none.csv", "cannot read `none.csv`");
    std::fs::write(work.path("other.csv"), "model,data,variable,site,knn_test\nbert,a.csv,size,attn_update_6,1\n")
        .unwrap();
    refused("run", "other.csv", "the reference has model `bert`; data `a.csv`; variable `size`; site `attn_update_6`");
    std::fs::write(work.path("run/results.json"), "{}").unwrap();
    refused("run", "published.csv", "cannot read `run/results.json`: invalid type: map");
    assert!(failure(&xtask_in(work.folder.path(), ["results", "run"])).contains("--reference <FILE>"));
}

fn row_of<'a>(rows: &'a [ReferenceRow], model: &str, data: &str, site: &str) -> &'a ReferenceRow {
    let is_asked = |row: &&ReferenceRow| row.model == model && row.data == data && row.site.as_deref() == Some(site);
    rows.iter().find(is_asked).unwrap_or_else(|| panic!("{model} {data} {site}"))
}

#[test]
fn the_published_values_have_each_site_once() {
    let rows = read_reference(published()).unwrap();
    let mut sites: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for row in &rows {
        let site = row.site.as_deref().unwrap();
        assert!(sites.entry((&row.data, &row.model)).or_default().insert(site), "{row:?}");
        let expected = if row.data == "syntactic-number.toml" { "attractor_number" } else { "number" };
        assert_eq!(row.variable.as_deref(), Some(expected));
        // Without a circuit there is no random control.
        let number = |name: &str| row.measures.get(name).and_then(Value::as_f64);
        assert_eq!(number("l0") == Some(0.0), number("accuracy_test_zero_complement_mean").is_none(), "{row:?}");
    }
    assert_eq!(sites.len(), 8);
    for ((data, model), sites) in sites {
        assert_eq!(sites.len(), if model == "gpt2" { 24 } else { 48 }, "{data} {model}");
    }
}

/// The table of experiment 4 in the paper: 1-NN, then intact, ablated and complement ablated on the test and ood sets.
#[test]
fn the_published_values_are_those_of_the_paper() {
    let rows = read_reference(published()).unwrap();
    let names = ["", "_zero", "_zero_complement_mean"];
    let names: Vec<String> =
        ["test", "ood"].iter().flat_map(|set| names.map(|name| format!("accuracy_{set}{name}"))).collect();
    for (model, data, site, knn, accuracies) in [
        ("gpt2", "subject-verb.toml", "attn_update_6", Some(1.0), &[0.945, 0.819, 0.950, 0.909, 0.719, 0.902][..]),
        ("gpt2", "reflexives.toml", "attn_update_6", Some(0.998), &[0.850, 0.770, 0.874, 0.708, 0.655, 0.759]),
        ("gpt2", "reflexives-feminine.csv", "attn_update_6", None, &[0.726, 0.625, 0.728, 0.554, 0.532, 0.613]),
        ("gpt2-medium", "reflexives.toml", "attn_update_7", Some(0.996), &[0.904, 0.821, 0.914, 0.757, 0.649, 0.780]),
        ("gpt2", "syntactic-number.toml", "mlp_update_0", Some(1.0), &[0.953, 0.512, 0.926]),
        ("gpt2-medium", "syntactic-number.toml", "mlp_update_1", Some(1.0), &[0.975, 0.513, 0.973]),
    ] {
        let row = row_of(&rows, model, data, site);
        let number = |name: &str| row.measures.get(name).and_then(Value::as_f64);
        assert_eq!(number("knn_test"), knn, "{row:?}");
        for (name, expected) in names.iter().zip(accuracies) {
            let found = number(name).unwrap();
            assert!((found - expected).abs() < 6e-4, "{name} is {found}, not {expected}: {row:?}");
        }
        assert_eq!(number("accuracy_ood").is_some(), accuracies.len() == 6);
    }
}
