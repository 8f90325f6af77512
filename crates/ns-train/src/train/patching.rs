//! Activation patching on the model and the data of a recipe.

use std::path::PathBuf;

use burn::tensor::Device;
use ns_circuit::expand_layers;
use ns_models::{AnyTransformer, Model, Transformer};
use ns_probe::{ActivationSite, head_inputs};

use super::base_model::{model_config, named_sites};
use super::base_model_pool::BaseModelPool;
use super::behaviour::{answer_data, answers_of};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::evaluate::{PatchReport, PatchRuns};
use crate::recipe::{Document, Metric, Recipe, SetName};

/// Start of the name of the results of attention heads.
const HEADS: &str = "heads_";

/// Activation patching (Meng et al. 2022, Wang et al. 2023): which activations carry what the answer depends on?
///
/// Each example has a partner, `data.partner` of the recipe, with the same number of tokens. The *clean* run is that of
/// the example, the *corrupted* run that of its partner. The corrupted run is repeated with the clean value of one
/// activation at one position (or of one attention head at all positions), and the logit difference of the example's
/// answer, which `[behaviour]` names, is measured.
///
/// ```no_run
/// use burn::tensor::Device;
/// use ns_train::recipe::Document;
/// use ns_train::{Patching, patch_table, write_patching};
///
/// let mut recipe = Document::read("models/agreement/circuits-of-number.toml")?;
/// recipe.set("data.partner=partner")?;
/// let report = Patching { heads: true, examples: 50, ..Patching::default() }.run(&recipe, &Device::default())?;
/// println!("{} restores {:?}", report.maps[0].rows[0].site, report.maps[0].rows[0].normalised);
/// println!("{}", patch_table(&report));
/// write_patching("runs/patch", &report)?;
/// # Ok::<(), ns_train::TrainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patching {
    /// The set of the examples.
    pub set: SetName,
    /// Names of sites, or patterns such as `attn_update_*`. By default all sites of the residual stream.
    pub sites: Vec<String>,
    /// Whether the results of all attention heads are patched, too, one head at a time.
    pub heads: bool,
    /// Number of examples: the first ones of the set that have an answer.
    pub examples: usize,
}

impl Default for Patching {
    fn default() -> Self {
        Self { set: SetName::Test, sites: Vec::new(), heads: false, examples: 100 }
    }
}

impl Patching {
    /// Patches the model that a recipe names, on its data. The recipe may be of any kind; what it trains is not read.
    ///
    /// Examples of one length share forward passes, which continue from the patched site. Shows progress on stderr if they
    /// take more than two seconds.
    ///
    /// # Errors
    /// Returns [`TrainError::RecipeKey`] with file, line and key for a recipe without `data.partner`, answers or the
    /// folder of a model, and for what the model or the data do not have; [`TrainError::Data`] with the row for a partner
    /// of another length; [`TrainError::ConstantMetric`] if the model answers alike on examples and partners;
    /// [`TrainError::Setting`] for a set without examples, 0 examples and a site that the model does not have; and
    /// [`TrainError::Model`] for a model that cannot be loaded or is not a transformer.
    pub fn run(&self, document: &Document, device: &Device) -> Result<PatchReport, TrainError> {
        TrainError::check(self.examples > 0, "--examples", "0", "it must be at least 1")?;
        let recipe = document.task()?;
        self.report(recipe, document, device).map_err(|error| document.locate(error))
    }

    fn report(&self, recipe: Recipe, document: &Document, device: &Device) -> Result<PatchReport, TrainError> {
        let expected = "it names the column with the counterfactual text of each row, or { derange = { seed = 0 } }";
        TrainError::check(recipe.data.partner.is_some(), "data.partner", "missing", expected)?;
        let recipe = recipe.resolve(document.path())?;
        let expected = "patching needs a trained model; name its folder";
        let folder = recipe.model_folder().ok_or_else(|| TrainError::setting("model", "a fresh model", expected))?;
        let model = AnyTransformer::load(folder, device)?;
        let sites = self.sites(&model)?;
        let data = answer_data(&recipe, model.head());
        let pool = BaseModelPool::new(device, 0);
        let answers = answers_of(&pool, &recipe, &data, &model, &model_config(&recipe)?)?;
        let rows = self.rows(&answers.examples)?;
        answers.examples.check_partner_lengths(&data, &rows)?;
        let found = PatchRuns::new(&model, &answers, &rows, sites).run()?;
        Ok(PatchReport {
            // Without the `.` of a recipe in the folder of its model.
            model: folder.components().collect::<PathBuf>().display().to_string(),
            data: recipe.data.name(),
            set: self.set,
            examples: rows.len(),
            metric: Metric::LogitDifference,
            clean: found.clean,
            corrupted: found.corrupted,
            counted_from: found.counted_from,
            positions: found.positions,
            maps: found.maps,
        })
    }

    /// The first rows of the set that have an answer.
    fn rows(&self, examples: &Examples) -> Result<Vec<usize>, TrainError> {
        let sets = examples.split().sets();
        let set = sets.iter().find(|(name, _)| *name == self.set.name()).map_or(&[][..], |(_, rows)| *rows);
        let answered = set.iter().copied().filter(|row| !examples.rows().of(*row).is_empty());
        let rows: Vec<usize> = answered.take(self.examples).collect();
        let expected = "no example is in it; name another set";
        TrainError::check(!rows.is_empty(), "--set", format!("`{}`", self.set.name()), expected)?;
        Ok(rows)
    }

    /// The patched sites. Those of heads match only patterns that begin with `heads_`.
    fn sites(&self, model: &AnyTransformer) -> Result<Vec<ActivationSite>, TrainError> {
        let (of_heads, others): (Vec<String>, Vec<String>) =
            self.sites.iter().cloned().partition(|pattern| pattern.starts_with(HEADS));
        let residual = match self.sites.is_empty() {
            true => model.sites(),
            false => named_sites(model, "--sites", &others)?,
        };
        let mut sites: Vec<ActivationSite> = residual.into_iter().map(ActivationSite::from).collect();
        sites.sort();
        let asked = if self.heads { vec![format!("{HEADS}*")] } else { of_heads };
        sites.extend(heads(model, &asked)?);
        Ok(sites)
    }
}

/// The blocks whose heads match patterns, in order.
fn heads(model: &AnyTransformer, asked: &[String]) -> Result<Vec<ActivationSite>, TrainError> {
    let known: Vec<ActivationSite> = head_inputs(model).into_keys().map(ActivationSite::Heads).collect();
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    let mut chosen = Vec::new();
    for pattern in asked {
        let found = expand_layers(std::slice::from_ref(pattern), names.iter().map(String::as_str)).unwrap_or_default();
        // A name without `*` stands for itself.
        let found: Vec<String> = found.into_iter().filter(|name| names.contains(name)).collect();
        let expected = match names.last() {
            Some(last) => format!("the model has {HEADS}0 to {last}"),
            None => "the model has no linear layer that reads the results of single heads".into(),
        };
        let setting = if pattern == "heads_*" { "--heads" } else { "--sites" };
        TrainError::check(!found.is_empty(), setting, format!("`{pattern}`"), expected)?;
        chosen.extend(found);
    }
    Ok(known.into_iter().zip(names).filter(|(_, name)| chosen.contains(name)).map(|(site, _)| site).collect())
}
