//! The base model of a recipe: what it can read, its weights and its sites.

use std::collections::BTreeMap;
use std::path::Path;

use ns_circuit::expand_layers;
use ns_models::{AnyTransformer, Site, Transformer, VitConfig, read_config, usable_positions};
use ns_probe::ActivationCache;
use serde_json::Value;

use super::base_model_pool::BaseModelPool;
use super::initialize::initialize;
use crate::data::{Examples, ModelLimits};
use crate::error::TrainError;
use crate::recipe::ModelSource;
use crate::recipe::{DataSection, Document, Named, Read, Recipe, fresh_config};

/// What the model of a resolved recipe can read.
///
/// # Errors
/// Returns [`TrainError::Model`] if its configuration cannot be read.
fn limits(recipe: &Recipe) -> Result<ModelLimits, TrainError> {
    Ok(limits_of(model_config(recipe)?))
}

/// The examples of a data section, as the model of a resolved recipe reads them.
///
/// # Errors
/// Returns the errors of [`limits`] and of [`Examples::read`].
pub(super) fn read_examples(pool: &BaseModelPool, recipe: &Recipe, data: &DataSection) -> Result<Examples, TrainError> {
    pool.examples(data, recipe.tokenizer_folder(), limits(recipe)?)
}

/// The `config.json` of the model of a resolved recipe.
///
/// # Errors
/// Returns [`TrainError::Model`] if it cannot be read.
pub(super) fn model_config(recipe: &Recipe) -> Result<Value, TrainError> {
    match &recipe.model {
        ModelSource::Folder(folder) => Ok(read_config(folder)?),
        ModelSource::Config(config) => Ok(fresh_config(config)),
    }
}

/// What the model in a folder can read.
///
/// # Errors
/// Returns [`TrainError::Model`] if its configuration cannot be read.
pub(super) fn limits_of_folder(folder: &Path) -> Result<ModelLimits, TrainError> {
    Ok(limits_of(read_config(folder)?))
}

fn limits_of(config: Value) -> ModelLimits {
    let vocab_size = config["vocab_size"].as_u64().and_then(|size| usize::try_from(size).ok());
    let limits = ModelLimits { max_length: usable_positions(&config), vocab_size, ..ModelLimits::default() };
    // An invalid configuration is an error where the model is made.
    let images = (config["model_type"] == "vit").then(|| serde_json::from_value::<VitConfig>(config).ok()).flatten();
    images.map_or(limits, |config| {
        let [image, patch] = [config.image_size, config.patch_size].map(|size| size.height_and_width());
        let patches = image.iter().zip(patch).map(|(image, patch)| image / patch.max(1)).product::<usize>();
        let image_shape = Some([config.num_channels, image[0], image[1]]);
        ModelLimits { image_shape, image_positions: Some(patches + 1), ..limits }
    })
}

/// The model of a resolved recipe, with a handle to the activation cache that all runs on the same model and examples
/// share.
///
/// # Errors
/// Returns [`TrainError::Model`] if the model cannot be loaded.
pub(super) fn base_model(
    pool: &BaseModelPool,
    recipe: &Recipe,
) -> Result<(AnyTransformer, ActivationCache), TrainError> {
    let device = pool.device().clone().autodiff();
    match &recipe.model {
        ModelSource::Folder(folder) => {
            pool.get(key(recipe, folder.display()), || Ok(AnyTransformer::load(folder, &device)?))
        }
        ModelSource::Config(config) => {
            let init = || Ok(initialize(AnyTransformer::init(&fresh_config(config), &device)?, recipe.seed));
            pool.get(key(recipe, format_args!("{config} {}", recipe.seed)), init)
        }
    }
}

/// Identifies model and examples. Labels do not matter, except where they say which words are read.
fn key(recipe: &Recipe, model: impl std::fmt::Display) -> String {
    let reads_all = matches!(recipe.data.read, Some(Read::Named(Named::All)));
    let label = recipe.data.label.clone().filter(|_| reads_all);
    let examples = DataSection { label, numeric: false, ..recipe.data.clone() };
    format!("{model} {examples:?}")
}

/// The probed site of a recipe.
///
/// # Errors
/// Returns [`TrainError::Setting`] if it is not a site of a block of the model.
pub(super) fn site(recipe: &Recipe, model: &AnyTransformer) -> Result<Site, TrainError> {
    let name = recipe.probe.as_ref().map_or("", |probe| &probe.vectors);
    let found = site_names(model).into_iter().find(|known| known == name).and_then(|name| name.parse().ok());
    found.ok_or_else(|| no_site("probe.vectors", name, model))
}

/// The sites that match a pattern, e.g. `attn_update_*`, in the model of a recipe, in the order of a forward pass.
///
/// # Errors
/// Returns [`TrainError::Setting`] if there are none, and [`TrainError::Model`] if the model cannot be loaded.
pub fn sites_of_pattern(
    pool: &BaseModelPool,
    document: &Document,
    recipe: &Recipe,
    pattern: &str,
) -> Result<Vec<String>, TrainError> {
    let (model, _) = base_model(pool, &recipe.clone().resolve(document.path())?)?;
    let names = site_names(&model);
    expand_layers(&[pattern.into()], names.iter().map(String::as_str))
        .map_err(|_| no_site("probe.vectors", pattern, &model))
}

fn site_names(model: &AnyTransformer) -> Vec<String> {
    model.sites().into_iter().filter(|site| *site != Site::Embeddings).map(|site| site.to_string()).collect()
}

/// The sites of a model that have these names or match these patterns, in the order of `asked`, each once. `setting` is
/// where the names stand.
///
/// # Errors
/// Returns [`TrainError::Setting`] for a name or pattern without a site.
pub(super) fn named_sites(
    model: &AnyTransformer,
    setting: &'static str,
    asked: &[String],
) -> Result<Vec<Site>, TrainError> {
    let known: BTreeMap<String, Site> = model.sites().into_iter().map(|site| (site.to_string(), site)).collect();
    let mut sites = Vec::new();
    for pattern in asked {
        let order: Vec<String> = model.sites().iter().map(Site::to_string).collect();
        let names = expand_layers(std::slice::from_ref(pattern), order.iter().map(String::as_str)).unwrap_or_default();
        let found: Option<Vec<Site>> = names.iter().map(|name| known.get(name).copied()).collect();
        let found = found.filter(|found| !found.is_empty()).ok_or_else(|| no_site(setting, pattern, model))?;
        sites.extend(found.into_iter().filter(|site| !sites.contains(site)).collect::<Vec<_>>());
    }
    Ok(sites)
}

fn no_site(setting: &'static str, asked: &str, model: &AnyTransformer) -> TrainError {
    let expected = format!(
        "the model has {} blocks; its sites are those of `inspect`, from {} to {}",
        model.n_layers(),
        site_names(model).first().map_or("", String::as_str),
        site_names(model).last().map_or("", String::as_str)
    );
    TrainError::setting(setting, format!("`{asked}`"), expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_says_what_a_model_reads() {
        let text = limits_of(json!({ "model_type": "gpt2", "n_positions": 8, "vocab_size": 10 }));
        assert_eq!(text, ModelLimits { max_length: Some(8), vocab_size: Some(10), ..ModelLimits::default() });
        let images =
            limits_of(json!({ "model_type": "vit", "image_size": [8, 12], "patch_size": 4, "num_channels": 1 }));
        assert_eq!((images.image_shape, images.image_positions), (Some([1, 8, 12]), Some(7)));
    }
}
