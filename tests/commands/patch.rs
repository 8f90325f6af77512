//! Tests of `patch`: activation patching on the shipped language model, and what is refused.

use std::process::Output;

use ns_train::{PatchKind, PatchReport};

use crate::support::golden;
use crate::work::{Work, command, failure, path, success};

/// Patches the shipped model on the sentences of a grammar.
fn shipped(work: &Work, grammar: &str, options: &[&str]) -> Output {
    let recipe = golden().join("../../models/agreement/circuits-of-number.toml").canonicalize().unwrap();
    let mut patch = command(work.folder.path(), ["patch", path(&recipe), "--set", "data.partner=partner"]);
    patch.arg("--set").arg(format!("data.grammar=grammars/{grammar}.toml")).args(options).output().unwrap()
}

fn report(work: &Work, folder: &str) -> PatchReport {
    serde_json::from_str(&work.read(&format!("{folder}/patch.json"))).unwrap()
}

#[test]
fn the_number_is_at_the_subject_and_then_at_the_verb() {
    let work = Work::new("");
    let printed = success(&shipped(&work, "object-clause", &["--examples", "5", "--heads"]));
    assert!(printed.contains("5 examples of test: logit difference"), "{printed}");
    assert!(printed.contains("results and figure in runs/circuits-of-number-patch"), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.contains(" of layer ")).count(), 5, "{printed}");
    let found = report(&work, "runs/circuits-of-number-patch");
    assert!(found.clean > 1.0 && found.corrupted < -1.0, "{found:?}");
    assert!(found.model.ends_with("models/agreement") && found.data.ends_with("object-clause.toml"), "{found:?}");
    let tokens: Vec<&str> = found.positions.iter().map(|position| position.token.as_deref().unwrap()).collect();
    assert_eq!((tokens.len(), tokens[0], tokens[2], tokens[3]), (6, "the", "that", "the"));
    assert_eq!(found.maps.iter().map(|map| map.kind).collect::<Vec<_>>(), PatchKind::ALL);
    // The subject alone differs, and the stream of the last block at the last token is what the head reads.
    let stream = &found.maps[0].rows;
    let restored = |row: usize| stream[row].normalised.iter().map(|value| value.unwrap().round()).collect::<Vec<_>>();
    assert_eq!((restored(0), restored(4)), (vec![0.0, 1.0, 0.0, 0.0, 0.0, 0.0], vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0]));
    assert_eq!(found.maps[4].rows[3].normalised.len(), 4);
    for file in ["patch.png", "patch.svg"] {
        assert!(work.path("runs/circuits-of-number-patch").join(file).is_file(), "{file}");
    }
}

#[test]
fn sites_sets_and_examples_of_unequal_length_are_chosen() {
    let work = Work::new("");
    let options = ["--set", "ood", "--examples", "8", "--sites", "mlp_update_*", "heads_1", "--out", "out"];
    success(&shipped(&work, "subject-verb", &options));
    let found = report(&work, "out");
    assert_eq!((found.set.name(), found.examples), ("ood", 8));
    let sites: Vec<&str> = found.maps.iter().flat_map(|map| &map.rows).map(|row| row.site.as_str()).collect();
    assert_eq!(sites, ["mlp_update_0", "mlp_update_1", "mlp_update_2", "mlp_update_3", "heads_1"]);
    assert_eq!(found.positions.last().unwrap().index, -1);
    assert!(found.positions.iter().all(|position| position.token.is_none()));
    assert!(found.positions[0].examples < 8, "{:?}", found.positions);
}

