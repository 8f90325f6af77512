//! The command lines in README.md and docs/. Each must parse. Fast ones are run, training commands with `--dry-run`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{
    circuit::{ATTENTION, run},
    golden,
    work::{command, error, success},
};

/// Commands that train; they are run with `--dry-run`.
const TRAINING: [&[&str]; 1] = [&["train"]];
/// Commands that need a network, Python or more than a few seconds; they are only parsed.
const ONLY_PARSED: [&[&str]; 4] = [&["demo"], &["fetch"], &["embed"], &["bench"]];

/// The run of the documented sweep that the documentation shows.
const CIRCUIT: &str = "circuit-vit-circuit_config.l0_lambda=3e-4-0";

fn repository() -> PathBuf {
    golden().join("../..").canonicalize().unwrap()
}

/// The arguments of every `cargo xtask` line in a block of shell commands, with the file that contains it.
fn command_lines() -> Vec<(PathBuf, Vec<String>)> {
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = docs.chain([repository().join("README.md")]).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for block in text.split("```sh\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            let commands = block.lines().filter_map(|line| line.strip_prefix("cargo xtask "));
            let arguments =
                |line: &str| line.split('#').next().unwrap().split_whitespace().flat_map(expanded).collect();
            lines.extend(commands.map(|line| (file.clone(), arguments(line))));
        }
    }
    lines
}

/// The files of a pattern such as `models/arithmetic/probe-*.toml`, as a shell would list them.
fn expanded(argument: &str) -> Vec<String> {
    let Some((before, after)) = argument.split_once('*') else { return vec![argument.into()] };
    let (folder, start) = before.rsplit_once('/').unwrap();
    let names = std::fs::read_dir(repository().join(folder)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names
        .filter(|name| name.starts_with(start) && name.ends_with(after))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{argument}");
    files
}

/// A folder with the shipped models, and with the run folders that the documentation reads.
fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["models", "docs"] {
        std::os::unix::fs::symlink(repository().join(name), folder.path().join(name)).unwrap();
    }
    for name in ["runs/table/probe-a2-attn-0", "runs/table/probe-minus_b2-attn-0", "runs/demo/probe-a2-attn-0"] {
        run(folder.path(), name, &ATTENTION, |entry| entry % 3 == 0);
    }
    let answers = "data.arithmetic={ task = \"square_difference\", modulus = 113 }";
    let judged = ["probe-a2-attn", "attribution"];
    for name in judged {
        let recipe = format!("models/arithmetic/{name}.toml");
        let out = format!("runs/judged/{name}-0");
        let mut train = command(folder.path(), ["train", &recipe, "--out", &out, "--set", answers]);
        // The documented circuits are those of few steps and few examples.
        train.args(["--set", "data.split={ seeded = { train = 0.1, dev = 0.85, seed = 0 } }"]);
        if name == "probe-a2-attn" {
            train.args(["--set", "training.epochs=1"]);
        }
        success(&train.output().unwrap());
    }
    // One epoch of one circuit of the sweep.
    let recipe = "models/digits/circuit-vit.toml";
    let out = format!("runs/circuit-vit/{CIRCUIT}");
    let mut train = command(folder.path(), ["train", recipe, "--out", &out, "--set", "training.epochs=1"]);
    success(&train.args(["--set", "sweep={\"circuit_config.l0_lambda\" = [3e-4]}"]).output().unwrap());
    folder
}

fn starts_with_one_of(arguments: &[String], commands: &[&[&str]]) -> bool {
    commands.iter().any(|command| arguments.iter().map(String::as_str).zip(*command).all(|(a, b)| a == *b))
}

/// Placeholders are written in capitals: `--model MODEL`.
fn has_placeholder(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.len() > 1 && argument.chars().all(|c| c.is_ascii_uppercase()))
}

#[test]
fn every_command_line_works() {
    let folder = workplace();
    let lines = command_lines();
    assert!(lines.len() > 15, "{lines:?}");
    for (file, arguments) in lines {
        let line = format!("{}: {}", file.display(), arguments.join(" "));
        xtask::check_arguments(&arguments).unwrap_or_else(|message| panic!("{line}: {message}"));
        if has_placeholder(&arguments) || starts_with_one_of(&arguments, &ONLY_PARSED) {
            continue;
        }
        check(&line, folder.path(), arguments);
    }
}

fn check(line: &str, folder: &Path, mut arguments: Vec<String>) {
    let trains = starts_with_one_of(&arguments, &TRAINING);
    if trains && !arguments.contains(&"--dry-run".to_string()) {
        arguments.push("--dry-run".into());
    }
    let output = command(folder, []).args(&arguments).output().unwrap();
    let fetched = ["models/wordnet/", "docs/", "models/agreement/gpt2"];
    let is_fetched = |argument: &String| fetched.iter().any(|start| argument.starts_with(start));
    if arguments.iter().any(is_fetched) && !output.status.success() {
        // MiniLM and GPT-2 need a network. Without these models, and what is trained from them, the message must say so.
        assert!(error(&output).contains("cannot find the model"), "{line}: {}", error(&output));
        return;
    }
    assert!(output.status.success(), "{line}: {}", error(&output));
    assert!(!trains || !folder.join("runs/probe-a2-attn-0").exists(), "{line} trained something");
}
