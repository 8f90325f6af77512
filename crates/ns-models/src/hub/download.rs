//! Filling the Hub's cache.

use std::path::{Path, PathBuf};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{ApiBuilder, ApiError, ApiRepo},
};

use super::{
    cache::{CONFIG, Found, INDEX, WEIGHTS, find, shards},
    name::HubName,
};

/// What a model may have beside its weights.
const OPTIONAL: [&str; 4] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"];

/// Downloads what of a model is read here, of one commit. What the cache has of it is not downloaded again.
pub(super) fn download(root: &Path, name: &HubName) -> Result<PathBuf, String> {
    let mut builder = ApiBuilder::from_cache(Cache::new(root.into()));
    if let Some(endpoint) = std::env::var("HF_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty()) {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
    }
    let api = builder.build().map_err(explain)?;
    let at = |revision: &str| Repo::with_revision(name.repository.clone(), RepoType::Model, revision.into());
    let info = api.repo(at(&name.revision)).info().map_err(explain)?;
    let refer = |revision: &str| {
        let reference = Cache::new(root.into()).repo(at(revision)).create_ref(&info.sha);
        reference.map_err(|error| format!("cannot write into the cache: {error}"))
    };
    // By commit: files of a branch that moves meanwhile would not belong together. hf-hub finds by its reference what
    // the cache has of a commit.
    refer(&info.sha)?;
    let files: Vec<_> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    get_all(&api.repo(at(&info.sha)), &files)?;
    refer(&name.revision)?;
    match find(root, name) {
        Found::Complete(folder) => Ok(folder),
        Found::Without(files) => Err(format!("it has no {files}")),
        Found::Nothing => Err("the cache does not hold what was downloaded".into()),
    }
}

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
        return Err("it has no safetensors weights; pickled ones are not read".into());
    }
    get(INDEX)?;
    for shard in shards(&folder) {
        // Only what the Hub lists is a file of the model, and no way out of the cache.
        if !files.contains(&shard.as_str()) {
            return Err(format!("its index names `{shard}`, which it does not have"));
        }
        get(&shard)?;
    }
    Ok(())
}

fn explain(error: ApiError) -> String {
    let message = error.to_string();
    // The Hub answers 401 for names that do not exist, too.
    match ["401", "403", "404"].iter().any(|status| message.contains(status)) {
        true => format!("{message} (misspelt, private, or no such revision?)"),
        false => format!("{message} (no network?)"),
    }
}
