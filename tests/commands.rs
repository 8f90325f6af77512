//! Tests that run the binary as a user does: what the commands print and write, and which input they reject.
#![allow(clippy::unwrap_used)]

#[path = "commands/texts.rs"]
mod texts;

#[path = "commands/activations.rs"]
mod activations;
#[path = "commands/circuit.rs"]
mod circuit;
#[path = "commands/circuit_tests.rs"]
mod circuit_tests;
#[path = "commands/data.rs"]
mod data;
#[cfg(unix)]
#[path = "commands/docs.rs"]
mod docs;
#[path = "commands/evaluate.rs"]
mod evaluate;
#[path = "commands/grammar.rs"]
mod grammar;
#[path = "commands/judging.rs"]
mod judging;
#[path = "commands/language.rs"]
mod language;
#[path = "commands/patch.rs"]
mod patch;
#[path = "commands/probe.rs"]
mod probe;
#[path = "commands/results.rs"]
mod results;
mod support;
#[path = "commands/tasks.rs"]
mod tasks;
#[path = "support/work.rs"]
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use burn::tensor::Device;
use ns_models::{AnyTransformer, ModelInputs, Transformer};
use ns_train::{BaseModelPool, Interrupt, Job};
use serde_json::Value;
use support::{copy_of_case, golden};
use work::{Work, command, error, failure, path, success, xtask, xtask_in};

/// Recipe for six epochs of a model of a few kilobytes.
const RECIPE: &str = r#"
kind = "model"

[data]
arithmetic = { task = "sum", modulus = 5 }
label = "answer"
split = { seeded = { train = 0.6, seed = 0 } }

[training]
epochs = 6
batch_size = 15
evaluate_every = 2
checkpoint_every = 2
micro_batch = 8
optimizer = { learning_rate = 1e-2, weight_decay = 0.1, betas = [0.9, 0.98], warmup_epochs = 2 }

[model]
model_type = "gpt2"
architectures = ["GPT2LMHeadModel"]
vocab_size = 6
n_positions = 3
n_embd = 8
n_layer = 1
n_head = 2
embd_pdrop = 0.0
attn_pdrop = 0.0
resid_pdrop = 0.0
"#;

mod help {
    use super::*;

    #[test]
    fn each_command_explains_itself_and_its_argument() {
        let arguments = BTreeMap::from([("train", "<RECIPE>..."), ("verify", "<FOLDER>"), ("inspect", "<MODEL>")]);
        let commands = commands();
        for command in ["train", "verify"] {
            assert!(commands.contains(command), "{commands:?}");
        }
        for command in &commands {
            let help = success(&xtask([command, "--help"]));
            assert!(help.contains("Usage:"), "{help}");
            if let Some(argument) = arguments.get(command.as_str()) {
                assert!(help.contains(argument), "{help}");
            }
        }
    }

    #[test]
    fn without_a_command_the_commands_are_listed() {
        let output = xtask([]);
        assert!(!output.status.success());
        assert!(error(&output).contains("verify"), "{output:?}");
    }

    #[test]
    fn a_misspelt_command_gets_a_hint() {
        assert!(failure(&xtask(["verfy"])).contains("verify"));
    }

    /// The names of the commands in the help, below "Commands:".
    fn commands() -> BTreeSet<String> {
        let help = success(&xtask(["--help"]));
        let (_, list) = help.split_once("Commands:\n").unwrap();
        let lines = list.lines().take_while(|line| line.starts_with("  "));
        // Continued descriptions are indented further.
        let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(String::from).collect()
    }
}

mod backends {
    use super::*;

    #[test]
    fn an_unknown_backend_lists_the_known_ones() {
        let message = failure(&xtask(["verify", "anywhere", "--backend", "tpu"]));
        for known in ["tpu", "flex", "ndarray", "wgpu", "cuda"] {
            assert!(message.contains(known), "{message}");
        }
    }

