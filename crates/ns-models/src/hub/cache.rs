//! Looks up models in the Hub cache, without network access.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::name::HubName;
use crate::json::read_object;

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Result of looking up a model in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The folder of a complete model.
    Complete(PathBuf),
    /// A copy that lacks these files, for example because a download was interrupted.
    Incomplete(String),
    /// The cache has no files of this revision.
    Nothing,
}

/// Looks up a revision of a model in the cache in `root`.
pub(super) fn find(root: &Path, name: &HubName) -> Found {
    let model = root.join(name.folder());
    let commit = std::fs::read_to_string(model.join("refs").join(&name.revision));
    // A revision without a reference is a commit itself.
    let commit = commit.map_or(name.revision.clone(), |commit| commit.trim().into());
    let is_plain = !commit.is_empty() && commit.chars().all(|character| character.is_ascii_alphanumeric());
    let folder = model.join("snapshots").join(&commit);
    if !is_plain || !folder.is_dir() {
        return Found::Nothing;
    }
    match missing(&folder) {
        Some(files) => Found::Incomplete(files),
        None => Found::Complete(folder),
    }
}

/// Files that a model needs and the folder lacks, separated by commas; `None` if it is complete.
fn missing(folder: &Path) -> Option<String> {
    let is_there = |file: &str| folder.join(file).is_file();
    if !is_there(CONFIG) {
        return Some(CONFIG.into());
    }
    if is_there(WEIGHTS) {
        return None;
    }
    if !is_there(INDEX) {
        return Some(WEIGHTS.into());
    }
    let absent: Vec<_> = shards(folder).into_iter().filter(|shard| !is_there(shard)).collect();
    (!absent.is_empty()).then(|| absent.join(", "))
}

/// Shards that the index names. Empty if the index cannot be read: loading the model then returns a better error.
pub(super) fn shards(folder: &Path) -> BTreeSet<String> {
    let index = read_object(&folder.join(INDEX)).ok().flatten().unwrap_or_default();
    let shards = index["weight_map"].as_object().into_iter().flat_map(|map| map.values());
    shards.filter_map(|shard| shard.as_str().map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_model_is_a_config_and_all_of_its_weights() {
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
        let lacks = |files: &[(&str, &str)]| missing(snapshot(files).path());
        assert_eq!(lacks(&[]).as_deref(), Some("config.json"));
        assert_eq!(lacks(&[(CONFIG, "{}")]).as_deref(), Some("model.safetensors"));
        assert_eq!(lacks(&[(CONFIG, "{}"), (WEIGHTS, "")]), None);
        let sharded = [(CONFIG, "{}"), (INDEX, index), ("one.safetensors", "")];
        assert_eq!(lacks(&sharded).as_deref(), Some("two.safetensors"));
        assert_eq!(lacks(&[&sharded[..], &[("two.safetensors", "")]].concat()), None);
    }

    #[test]
    fn a_reference_that_leads_elsewhere_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("models--gpt2");
        std::fs::create_dir_all(model.join("refs")).unwrap();
        std::fs::create_dir_all(model.join("snapshots")).unwrap();
        let name = HubName::parse("gpt2").unwrap();
        for commit in ["..", "../..", "", "/tmp"] {
            std::fs::write(model.join("refs/main"), commit).unwrap();
            assert_eq!(find(root.path(), &name), Found::Nothing, "{commit}");
        }
    }
}
