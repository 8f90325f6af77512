//! Tests of `train` with models and circuits, `circuit ablate` and `circuit show`, on small models of the digits.

use std::path::PathBuf;
use std::process::Output;

use ns_train::{AblationReport, Row};

use super::{
    golden,
    work::{Work, failure, path, success, xtask},
};

const MODEL: &str = r#"
kind = "model"
head = "ViTForImageClassification"
[training]
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
kind = "circuit"
model = "trained/model"
[training]
epochs = 2
batch_size = 400
final_temperature = 10.0
[evaluation]
controls = 3
[sweep]
"circuit_config.l0_lambda" = [1e-4, 1e-2]
[circuit_config]
target_layers = ["vit.encoder.layer.0.intermediate.dense", "vit.encoder.layer.1.intermediate.dense"]
[circuit_config.mask_hparams]
mask_unit = "neuron"
mask_init_value = 0.1
"#;
/// A run of the sweep.
const RUN: &str = "circuits/circuit-circuit_config.l0_lambda=1e-4-0";

fn data() -> String {
    let file = golden().join("../../models/digits/data/digits.csv");
    format!(
        "[data]\npath = {:?}\npixels = {{ shape = [8, 8], maximum = 16.0 }}\nlabel = \"label\"\nsplit = {{ seeded = {{ train = 0.8, seed = 0 }} }}\n",
        path(&file)
    )
}

fn work() -> Work {
    let work = Work::new(&format!("{MODEL}{}", data()));
    std::fs::write(work.path("circuit.toml"), format!("{CIRCUIT}{}", data())).unwrap();
    let printed = success(&work.train("trained"));
    assert!(printed.contains("model in"), "{printed}");
    work
}

fn train(work: &Work, recipe: &str, out: &str) -> Output {
    xtask(["train", path(&work.path(recipe)), "--out", path(&work.path(out))])
}

fn ablate(work: &Work, run: &str) -> Output {
    xtask(["circuit", "ablate", path(&work.path(run)), "--json", path(&work.path("report.json"))])
}

#[test]
fn a_model_is_trained_and_circuits_of_it_are_found_ablated_and_drawn() {
    let work = work();
    let config: serde_json::Value = serde_json::from_str(&work.read("trained/model/config.json")).unwrap();
    assert_eq!((&config["id2label"]["7"], &config["label2id"]["9"]), (&"7".into(), &9.into()));

    let printed = success(&train(&work, "circuit.toml", "circuits"));
    assert!(printed.contains("l0_lambda=1e-4") && printed.contains("l0_lambda=1e-2"), "{printed}");
    let rows: Vec<Row> = serde_json::from_str(&work.read("circuits/results.json")).unwrap();
    assert_eq!(rows.iter().map(|row| row.number("l0_max")).collect::<Vec<_>>(), [Some(128.0), Some(128.0)]);
    for file in ["masks.safetensors", "circuit_config.json"] {
        assert!(work.path(RUN).join(file).is_file(), "{file}");
    }

    let again = success(&train(&work, "circuit.toml", "circuits"));
    assert_eq!(again, printed, "a finished run is not repeated, and prints the same numbers");

    let printed = success(&ablate(&work, RUN));
    assert!(printed.contains("full model: accuracy"), "{printed}");
    let run = work.path(RUN);
    let printed = success(&xtask(["circuit", "ablate", path(&run), "--controls", "0", "--subset", "first=*.0.*"]));
    let row = printed.lines().find(|line| line.starts_with("| first")).unwrap();
    assert!(row.contains(" / 64 "), "one of two layers: {row}");
    let report: AblationReport = serde_json::from_str(&work.read("report.json")).unwrap();
    let of_run: AblationReport = serde_json::from_value(rows[0].measures.get("ablation").unwrap().clone()).unwrap();
    assert_eq!((report.full, report.rows[0].zero_ablate), (of_run.full, of_run.rows[0].zero_ablate));
    assert_eq!(rows[0].number("accuracy_test_zero"), Some(of_run.rows[0].zero_ablate.accuracy));
    assert_eq!(rows[0].number("kl_test_zero"), of_run.rows[0].zero_ablate.kl_to_full);

    let figure = work.path("figure.svg");
    success(&xtask(["circuit", "show", path(&work.path(RUN)), "--out", path(&figure)]));
    assert!(std::fs::read_to_string(figure).unwrap().contains("<svg"));
}