    #[test]
    fn the_list_names_all_and_needs_no_other_argument() {
        for arguments in [&["--backend", "list"][..], &["verify", "--backend=list"]] {
            let printed = success(&command(Path::new("."), []).args(arguments).output().unwrap());
            for known in ["flex:0", "processor", "ndarray", "wgpu", "cuda"] {
                assert!(printed.contains(known), "{printed}");
            }
            for (name, in_build) in [
                ("ndarray", cfg!(feature = "ndarray")),
                ("wgpu", cfg!(feature = "wgpu")),
                ("cuda", cfg!(feature = "cuda")),
            ] {
                assert_eq!(!printed.contains(&format!("`--features {name}` adds it")), in_build, "{printed}");
            }
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let message = failure(&xtask(["verify", "anywhere", "--backend", "flex:3"]));
        assert!(message.contains("no device 3") && message.contains("it has 1"), "{message}");
        let message = failure(&xtask(["verify", "anywhere", "--backend", "flex:first"]));
        assert!(message.contains("`first` is not the index of a device"), "{message}");
    }

    #[test]
    #[cfg(not(feature = "wgpu"))]
    fn a_backend_that_is_not_in_the_build_says_how_to_get_it() {
        let message = failure(&xtask(["verify", "anywhere", "--backend", "wgpu"]));
        assert!(message.contains("`wgpu` is not in this build") && message.contains("--features wgpu"), "{message}");
    }

    /// The environment variables tell the loaders of Vulkan and OpenGL where to look for drivers.
    #[test]
    #[cfg(all(feature = "wgpu", target_os = "linux"))]
    fn a_machine_without_a_driver_is_an_error_and_no_other_backend_is_taken() {
        let nowhere = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES", "LIBGL_DRIVERS_PATH"]
            .map(|variable| (variable, "/nonexistent"));
        let xtask = |arguments: &[&str]| command(Path::new("."), []).args(arguments).envs(nowhere).output().unwrap();
        let message = failure(&xtask(&["verify", "anywhere", "--backend", "wgpu"]));
        assert!(message.contains("backend `wgpu`: no adapter: no driver of Vulkan"), "{message}");
        let list = success(&xtask(&["--backend", "list"]));
        assert!(list.contains("wgpu      no adapter") && list.contains("flex:0"), "{list}");
    }

    #[test]
    #[cfg(feature = "wgpu")]
    fn an_index_beyond_the_adapters_says_how_many_there_are() {
        let message = failure(&xtask(["verify", "anywhere", "--backend", "wgpu:99"]));
        assert!(message.contains("backend `wgpu` has no device 99: it has "), "{message}");
    }
}

mod verify {
    use super::*;

    #[test]
    fn the_reference_passes_and_json_has_the_agreed_keys() {
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("results.jsonl");
        let printed = success(&xtask(["verify", path(&golden()), "--json", path(&json)]));
        let text = std::fs::read_to_string(&json).unwrap();
        let keys = BTreeSet::from(["case", "kind", "status", "tensor", "err", "tol", "tol_kind"]);
        for line in text.lines() {
            let object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
            assert_eq!(object.keys().map(String::as_str).collect::<BTreeSet<_>>(), keys, "{line}");
            let kinds = ["models", "masks", "probes", "knn", "curves", "linear", "interventions"];
            assert!(kinds.contains(&object["kind"].as_str().unwrap()), "{line}");
            assert_eq!(object["status"], "PASS", "{line}");
            assert!(["abs", "rel"].contains(&object["tol_kind"].as_str().unwrap()), "{line}");
            assert!(object["err"].as_f64().unwrap() <= object["tol"].as_f64().unwrap(), "{line}");
            let case = format!("{}/{}", object["kind"].as_str().unwrap(), object["case"].as_str().unwrap());
            assert!(printed.contains(&case) && golden().join(&case).is_dir(), "{case}");
        }
        let cases = text.lines().count();
        assert!(printed.contains(&format!("{cases} passed, 0 failed")), "{printed}");
    }

    #[test]
    fn a_failing_case_is_named_and_the_exit_status_says_so() {
        let (folder, case) = copy_of_case("knn", "cosine-1nn-2d");
        std::fs::write(case.join("tensors.safetensors"), "no tensors").unwrap();
        let json = folder.path().join("results.jsonl");
        let output = xtask(["verify", path(folder.path()), "--json", path(&json)]);
        assert!(failure(&output).contains("1 case(s) failed"), "{output:?}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("FAIL") && printed.contains("cosine-1nn-2d"), "{printed}");
        let line: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!((&line["status"], &line["tensor"]), (&"FAIL".into(), &Value::Null));
    }

    #[test]
    fn a_folder_without_cases_says_how_it_should_look() {
        let empty = tempfile::tempdir().unwrap();
        let message = failure(&xtask(["verify", path(empty.path())]));
        assert!(
            message.contains("<kind>/<case>")
                && message.contains("interventions")
                && message.contains(path(empty.path())),
            "{message}"
        );
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        assert!(failure(&xtask(["verify", "/no/such/folder"])).contains("/no/such/folder"));
    }

    #[test]
    fn an_unwritable_json_file_is_named_before_any_work() {
        let output = xtask(["verify", path(&golden()), "--json", "/no/such/folder/results.jsonl"]);
        assert!(failure(&output).contains("/no/such/folder/results.jsonl"));
        assert!(output.stdout.is_empty());
    }
}

mod train {
    use super::*;

