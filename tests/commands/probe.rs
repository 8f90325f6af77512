//! Tests of `train` with circuit probes on arithmetic: one run, several seeds, parallel runs, interrupted runs.

use super::*;

/// Recipe of a probe on the model that [`RECIPE`] trains.
pub(crate) const PROBE: &str = r#"
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

pub(crate) fn trained(probe: &str) -> Work {
    let work = Work::new(RECIPE);
    success(&work.train("run"));
    std::fs::write(work.path("probe.toml"), probe).unwrap();
    work
}

fn run(work: &Work, out: &str) -> Output {
    xtask(["train", path(&work.path("probe.toml")), "--out", path(&work.path(out))])
}

#[test]
fn leaves_a_row_of_results_masks_and_figures() {
    let work = trained(PROBE);
    let printed = success(&run(&work, "probe"));
    assert!(printed.contains("a+b") && printed.contains("ablated"), "{printed}");
    let rows: Vec<BTreeMap<String, Value>> = serde_json::from_str(&work.read("probe/results.json")).unwrap();
    assert_eq!(rows.len(), 1);
    for key in [
        "variable",
        "block",
        "seed",
        "knn_test",
        "knn_dev",
        "knn_unmasked",
        "majority",
        "acc_full",
        "acc_ablated",
        "acc_random_mean",
        "acc_random_sd",
        "p_random",
        "accuracy_test",
        "accuracy_test_zero_random_mean",
        "l0",
        "l0_max",
    ] {
        assert!(rows[0].contains_key(key), "{key}: {rows:?}");
    }
    assert_eq!((&rows[0]["variable"], &rows[0]["block"]), (&"a_plus_b".into(), &"attn".into()));
    assert_eq!(rows[0]["l0_max"].as_f64(), Some(8.0 * 24.0));
    let masks = ns_models::Checkpoint::open_file(work.path("probe/masks.safetensors")).unwrap();
    assert!(masks.names().any(|name| name.contains("transformer.h.0.attn.c_attn")));
    let files: Vec<PathBuf> = files_below(&work.path("probe"));
    for ending in ["svg", "png"] {
        assert!(files.iter().any(|file| file.extension().is_some_and(|found| found == ending)), "{files:?}");
    }
}

#[test]
fn gives_the_same_masks_again() {
    let work = trained(PROBE);
    for out in ["first", "second"] {
        success(&run(&work, out));
    }
    let read = |name: &str| std::fs::read(work.path(name)).unwrap();
    assert_eq!(read("first/masks.safetensors"), read("second/masks.safetensors"));
    assert_eq!(read("first/results.json"), read("second/results.json"));
}

#[test]
fn parallel_probes_have_the_results_of_sequential_probes() {
    let work = trained(PROBE);
    for jobs in ["1", "2"] {
        let (recipe, out) = (work.path("probe.toml"), work.path(jobs));
        let arguments = ["train", path(&recipe), "--seeds", "3", "--jobs", jobs, "--out", path(&out)];
        let printed = success(&xtask(arguments));
        assert_eq!(printed.matches("| probe-").count(), 3, "{printed}");
    }
    for file in ["results.json", "probe-0/masks.safetensors", "probe-1/masks.safetensors", "probe-2/results.json"] {
        let read = |jobs: &str| std::fs::read(work.path(jobs).join(file)).unwrap();
        assert_eq!(read("1"), read("2"), "{file}");
    }
}

#[test]
fn a_run_that_fails_leaves_the_results_of_the_others() {
    let work = trained(PROBE);
    std::fs::write(work.path("bad.toml"), PROBE.replace("attn_update_0", "attn_update_1")).unwrap();
    std::fs::write(work.path("large.toml"), PROBE.replace("batch_size = 8", "batch_size = 99")).unwrap();
    let [bad, good, large, out] = ["bad.toml", "probe.toml", "large.toml", "out"].map(|name| work.path(name));
    let recipes = ["train", path(&bad), path(&good), path(&large)];
    let output =
        command(work.folder.path(), recipes).args(["--seeds", "2", "--jobs", "2", "--out", path(&out)]).output();
    let output = output.unwrap();
    let message = failure(&output);
    for part in ["4 of 6 runs failed:", "bad-0: ", "bad-1: ", "1 blocks", "large-1: ", "training.batch_size: 99"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.matches("| probe-").count(), 2, "{printed}");
    let rows: Vec<Value> = serde_json::from_str(&work.read("out/results.json")).unwrap();
    assert_eq!(rows.iter().map(|row| row["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert!(
        files_below(&out)
            .iter()
            .any(|file| file.parent() == Some(&*out) && file.extension().is_some_and(|e| e == "svg"))
    );
}

#[test]
#[cfg(unix)]
fn ctrl_c_stops_all_that_run_and_they_continue() {
    let work = trained(&PROBE.replace("epochs = 4", "epochs = 1000000"));
    let (recipe, out) = (work.path("probe.toml"), work.path("out"));
    let arguments = ["train", path(&recipe), "--seeds", "3", "--jobs", "2", "--out", path(&out)];
    let mut child = command(work.folder.path(), arguments).stderr(Stdio::piped()).spawn().unwrap();
    while ["probe-0", "probe-1"].iter().any(|run| !out.join(run).join("state.json").exists()) {
        assert!(child.try_wait().unwrap().is_none(), "the command ended by itself");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let message = failure(&child.wait_with_output().unwrap());
    for part in ["0 of 3 runs done", "the same command continues", "probe-0", "probe-1"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!out.join("probe-2").exists(), "no further probe is started");
    for run in ["probe-0", "probe-1"] {
        let state: Value = serde_json::from_str(&work.read(&format!("out/{run}/state.json"))).unwrap();
        assert!(state["epoch"].as_u64() > Some(0), "{state}");
        assert!(out.join(run).join(format!("checkpoints/model-{}.bpk", state["epoch"])).is_file());
    }
}

#[test]
fn refuses_what_cannot_be_probed() {
    for (from, to, expected) in [
        ("transformer.h.0.attn.c_attn", "transformer.h.0.attn.cattn", "transformer.h.0.attn.c_attn"),
        ("attn_update_0", "attn_update_1", "1 blocks"),
        ("\"a_plus_b\"", "\"a_times_b\"", "a_plus_b"),
        ("run/model", "no/model", "no/model"),
        ("batch_size", "batchsize", "batch_size"),
        ("freeze_base = true", "freeze_base = false", "freeze_base"),
    ] {
        let work = trained(&PROBE.replace(from, to));
        let message = failure(&run(&work, "probe"));
        assert!(message.contains(expected), "{to}: {message}");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
