//! Finds models by name: a folder, or a model in the cache of the Hugging Face Hub.
//!
//! The name of a Hub model is `bert-base-uncased` or `organisation/name`, optionally followed by `@revision`. The cache
//! is shared with Python's `huggingface_hub` and has its layout: `models--organisation--name/refs/<revision>` holds the
//! commit, `snapshots/<commit>` the files. A complete copy in the cache is used without a check for a newer one.

mod cache;
#[cfg(feature = "hub")]
mod download;
mod name;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use self::{cache::Found, name::HubName};
use crate::error::ModelError;

/// Upper-case values of an environment variable that mean "on".
const ON: [&str; 4] = ["1", "ON", "YES", "TRUE"];

/// Returns the folder of a model: `name` itself if it is a folder, otherwise the model of that name in the cache of the
/// Hugging Face Hub.
///
/// The name of a Hub model is `bert-base-uncased` or `organisation/name`, optionally followed by `@revision`. With the
/// cargo feature `hub`, a model that is not in the cache is downloaded.
///
/// The cache is shared with Python's `huggingface_hub`. Its folder is set by `HF_HUB_CACHE`, `HF_HOME` or
/// `XDG_CACHE_HOME`, and is `~/.cache/huggingface/hub` by default. With `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`
/// nothing is downloaded.
///
/// # Errors
/// Returns [`ModelError::ModelNotFound`] if the model is neither a folder nor in the cache and cannot be downloaded.
pub fn resolve_model(name: &str) -> Result<PathBuf, ModelError> {
    if Path::new(name).is_dir() {
        return Ok(name.into());
    }
    let environment = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
    let root = cache_root(&environment, std::env::home_dir());
    let root = root.ok_or_else(|| not_found(name, "no such folder, and there is no home folder with a Hub cache"))?;
    resolve_in(&root, name, is_offline(&environment))
}

/// [`resolve_model`] with the cache in `root`.
fn resolve_in(root: &Path, name: &str, offline: bool) -> Result<PathBuf, ModelError> {
    if Path::new(name).is_dir() {
        return Ok(name.into());
    }
    let parsed = HubName::parse(name).map_err(|reason| not_found(name, format!("no such folder, and {reason}")))?;
    let missing = match cache::find(root, &parsed) {
        Found::Complete(folder) => return Ok(folder),
        Found::Incomplete(files) => format!("its copy in the Hub cache `{}` lacks {files}", root.display()),
        Found::Nothing => format!("no such folder, and no such model in the Hub cache `{}`", root.display()),
    };
    if offline {
        let advice = "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so it is not downloaded";
        return Err(not_found(name, format!("{missing}; {advice}")));
    }
    download(root, &parsed, &missing)
}

#[cfg(feature = "hub")]
fn download(root: &Path, name: &HubName, missing: &str) -> Result<PathBuf, ModelError> {
    let failed = |reason: String| not_found(&name.to_string(), format!("{missing}, and the download failed: {reason}"));
    download::download(root, name).map_err(failed)
}

#[cfg(not(feature = "hub"))]
fn download(_root: &Path, name: &HubName, missing: &str) -> Result<PathBuf, ModelError> {
    let advice = "this build cannot download models; pass the folder of a model, or build with `--features hub`";
    Err(not_found(&name.to_string(), format!("{missing}; {advice}")))
}

fn not_found(name: &str, reason: impl Into<String>) -> ModelError {
    ModelError::ModelNotFound { name: name.into(), reason: reason.into() }
}

/// Folder of the cache, found in the same way as by `huggingface_hub`.
fn cache_root(environment: &impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let folder = |variable: &str| Some(expand_home(environment(variable)?.into(), home.as_deref()));
    folder("HF_HUB_CACHE")
        .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(folder("HF_HOME")?.join("hub")))
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(home.as_deref()?.join(".cache/huggingface/hub")))
}

/// Replaces a leading `~` with the home folder.
fn expand_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn is_offline(environment: &impl Fn(&str) -> Option<OsString>) -> bool {
    let value = environment("HF_HUB_OFFLINE").or_else(|| environment("TRANSFORMERS_OFFLINE"));
    value.is_some_and(|value| ON.contains(&value.to_string_lossy().to_uppercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |variable| set.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.into())
    }

    #[test]
    fn the_cache_lies_where_huggingface_hub_has_it() {
        let root = |set: &[(&str, &str)]| cache_root(&variables(set), Some("/home/me".into())).unwrap();
        assert_eq!(root(&[]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(root(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(root(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")]), Path::new("/hf/hub"));
        assert_eq!(root(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "~/c")]), Path::new("/home/me/c"));
        assert_eq!(root(&[("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache_root(&variables(&[]), None), None);
    }

    #[test]
    fn offline_by_either_variable() {
        for value in ["1", "on", "Yes", "TRUE"] {
            assert!(is_offline(&variables(&[("HF_HUB_OFFLINE", value)])), "{value}");
        }
        assert!(is_offline(&variables(&[("TRANSFORMERS_OFFLINE", "1")])));
        assert!(!is_offline(&variables(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")])));
        assert!(!is_offline(&variables(&[])));
    }

    #[test]
    fn a_folder_is_itself() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(resolve_model(name).unwrap(), folder.path());
        assert_eq!(resolve_in(Path::new("nowhere"), name, true).unwrap(), folder.path());
    }

    /// A temporary cache with one model.
    fn cache(model: &str, commit: &str, files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join(model);
        std::fs::create_dir_all(model.join("refs")).unwrap();
        std::fs::write(model.join("refs/main"), format!("{commit}\n")).unwrap();
        std::fs::create_dir_all(model.join("snapshots").join(commit)).unwrap();
        for file in files {
            std::fs::write(model.join("snapshots").join(commit).join(file), "{}").unwrap();
        }
        root
    }

    #[test]
    fn a_cached_model_is_found_by_name_and_by_revision() {
        let root = cache("models--org--some.model", "abc123", &["config.json", "model.safetensors"]);
        let snapshot = root.path().join("models--org--some.model/snapshots/abc123");
        for name in ["org/some.model", "org/some.model@main", "org/some.model@abc123"] {
            assert_eq!(resolve_in(root.path(), name, true).unwrap(), snapshot, "{name}");
        }
        let root = cache("models--gpt2", "f0", &["config.json", "model.safetensors"]);
        assert_eq!(resolve_in(root.path(), "gpt2", true).unwrap(), root.path().join("models--gpt2/snapshots/f0"));
    }

    fn reason(root: &Path, name: &str) -> String {
        match resolve_in(root, name, true) {
            Err(ModelError::ModelNotFound { name: named, reason }) => {
                assert_eq!(named, name);
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_there_or_not_complete_is_said() {
        let root = cache("models--org--name", "abc123", &["config.json"]);
        assert!(reason(root.path(), "org/name").contains("lacks model.safetensors"));
        assert!(reason(root.path(), "org/name").contains("HF_HUB_OFFLINE"));
        assert!(reason(root.path(), "org/other").contains("no such model in the Hub cache"));
        assert!(reason(root.path(), "org/name@v2").contains("no such model"));
        assert!(reason(root.path(), "/no/such/folder").contains("no such folder"));
    }

    #[test]
    #[cfg(not(feature = "hub"))]
    fn a_build_without_downloads_says_how_to_get_one() {
        let root = tempfile::tempdir().unwrap();
        let message = resolve_in(root.path(), "org/name", false).unwrap_err().to_string();
        assert!(message.contains("--features hub") && message.contains("folder of a model"), "{message}");
    }
}