#[test]
fn what_is_asked_for_must_exist() {
    let work = Work::new("");
    let refused = |options: &[&str], expected: &str| {
        let message = failure(&shipped(&work, "object-clause", options));
        assert!(message.contains(expected), "{message}");
    };
    refused(&["--sites", "attn_update_9"], "--sites is `attn_update_9`, but the model has 4 blocks");
    refused(&["--sites", "heads_4"], "--sites is `heads_4`, but the model has heads_0 to heads_3");
    refused(&["--set", "dev"], "--set is `dev`, but no example is in it");
    refused(&["--set", "validation"], "--set is `validation`, but it must be train, dev, test, ood, or KEY=VALUE");
    refused(&["--set", "test", "--set", "ood"], "--set names several sets of examples");
    refused(&["--examples", "0"], "--examples is 0, but it must be at least 1");
    refused(
        &["--set", "data.partner=sentence"],
        "activation patching needs partners on which the model answers differently",
    );
    assert!(!work.path("runs").exists(), "nothing is written");
}

/// Pairs of sentences in a table, for the shipped model. The partner of the third row has another length.
fn pairs() -> Work {
    let model = golden().join("../../models/agreement").canonicalize().unwrap();
    let work = Work::new(&format!(
        "kind = \"circuit\"\nmodel = \"{}\"\n\n[data]\npath = \"pairs.csv\"\ntext = \"sentence\"\nread = \"last\"\n\
         split = {{ column = \"set\" }}\n\n[behaviour]\nanswer = {{ right = \"right\", wrong = \"wrong\" }}\n",
        path(&model)
    ));
    let table = "sentence,partner,right,wrong,set\nthe author,the authors, is, are,train\n\
                 the pilots,the pilot, are, is,test\nthe pilot,the authors that, is, are,test\n";
    std::fs::write(work.path("pairs.csv"), table).unwrap();
    work
}

fn patch(work: &Work, sets: &[&str]) -> Output {
    let mut patch = command(work.folder.path(), ["patch", "recipe.toml"]);
    sets.iter().for_each(|set| {
        patch.args(["--set", set]);
    });
    patch.output().unwrap()
}

#[test]
fn partners_are_needed_and_have_the_length_of_their_row() {
    let work = pairs();
    let refused = |sets: &[&str], expected: &str| {
        let message = failure(&patch(&work, sets));
        assert!(message.contains(expected), "{message}");
    };
    refused(&[], "recipe.toml`, line 4, data.partner: missing, but it names the column with the counterfactual text");
    refused(&["data.partner=other"], "data.partner: `pairs.csv` has no column `other`");
    let partner = "data.partner=partner";
    refused(&[partner], "pairs.csv`, line 4: the partner is 3 tokens long, but its row has 2");
    refused(&[partner, "behaviour.answer=label"], "data.label: missing, but an example has one answer");
    refused(&[partner, "model={ model_type = \"gpt2\" }"], "model: a fresh model, but patching needs a trained model");
    assert!(!work.path("runs").exists(), "nothing is written");
    // Rows of other sets do not matter.
    success(&patch(&work, &[partner, "train"]));
    assert_eq!(report(&work, "runs/recipe-patch").positions.len(), 2);
}

#[test]
fn images_have_patches_and_a_resnet_has_no_residual_stream() {
    let work = Work::new("");
    let digits = |recipe: &str| {
        let recipe = golden().join("../../models/digits").join(recipe).canonicalize().unwrap();
        let partner = "data.partner={ derange = { seed = 0 } }";
        let mut patch = command(work.folder.path(), ["patch", path(&recipe), "--set", partner, "--out", "digits"]);
        patch.args(["--examples", "3", "--sites", "attn_*"]).output().unwrap()
    };
    success(&digits("circuit-vit.toml"));
    let found = report(&work, "digits");
    let names: Vec<&str> = found.positions.iter().take(2).map(|position| position.token.as_deref().unwrap()).collect();
    assert_eq!(names, ["class", "patch 0"]);
    assert_eq!(
        found.maps.iter().map(|map| map.kind).collect::<Vec<_>>(),
        [PatchKind::AttnStream, PatchKind::AttnUpdate]
    );
    let message = failure(&digits("circuit-resnet.toml"));
    assert!(message.contains("residual stream"), "{message}");
}