#[test]
fn what_cannot_work_says_why_and_leaves_nothing() {
    let work = work();
    let refused = |change: &dyn Fn(String) -> String, parts: &[&str]| {
        let recipe = change(format!("{CIRCUIT}{}", data()));
        std::fs::write(work.path("changed.toml"), recipe).unwrap();
        let message = failure(&train(&work, "changed.toml", "none"));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!work.path("none/results.json").exists(), "{message}");
    };
    refused(
        &|recipe| recipe.replace("layer.1.intermediate", "layer.2.intermediate"),
        &["vit.encoder.layer.2", "nearest"],
    );
    refused(&|recipe| recipe.replace("trained/model", "elsewhere"), &["elsewhere"]);
    refused(
        &|recipe| recipe.replace("shape = [8, 8]", "shape = [9, 9]"),
        &["data.size: [8, 8]", "at least `data.pixels.shape`"],
    );
    refused(&|recipe| recipe.replace("epochs = 2", "epochs = 0"), &["training.epochs: 0"]);
    refused(&|recipe| recipe.replace("[circuit_config]", "[circuit]"), &["circuit"]);
    let message = failure(&ablate(&work, "trained"));
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

#[test]
fn the_answers_are_those_of_the_models_own_head() {
    let work = work();
    let accuracy = |out: &str| {
        let [recipe, out_folder] = ["circuit.toml", out].map(|name| work.path(name));
        let sweep = "sweep={\"circuit_config.l0_lambda\" = [1e-4]}";
        success(&xtask(["train", path(&recipe), "--out", path(&out_folder), "--set", sweep]));
        let rows: Vec<Row> = serde_json::from_str(&work.read(&format!("{out}/results.json"))).unwrap();
        rows[0].number("accuracy_test").unwrap()
    };
    let own = accuracy("own");
    // The classes have other indices in the head than in the order of their names.
    let mut config: serde_json::Value = serde_json::from_str(&work.read("trained/model/config.json")).unwrap();
    for id in 0..10 {
        config["id2label"][id.to_string()] = format!("{}", 9 - id).into();
    }
    std::fs::write(work.path("trained/model/config.json"), config.to_string()).unwrap();
    assert_ne!(accuracy("reversed"), own);
}

