//! Tests of `circuit test` on small probes of arithmetic.

use std::process::Output;

use serde_json::Value;

use super::probe::{PROBE, trained};
use super::work::{Work, command, failure, success};

/// A trained model in `run` and a probe in `probe`.
fn work(recipe: &str) -> Work {
    let work = trained(recipe);
    success(&command(work.folder.path(), ["train", "probe.toml", "--out", "probe"]).output().unwrap());
    work
}

fn test(work: &Work, run: &str, options: &[&str]) -> Output {
    command(work.folder.path(), ["circuit", "test", run]).args(options).output().unwrap()
}

#[test]
fn the_tests_are_told_in_words_and_written_as_numbers() {
    let work = work(PROBE);
    let printed = success(&test(&work, "probe", &["--random", "30", "--json", "tests.json"]));
    for part in [
        "of 24 units",
        "10 examples of test; 30 random sets of units a test; ablation zero",
        "| without circuit |",
        "equivalence: ",
        "independence: ",
        "sufficiency: ",
        "partial necessity: ",
        "minimality of heads and MLPs: ",
        "minimality of layers: ",
        "| layer 0 head 1 |",
        "| transformer.h.0.attn.c_attn |",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let json: Value = serde_json::from_str(&work.read("tests.json")).unwrap();
    assert_eq!((&json["set"], &json["ablation"], &json["random"]), (&"test".into(), &"zero".into(), &30.into()));
    assert_eq!((&json["examples"], &json["examples_of_set"], &json["units"]), (&10.into(), &10.into(), &24.into()));
    assert_eq!(json["sufficiency"]["random_distances"].as_array().unwrap().len(), 30);
    assert!(json["equivalence"]["p_value"].is_f64() && json["independence"]["hsic"].is_f64(), "{json}");
    assert_eq!(json["components"]["parts"][0]["name"], "layer 0 head 0");

    let again = success(&test(&work, "probe", &["--random", "30", "--json", "again.json"]));
    let without_time = |page: &str| page.lines().filter(|line| !line.ends_with(" s")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_time(&again), without_time(&printed));

    let few = success(&test(&work, "probe", &["--random", "5", "--examples", "4", "--ablation", "mean"]));
    assert!(few.contains("4 examples of test, the first of 10") && few.contains("ablation mean"), "{few}");
    assert!(few.contains("too few random sets"), "{few}");
    success(&test(&work, "probe", &["--random", "5", "--set", "train", "--ablation", "resample"]));
}

#[test]
fn what_cannot_be_tested_says_why() {
    let weights = work(&PROBE.replace("mask_unit = \"neuron\"", "mask_unit = \"weight\""));
    success(&test(&weights, "probe", &["--random", "2"]));
    let refused = |run: &str, options: &[&str], parts: &[&str]| {
        let message = failure(&test(&weights, run, options));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused("probe", &["--ablation", "mean"], &["single weights are masked", "`zero`"]);
    refused("run", &[], &["masks.safetensors"]);
    refused("nowhere", &[], &["nowhere"]);
    refused("probe", &["--set", "validation"], &["validation", "test", "ood"]);
    refused("probe", &["--set", "ood"], &["the set is `ood`", "no example"]);
    refused("probe", &["--random", "0"], &["random is 0"]);
    refused("probe", &["--quantile", "1.5"], &["quantile is 1.5"]);
    refused("probe", &["--epsilon", "0.7"], &["epsilon is 0.7", "0.5"]);
}
