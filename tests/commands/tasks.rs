//! Tests of `train`, `circuit train`, `circuit ablate` and `circuit show` with small models of the digits.

use std::path::PathBuf;

use ns_train::{AblationReport, CircuitRow};

use super::{
    golden,
    work::{Work, failure, path, success, xtask},
};

const MODEL: &str = r#"
architecture = "ViTForImageClassification"
epochs = 2
batch_size = 400
[model]
model_type = "vit"
image_size = 8
patch_size = 4
num_channels = 1
hidden_size = 8
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 8
"#;
const CIRCUIT: &str = r#"
model = "trained/model"
epochs = 2
batch_size = 400
final_temperature = 10.0
l0_lambdas = [1e-4, 1e-2]
controls = 3
[circuit_config]
mask_method = "continuous_sparsification"
target_layers = ["vit.encoder.layer.0.intermediate.dense", "vit.encoder.layer.1.intermediate.dense"]
add_l0 = true
[circuit_config.mask_hparams]
mask_unit = "neuron"
mask_init_value = 0.1
"#;

fn data() -> String {
    let file = golden().join("../../models/digits/data/digits.csv");
    format!(
        "[data.images]\npath = {:?}\nshape = [8, 8]\nmaximum = 16.0\nsplit = {{ seeded = {{ train_fraction = 0.8, seed = 0 }} }}\n",
        path(&file)
    )
}

fn work() -> Work {
    let work = Work::new(&format!("{MODEL}{}", data()));
    std::fs::write(work.path("circuit.toml"), format!("{CIRCUIT}{}", data())).unwrap();
    let printed = success(&work.train("trained"));
    assert!(printed.contains("on the test split (majority class: "), "{printed}");
    work
}

fn circuit(work: &Work, arguments: [&str; 4]) -> std::process::Output {
    let [command, circuit, option, value] = arguments;
    xtask(["circuit", command, path(&work.path(circuit)), option, path(&work.path(value))])
}

#[test]
fn a_model_is_trained_and_circuits_of_it_are_found_ablated_and_drawn() {
    let work = work();
    let config: serde_json::Value = serde_json::from_str(&work.read("trained/model/config.json")).unwrap();
    assert_eq!((&config["id2label"]["7"], &config["label2id"]["9"]), (&"7".into(), &9.into()));

    let printed = success(&circuit(&work, ["train", "circuit.toml", "--out", "circuits"]));
    assert!(printed.contains("| 1e-4") && printed.contains("| 1e-2"), "{printed}");
    let rows: Vec<CircuitRow> = serde_json::from_str(&work.read("circuits/results.json")).unwrap();
    assert_eq!(rows.iter().map(|row| row.l0_max).collect::<Vec<_>>(), [128.0, 128.0]);
    for file in ["accuracy-size.png", "lambda-1e-4/masks.safetensors", "lambda-1e-4/circuit_config.json"] {
        assert!(work.path("circuits").join(file).is_file(), "{file}");
    }

    let again = success(&circuit(&work, ["train", "circuit.toml", "--out", "circuits"]));
    assert_eq!(again, printed, "a finished run is not repeated, and prints the same numbers");

    let printed = success(&circuit(&work, ["ablate", "circuits/lambda-1e-4", "--json", "report.json"]));
    assert!(printed.contains("full model: accuracy"), "{printed}");
    let run = work.path("circuits/lambda-1e-4");
    let printed = success(&xtask(["circuit", "ablate", path(&run), "--controls", "0", "--subset", "first=*.0.*"]));
    let row = printed.lines().find(|line| line.starts_with("| first")).unwrap();
    assert!(row.contains(" / 64 "), "one of two layers: {row}");
    let report: AblationReport = serde_json::from_str(&work.read("report.json")).unwrap();
    assert_eq!(report.full, rows[0].ablation.full);
    assert_eq!(report.rows[0].zero_ablate, rows[0].ablation.rows[0].zero_ablate);

    let figure = work.path("figure.svg");
    success(&xtask(["circuit", "show", path(&work.path("circuits/lambda-1e-4")), "--out", path(&figure)]));
    assert!(std::fs::read_to_string(figure).unwrap().contains("<svg"));
}

#[test]
fn what_cannot_work_says_why_and_leaves_nothing() {
    let work = work();
    let refused = |change: &dyn Fn(String) -> String, parts: &[&str]| {
        let recipe = change(format!("{CIRCUIT}{}", data()));
        std::fs::write(work.path("changed.toml"), recipe).unwrap();
        let message = failure(&circuit(&work, ["train", "changed.toml", "--out", "none"]));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!work.path("none").exists(), "{message}");
    };
    refused(
        &|recipe| recipe.replace("layer.1.intermediate", "layer.2.intermediate"),
        &["vit.encoder.layer.2", "nearest"],
    );
    refused(&|recipe| recipe.replace("trained/model", "elsewhere"), &["elsewhere"]);
    refused(&|recipe| recipe.replace("shape = [8, 8]", "shape = [9, 9]"), &["no column `p64`"]);
    refused(&|recipe| recipe.replace("epochs = 2", "epochs = 0"), &["epochs is 0"]);
    refused(&|recipe| recipe.replace("[circuit_config]", "[circuit]"), &["circuit"]);
    let message = failure(&circuit(&work, ["ablate", "trained", "--json", "report.json"]));
    assert!(message.contains("masks.safetensors"), "{message}");
}

#[test]
fn a_subset_that_is_no_subset_is_refused() {
    let folder = PathBuf::from("/no/such/run");
    for subset in ["all", "=a", "x="] {
        let message = failure(&xtask(["circuit", "ablate", path(&folder), "--subset", subset]));
        assert!(message.contains("NAME=LAYER,LAYER"), "{message}");
    }
}
