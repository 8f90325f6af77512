//! Tests of commands that judge circuits: attribution, mean and resample ablation, and faithfulness curves.

use serde_json::Value;

use super::golden;
use super::work::{Work, failure, path, success, xtask};

/// Attribution in the shipped model of arithmetic.
const ATTRIBUTION: &str = r#"
kind = "attribution"
model = "MODEL"

[data]
arithmetic = { task = "square_difference", modulus = 113 }
label = "answer"
split = { seeded = { train = 0.05, dev = 0.05, seed = 0 } }

[circuit_config]
target_layers = ["transformer.h.0.attn.*"]

[circuit_config.mask_hparams]
mask_unit = "neuron"

[behaviour]
metrics = ["accuracy", "logit_difference"]
sets = ["dev"]

[evaluation]
controls = 2
ablations = ["zero", "mean", "mean_position", "resample"]
"#;

fn recipe(changes: &[(&str, &str)]) -> Work {
    let model = golden().join("../../models/arithmetic");
    let text = changes.iter().fold(ATTRIBUTION.to_string(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    Work::new(&text.replace("MODEL", path(&model)))
}

fn row(work: &Work, run: &str) -> Value {
    serde_json::from_str::<Value>(&work.read(&format!("{run}/results.json"))).unwrap()[0].clone()
}

#[test]
fn neurons_are_scored_and_their_circuit_is_ablated_in_every_way() {
    let work = recipe(&[]);
    success(&work.train("run"));
    let row = row(&work, "run");
    assert_eq!(
        (row["kind"].as_str(), row["units"].as_u64(), row["units_kept"].as_u64()),
        (Some("attribution"), Some(512), Some(51))
    );
    let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"));
    // 6,528 weights: 51 neurons with 128 inputs.
    assert_eq!((number("l0"), number("l0_max")), (6528.0, 65536.0));
    for ablation in ["zero", "mean", "mean_position", "resample"] {
        let ablated = number(&format!("logit_difference_dev_{ablation}"));
        assert!(ablated < number("logit_difference_dev"), "{ablation}: {ablated}");
        assert!(number(&format!("logit_difference_dev_{ablation}_p")) > 0.0);
        assert!(ablated < number(&format!("logit_difference_dev_{ablation}_random_mean")), "{ablation}");
    }
    assert!(number("logit_difference_dev_mean_circuit") < number("logit_difference_dev"));
    assert!(work.path("run/scores.safetensors").is_file() && !work.path("run/training.png").exists());
    // Other commands take the run as a circuit.
    success(&xtask(["circuit", "show", path(&work.path("run"))]));
    let (run, small) = (work.path("run"), work.path("small"));
    let printed = success(&xtask(["circuit", "resize", path(&run), "--share", "0.02", "--out", path(&small)]));
    assert!(printed.contains("10 of 512 units"), "{printed}");
    let message = failure(&xtask(["circuit", "resize", path(&run), "--share", "0.001", "--out", path(&small)]));
    assert!(message.contains("--share is 0.001") && message.contains("512 units"), "{message}");
    let message = failure(&xtask(["circuit", "resize", path(&run), "--share", "0.5", "--out", path(&run)]));
    assert!(message.contains("--out"), "{message}");
    let ablated = success(&xtask(["circuit", "ablate", path(&small), "--controls", "2", "--ablation", "mean"]));
    assert!(ablated.contains("1,280 / 65,536") && ablated.contains("| all    | mean "), "{ablated}");
    let printed = success(&xtask(["curve", path(&work.path("run")), "--set", "dev", "--random", "2"]));
    for expected in
        ["| 100%  | 512", "with all 512 units", "CPR", "of 2 random rankings", "circuit of the run: 51 units"]
    {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    let curve: Value = serde_json::from_str(&work.read("run/curve.json")).unwrap();
    let points = curve["curve"]["points"].as_array().unwrap();
    let sizes: Vec<u64> = points.iter().map(|point| point["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [0, 1, 2, 5, 10, 25, 51, 102, 256, 512]);
    let ends = [&points[0], &points[9]].map(|point| point["faithfulness"].as_f64().unwrap());
    assert_eq!(ends, [0.0, 1.0]);
    assert_eq!(points[9]["complement_faithfulness"].as_f64(), Some(0.0));
    assert_eq!(points[9]["random"][0].as_f64(), Some(1.0));
    // The circuit of the run keeps the units of the point with its size.
    let found = curve["found"]["faithfulness"].as_f64().unwrap();
    assert!((found - points[6]["faithfulness"].as_f64().unwrap()).abs() < 1e-9);
    assert!(work.path("run/curve.png").is_file() && work.path("run/curve.svg").is_file());
}

#[test]
fn methods_with_partners_and_another_objective() {
    let partner = ("label = \"answer\"", "label = \"answer\"\npartner = { derange = { seed = 0 } }");
    for method in ["attribution_patching", "integrated_gradients"] {
        let section = format!(
            "[attribution]\nmethod = \"{method}\"\nobjective = \"logit_difference\"\nshare = 0.02\n\n[behaviour]"
        );
        let work = recipe(&[
            partner,
            ("[behaviour]", &section),
            ("[\"zero\", \"mean\", \"mean_position\", \"resample\"]", "[\"zero\"]"),
        ]);
        success(&work.train("run"));
        assert_eq!(row(&work, "run")["units_kept"].as_u64(), Some(10), "{method}");
        let sites: Value = serde_json::from_str(&work.read("run/site_scores.json")).unwrap();
        assert_eq!(
            (sites["heads_0"].as_array().unwrap().len(), sites["mlp_update_0"].as_array().unwrap().len()),
            (4, 1)
        );
    }
}

#[test]
fn several_runs_are_chosen_from_on_the_dev_set() {
    let work = recipe(&[
        ("[\"zero\", \"mean\", \"mean_position\", \"resample\"]", "[\"zero\"]"),
        ("[behaviour]", "[attribution]\nshare = 1.0\n\n[behaviour]"),
    ]);
    success(&work.train("all"));
    let few = work.read("recipe.toml").replace("share = 1.0", "share = 0.05");
    std::fs::write(work.path("recipe.toml"), few).unwrap();
    success(&work.train("few"));
    let (all, few, out) = (work.path("all"), work.path("few"), work.path("out"));
    let arguments = ["curve", path(&few), path(&all), "--set", "dev", "--random", "0", "--out", path(&out)];
    let printed = success(&xtask(arguments));
    assert!(printed.contains(&format!("chosen: {}", all.display())), "{printed}");
    let curve: Value = serde_json::from_str(&work.read("out/curve.json")).unwrap();
    assert_eq!((curve["dev"].as_array().unwrap().len(), curve["circuits"].as_array().unwrap().len()), (2, 2));
    assert!(curve["curve"]["random_areas"].is_null());
}

#[test]
fn what_cannot_be_done_says_why() {
    let refused = |changes: &[(&str, &str)]| {
        let work = recipe(changes);
        let message = failure(&work.train("run"));
        assert!(!work.path("run").exists(), "{message}");
        message
    };
    let neuron = ("mask_unit = \"neuron\"", "mask_unit = \"weight\"");
    assert!(refused(&[neuron]).contains("units are neurons"), "{}", refused(&[neuron]));
    let share = ("[behaviour]", "[attribution]\nshare = 0.001\n\n[behaviour]");
    let message = failure(&recipe(&[share]).train("run"));
    assert!(message.contains("attribution.share") && message.contains("512 units"), "{message}");
    let partners = ("[behaviour]", "[attribution]\nmethod = \"attribution_patching\"\n\n[behaviour]");
    let message = failure(&recipe(&[partners]).train("run"));
    assert!(message.contains("data.partner"), "{message}");
    let training = ("[behaviour]", "[training]\nepochs = 1\nbatch_size = 5\n\n[behaviour]");
    assert!(
        refused(&[training]).contains("an attribution does not read it")
            || refused(&[training]).contains("a attribution does not read it")
    );
    let outside = ("transformer.h.0.attn.*", "lm_head");
    assert!(refused(&[outside]).contains("lm_head"), "{}", refused(&[outside]));
    let weights = [
        ("kind = \"attribution\"", "kind = \"circuit\""),
        neuron,
        ("[behaviour]", "[training]\nepochs = 1\nbatch_size = 5\n\n[behaviour]"),
    ];
    let message = refused(&weights);
    assert!(message.contains("evaluation.ablations") && message.contains("single weights"), "{message}");
    let message = failure(&xtask(["curve", "nowhere"]));
    assert!(message.contains("nowhere"), "{message}");
}