    #[test]
    fn leaves_metrics_and_a_model() {
        let work = Work::new(RECIPE);
        let printed = success(&work.train("run"));
        assert!(printed.contains("accuracy") && printed.contains("model in"), "{printed}");
        let rows: Vec<Value> = serde_json::from_str(&work.read("run/results.json")).unwrap();
        for key in ["loss_train", "accuracy_train", "loss_test", "accuracy_test", "majority"] {
            assert!(rows[0][key].is_f64(), "{key}: {rows:?}");
        }
        let metrics = work.metrics("run");
        assert_eq!(metrics.iter().map(|metrics| metrics.epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert!(metrics.iter().all(|metrics| metrics.loss.is_finite()));
        assert!(metrics[5].loss < metrics[0].loss, "{metrics:?}");
        let evaluated = metrics.iter().filter(|metrics| metrics.get("test_accuracy").is_some()).map(|m| m.epoch);
        assert_eq!(evaluated.collect::<Vec<_>>(), [2, 4, 6]);
        let device = Device::default();
        let model = AnyTransformer::load(work.path("run/model"), &device).unwrap();
        assert_eq!((model.n_layers(), model.hidden_size()), (1, 8));
        assert!(model.forward(&ModelInputs::from_ids(&[[1, 2, 5]], &device)).unwrap().logits.is_some());
    }

    #[test]
    fn the_default_folder_is_named_after_recipe_and_seed() {
        let work = Work::new(RECIPE);
        success(&xtask_in(work.folder.path(), ["train", "recipe.toml", "--seed", "3"]));
        assert!(work.path("runs/recipe-3/model/model.safetensors").is_file());
    }

    #[test]
    fn one_seed_one_model() {
        let work = Work::new(RECIPE);
        for (run, seed) in [("first", "1"), ("second", "1"), ("other", "2")] {
            success(&xtask(["train", path(&work.path("recipe.toml")), "--seed", seed, "--out", path(&work.path(run))]));
        }
        assert_eq!(work.weights("first"), work.weights("second"));
        assert_ne!(work.weights("first"), work.weights("other"));
    }

    #[test]
    fn an_interrupted_run_ends_byte_for_byte_like_one_that_was_not() {
        let work = Work::new(RECIPE);
        success(&work.train("whole"));
        let job = Job::single(work.path("recipe.toml")).unwrap().in_folder(work.path("parts"));
        let pool = BaseModelPool::new(&Device::default(), 1);
        let interrupt = Interrupt::default();
        interrupt.ask(); // each call trains one epoch
        for epochs_done in 1..=3 {
            assert!(job.train(&pool, &interrupt).unwrap().is_none());
            assert_eq!(work.metrics("parts").len(), epochs_done);
            assert!(!work.path("parts/model").exists(), "an unfinished run has no model");
        }
        success(&work.train("parts"));
        assert_eq!(work.weights("parts"), work.weights("whole"));
        for (resumed, whole) in work.metrics("parts").iter().zip(work.metrics("whole")) {
            assert_eq!((resumed.epoch, resumed.others.len()), (whole.epoch, whole.others.len()));
            assert!((resumed.loss - whole.loss).abs() < 1e-12, "{resumed} {whole}");
        }
        assert_eq!(work.metrics("parts").len(), 6);
    }

    #[test]
    fn a_finished_run_is_not_trained_again() {
        let work = Work::new(RECIPE);
        success(&work.train("run"));
        let (weights, metrics) = (work.weights("run"), work.read("run/metrics.jsonl"));
        success(&work.train("run"));
        assert_eq!((work.weights("run"), work.read("run/metrics.jsonl")), (weights, metrics));
    }

    #[test]
    #[cfg(unix)]
    fn ctrl_c_leaves_a_run_that_continues() {
        let work = Work::new(&RECIPE.replace("epochs = 6", "epochs = 1000000"));
        let recipe = work.path("recipe.toml");
        let mut command = command(work.folder.path(), ["train", path(&recipe), "--out", path(&work.path("run"))]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !work.path("run/state.json").exists() {
            assert!(child.try_wait().unwrap().is_none(), "the command ended by itself");
            std::thread::yield_now();
        }
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let message = failure(&child.wait_with_output().unwrap());
        assert!(message.contains("stopped, 0 of 1 runs done; the same command continues"), "{message}");
        let state: Value = serde_json::from_str(&work.read("run/state.json")).unwrap();
        assert_eq!(state["epoch"], work.metrics("run").len());
        for part in ["model", "optim"] {
            assert!(work.path(&format!("run/checkpoints/{part}-{}.bpk", state["epoch"])).is_file());
        }
    }

    #[test]
    fn another_recipe_or_seed_in_the_same_folder_is_refused() {
        let work = Work::new(RECIPE);
        success(&work.train("run"));
        let weights = work.weights("run");
        let other_seed =
            xtask(["train", path(&work.path("recipe.toml")), "--seed", "1", "--out", path(&work.path("run"))]);
        assert!(failure(&other_seed).contains("holds a run of another recipe or seed"));
        std::fs::write(work.path("recipe.toml"), RECIPE.replace("epochs = 6", "epochs = 7")).unwrap();
        let message = failure(&work.train("run"));
        assert!(message.contains("holds a run of another recipe or seed") && message.contains("--out"), "{message}");
        assert_eq!(work.weights("run"), weights);
    }

    #[test]
    fn a_misspelt_key_is_named_with_those_that_would_be_right() {
        let message = failure(&Work::new(&RECIPE.replace("weight_decay", "wieght_decay")).train("run"));
        assert!(message.contains("wieght_decay") && message.contains("`weight_decay`"), "{message}");
        let message = failure(&Work::new(&RECIPE.replace("epochs = 6", "epoch = 6")).train("run"));
        assert!(message.contains("`epoch`") && message.contains("`epochs`"), "{message}");
        let message = failure(&Work::new(&RECIPE.replace("\"sum\"", "\"product\"")).train("run"));
        assert!(message.contains("product") && message.contains("square_difference"), "{message}");
    }

    #[test]
    fn a_recipe_that_does_not_exist_is_named() {
        let message = failure(&xtask(["train", "/no/such/recipe.toml"]));
        assert!(message.contains("cannot read `/no/such/recipe.toml`"), "{message}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        for (from, to, expected) in [
            ("modulus = 5", "modulus = 1", "between 2 and 10000"),
            ("train = 0.6", "train = 1.0", "train must be above 0"),
            ("vocab_size = 6", "vocab_size = 5", "the vocabulary of the model has 5 tokens"),
            ("n_head = 2", "n_head = 3", "multiple of n_head = 3"),
            ("model_type = \"gpt2\"", "model_type = \"gpt5\"", "supported values are: gpt2"),
            ("\"GPT2LMHeadModel\"", "\"GPT2Model\"", "the head `base model`"),
        ] {
            assert!(RECIPE.contains(from));
            let message = failure(&Work::new(&RECIPE.replace(from, to)).train("run"));
            assert!(message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn an_unwritable_folder_is_named() {
        let work = Work::new(RECIPE);
        std::fs::write(work.path("file"), "").unwrap();
        let message = failure(&work.train("file/run"));
        assert!(message.contains("cannot create") && message.contains("file/run"), "{message}");
    }

    #[test]
    fn a_nan_loss_stops_the_run_and_discards_the_checkpoint_that_caused_it() {
        let recipe = RECIPE
            .replace("learning_rate = 1e-2", "learning_rate = 1e30")
            .replace("checkpoint_every = 2", "checkpoint_every = 1");
        let work = Work::new(&recipe);
        let message = failure(&work.train("run"));
        assert!(message.contains("the loss became NaN in epoch 2; no checkpoint in"), "{message}");
        let state: Value = serde_json::from_str(&work.read("run/state.json")).unwrap();
        assert_eq!(state["epoch"], 0);
        assert!(!work.path("run/model").exists());
    }
}

mod inspect {
    use super::*;

    #[test]
    fn lists_what_can_be_masked_and_read() {
        let printed = success(&xtask(["inspect", path(&golden().join("models/gpt2-seqcls"))]));
        for part in ["transformer.h.1.attn.c_attn", "gpt_conv1d", "[32, 96]", "score", "linear", "mlp_stream_1"] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
    }

    #[test]
    fn names_a_folder_that_holds_no_model() {
        let message = failure(&xtask(["inspect", "/no/such/model"]));
        assert!(message.contains("/no/such/model") && message.contains("no such folder"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        let message = failure(&xtask(["inspect", path(folder.path())]));
        assert!(message.contains(path(folder.path())) && message.contains("config.json"), "{message}");
    }
}
