//! Downloads models into the Hub cache.

use std::path::{Path, PathBuf};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{ApiBuilder, ApiError, ApiRepo},
};

use super::{
    cache::{CONFIG, Found, INDEX, WEIGHTS, find, shards},
    name::HubName,
};

/// Files that are downloaded in addition to configuration and weights, if the model has them.
const OPTIONAL: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"];

/// Downloads the files of a model that this crate reads, all from one commit, and returns their folder. Files that are
/// already in the cache are not downloaded again.
///
/// `HF_ENDPOINT` replaces the address of the Hub.
pub(super) fn download(root: &Path, name: &HubName) -> Result<PathBuf, String> {
    let mut builder = ApiBuilder::from_cache(Cache::new(root.into()));
    if let Some(endpoint) = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty()) {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
    }
    let api = builder.build().map_err(explain)?;
    let repo_at = |revision: &str| Repo::with_revision(name.repository.clone(), RepoType::Model, revision.into());
    let info = api.repo(repo_at(&name.revision)).info().map_err(explain)?;
    let write_ref = |revision: &str| {
        let reference = Cache::new(root.into()).repo(repo_at(revision)).create_ref(&info.sha);
        reference.map_err(|error| format!("cannot write into the cache: {error}"))
    };
    // Files are requested by commit, because a branch could move during the download. hf-hub finds the cached files of
    // a commit by a reference to it.
    write_ref(&info.sha)?;
    let files: Vec<_> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    get_all(&api.repo(repo_at(&info.sha)), &files)?;
    write_ref(&name.revision)?;
    match find(root, name) {
        Found::Complete(folder) => Ok(folder),
        Found::Incomplete(files) => Err(format!("the model has no {files}")),
        Found::Nothing => Err("the downloaded files are not in the cache".into()),
    }
}

/// Downloads configuration, weights and optional files; `files` are the files that the repository has.
fn get_all(repository: &ApiRepo, files: &[&str]) -> Result<(), String> {
    let get = |file: &str| repository.get(file).map_err(explain);
    let folder = get(CONFIG)?.parent().map(PathBuf::from).unwrap_or_default();
    for file in OPTIONAL.into_iter().filter(|file| files.contains(file)) {
        get(file)?;
    }
    if files.contains(&WEIGHTS) {
        return get(WEIGHTS).map(drop);
    }
    if !files.contains(&INDEX) {
        return Err("the model has no safetensors weights, and pickled weights are not supported".into());
    }
    get(INDEX)?;
    for shard in shards(&folder) {
        // A name from the index could point outside the cache; names that the Hub lists cannot.
        if !files.contains(&shard.as_str()) {
            return Err(format!("the index names the shard `{shard}`, which the model does not have"));
        }
        get(&shard)?;
    }
    Ok(())
}

/// Adds likely causes to an error of the Hub.
fn explain(error: ApiError) -> String {
    let message = error.to_string();
    // The Hub also returns 401 for names that do not exist.
    match ["401", "403", "404"].iter().any(|status| message.contains(status)) {
        true => format!("{message} (is the name misspelt, the model private, or the revision missing?)"),
        false => format!("{message} (is there a network connection?)"),
    }
}