#[test]
fn models_and_circuits_have_the_same_numbers_on_a_copy_of_their_test_rows() {
    let folder = golden().join("../../models/digits/data/digits.csv");
    let text = std::fs::read_to_string(folder).unwrap();
    let mut lines = text.lines();
    let (header, mut table) = (lines.next().unwrap(), String::new());
    let mut test = format!("{header}\n");
    for (row, line) in lines.enumerate() {
        let is_test = row % 5 == 0;
        table += &format!("{line},{}\n", if is_test { "test" } else { "train" });
        if is_test {
            test += &format!("{line}\n");
        }
    }
    let data = data().replace("{ seeded = { train = 0.8, seed = 0 } }", "{ column = \"split\" }");
    let start = data.find("path = ").unwrap();
    let end = start + data[start..].find('\n').unwrap();
    let data = format!("{}path = \"digits.csv\"{}", &data[..start], &data[end..]);
    let work = Work::new(&format!("{MODEL}{data}"));
    std::fs::write(work.path("digits.csv"), format!("{header},split\n{table}")).unwrap();
    std::fs::write(work.path("new.csv"), test).unwrap();
    std::fs::write(work.path("circuit.toml"), format!("{CIRCUIT}{data}")).unwrap();
    success(&work.train("trained"));
    success(&train(&work, "circuit.toml", "circuits"));
    for run in ["trained", RUN] {
        let [run_folder, new, out] = [run, "new.csv", "out"].map(|name| work.path(name));
        let printed = success(&xtask(["evaluate", path(&run_folder), "--data", path(&new), "--out", path(&out)]));
        assert!(printed.contains("accuracy"), "{printed}");
        let rows =
            |folder: &str| -> Vec<Row> { serde_json::from_str(&work.read(&format!("{folder}/results.json"))).unwrap() };
        let (trained, again) = (rows(run), rows("out"));
        assert_eq!((trained[0].n_test, &trained[0].run), (again[0].n_test, &again[0].run));
        let of_test = |row: &Row| {
            let keys = row.measures.iter().filter(|(name, _)| !name.ends_with("_train"));
            keys.map(|(name, value)| (name.to_string(), value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(of_test(&trained[0]), of_test(&again[0]), "{run}");
        assert!(again[0].number("accuracy_test").is_some() && again[0].number("accuracy_train").is_none());
    }
}

#[test]
fn words_are_classified_and_a_circuit_of_the_tagger_is_found() {
    let model = golden().join("../fixtures/words");
    let sentences =
        ["we saw the dog", "the dog ran", "we ran", "the birds saw the dog", "birds ran", "the dog saw birds"];
    let label = |word: &str| match word {
        "dog" | "birds" => "noun",
        "saw" | "ran" => "verb",
        _ => "_",
    };
    let mut table = String::from("sentence,tags,split\n");
    for (row, sentence) in sentences.iter().cycle().take(24).enumerate() {
        let tags: Vec<&str> = sentence.split(' ').map(label).collect();
        table += &format!("{sentence},{},{}\n", tags.join(" "), if row < 18 { "train" } else { "test" });
    }
    let data = "[data]\npath = \"tags.csv\"\ntext = \"sentence\"\nread = \"all\"\nlabel = \"tags\"\nsplit = { column = \"split\" }\n";
    let tagger = format!(
        "kind = \"model\"\nmodel = {:?}\nhead = \"BertForTokenClassification\"\n{data}[training]\nepochs = 30\nbatch_size = 5\n\
         optimizer = {{ learning_rate = 1e-2 }}\n",
        path(&model)
    );
    let work = Work::new(&tagger);
    std::fs::write(work.path("tags.csv"), table).unwrap();
    success(&work.train("tagger"));
    let rows =
        |folder: &str| -> Vec<Row> { serde_json::from_str(&work.read(&format!("{folder}/results.json"))).unwrap() };
    let row = &rows("tagger")[0];
    assert_eq!((row.n_train, row.n_test), (39, 13), "words without a label are not counted");
    assert!(row.number("accuracy_test") > Some(0.9), "{row:?}");
    let circuit = format!(
        "kind = \"circuit\"\nmodel = \"tagger/model\"\n{data}[circuit_config]\ntarget_layers = [\"bert.encoder.layer.*\"]\n\
         mask_hparams = {{ mask_init_value = 0.1 }}\n[behaviour]\nmetrics = [\"accuracy\", \"logit_difference\"]\n\
         [training]\nepochs = 2\nbatch_size = 6\n[evaluation]\nablations = [\"zero\", \"reinitialise\"]\n"
    );
    std::fs::write(work.path("circuit.toml"), circuit).unwrap();
    success(&train(&work, "circuit.toml", "circuit"));
    let row = &rows("circuit")[0];
    assert_eq!(row.number("accuracy_test"), rows("tagger")[0].number("accuracy_test"));
    for key in ["logit_difference_test", "accuracy_test_reinitialise", "logit_difference_test_zero_random_mean"] {
        assert!(row.number(key).is_some(), "{key}: {row:?}");
    }
    assert!(row.number("kl_test").is_none(), "only what [behaviour] names is measured");
}
