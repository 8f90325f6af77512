//! Configurations of probes, in the JSON format of the Python package NeuroSurgeon.

use ns_circuit::CircuitConfig;
use ns_models::{Site, Sublayer, Transformer, Vector};
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;

/// Selects sites of the residual stream (`ResidualUpdateModelConfig` of NeuroSurgeon).
///
/// A site is selected if its layer, its sublayer (MLP or attention) and its vector (update or stream) are all selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidualUpdateModelConfig {
    /// Family of the model: `gpt`, `gpt_neox`, `bert` or `vit`, or the `model_type` of its `config.json`. Empty matches
    /// any model.
    #[serde(default)]
    pub model_type: String,
    /// Indices of the blocks, counted from 0.
    pub target_layers: Vec<usize>,
    /// Whether to select the sites of the MLP.
    pub mlp: bool,
    /// Whether to select the sites of attention.
    pub attn: bool,
    /// Whether to select the updates, i.e. what the sublayers add to the residual stream.
    #[serde(default = "yes")]
    pub updates: bool,
    /// Whether to select the residual stream after the addition.
    #[serde(default)]
    pub stream: bool,
}

/// Configuration of a [`CircuitProbe`](crate::CircuitProbe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CircuitProbeConfig {
    /// Name of the probed site, e.g. `attn_update_1`.
    pub probe_vectors: String,
    /// Configuration of the masks.
    pub circuit_config: CircuitConfig,
    /// Selection of sites. It must select one layer, one of MLP and attention, and `probe_vectors`.
    pub resid_config: ResidualUpdateModelConfig,
    /// The training loss.
    #[serde(default)]
    pub loss: ProbeLoss,
}

/// Configuration of a [`SubnetworkProbe`](crate::SubnetworkProbe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkProbeConfig {
    /// Name of the probed site, e.g. `mlp_stream_1`.
    pub probe_vectors: String,
    /// Number of classes of the classifier.
    pub n_classes: usize,
    /// Configuration of the masks. Without target layers only the classifier is trained (plain probing).
    pub circuit_config: CircuitConfig,
    /// Selection of sites. It must select one layer, one of MLP and attention, and `probe_vectors`.
    pub resid_config: ResidualUpdateModelConfig,
    /// Width of the classifier's hidden layer; −1 for a linear classifier.
    #[serde(default = "linear_probe")]
    pub intermediate_size: i64,
    /// Whether labels belong to sequences or to tokens.
    #[serde(default)]
    pub labeling: Labeling,
}

/// Training loss of a circuit probe. Both variants pull vectors with the same label together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProbeLoss {
    /// Compares the vectors of the masked model with each other (Lepori et al. 2024).
    #[default]
    Contrastive,
    /// Compares the vectors of the masked model with the vectors of the unmasked model.
    #[serde(alias = "linear_probe")]
    Linear,
}

/// What one label of a subnetwork probe belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Labeling {
    /// One label and exactly one selected token per sequence.
    #[default]
    Sequence,
    /// One label per selected token; any number of tokens per sequence.
    Token,
}

fn yes() -> bool {
    true
}

fn linear_probe() -> i64 {
    -1
}

impl ResidualUpdateModelConfig {
    /// Selects a single site.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] for [`Site::Embeddings`]: this configuration only describes sites of blocks.
    pub fn from_site(site: Site) -> Result<Self, ProbeError> {
        let Site::Block { layer, sublayer, vector } = site else {
            return Err(invalid("probe_vectors", &site, "it must be a site of a block, e.g. attn_update_0"));
        };
        Ok(Self {
            model_type: String::new(),
            target_layers: vec![layer],
            mlp: sublayer == Sublayer::Mlp,
            attn: sublayer == Sublayer::Attn,
            updates: vector == Vector::Update,
            stream: vector == Vector::Stream,
        })
    }

    /// Sets `model_type` to the family of `model`. The Python package requires this field.
    pub fn named_for<M: Transformer>(self, model: &M) -> Self {
        Self { model_type: model.residual_stream().family.into(), ..self }
    }

    /// The selected sites, in the order of a forward pass.
    pub fn sites(&self) -> Vec<Site> {
        let sublayers = [(self.attn, Sublayer::Attn), (self.mlp, Sublayer::Mlp)];
        let vectors = [(self.updates, Vector::Update), (self.stream, Vector::Stream)];
        let mut sites = Vec::new();
        for layer in &self.target_layers {
            for (_, sublayer) in sublayers.iter().filter(|(selected, _)| *selected) {
                for (_, vector) in vectors.iter().filter(|(selected, _)| *selected) {
                    sites.push(Site::new(*sublayer, *vector, *layer));
                }
            }
        }
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// Checks that `model` belongs to the family `model_type` and has all selected sites.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] if the family differs or no site is selected, and
    /// [`ns_models::ModelError::NoSuchSite`] if `model` lacks a selected site.
    pub fn check<M: Transformer>(&self, model: &M) -> Result<(), ProbeError> {
        let family = model.residual_stream().family;
        let asked = self.model_type.replace("gptneox", "gpt_neox");
        if !["", family, model.model_type()].contains(&asked.as_str()) {
            let expected = format!("the model is a {}: use `{family}` or leave it empty", model.model_type());
            return Err(invalid("resid_config.model_type", &self.model_type, &expected));
        }
        if self.sites().is_empty() {
            let expected = "it must have at least one target layer, mlp or attn, and updates or stream";
            return Err(invalid("resid_config", &"a selection of no site", expected));
        }
        self.sites().into_iter().try_for_each(|site| model.check_site(site))?;
        Ok(())
    }

    /// Parses the probed site, and checks that the selection has one layer, one of MLP and attention, and this site.
    pub(crate) fn probed_site(&self, probe_vectors: &str) -> Result<Site, ProbeError> {
        if self.target_layers.len() != 1 {
            let found = format!("{} layers", self.target_layers.len());
            return Err(invalid("resid_config.target_layers", &found, "it must be exactly one layer"));
        }
        if self.mlp == self.attn {
            let found = format!("mlp = {}, attn = {}", self.mlp, self.attn);
            return Err(invalid("resid_config", &found, "it must select exactly one of mlp and attn"));
        }
        let site: Site = probe_vectors.parse()?;
        if !self.sites().contains(&site) {
            let selected: Vec<_> = self.sites().iter().map(Site::to_string).collect();
            let expected = format!("resid_config selects {}", selected.join(", "));
            return Err(invalid("probe_vectors", &probe_vectors, &expected));
        }
        Ok(site)
    }
}

impl CircuitProbeConfig {
    /// A probe of `site` with masks on `target_layers`, configured as in the paper: continuous sparsification with mask
    /// parameters initialised to 0, and the contrastive loss.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] for [`Site::Embeddings`].
    pub fn new(site: Site, target_layers: Vec<String>) -> Result<Self, ProbeError> {
        Ok(Self {
            probe_vectors: site.to_string(),
            circuit_config: CircuitConfig { target_layers, ..CircuitConfig::default() },
            resid_config: ResidualUpdateModelConfig::from_site(site)?,
            loss: ProbeLoss::Contrastive,
        })
    }
}

/// Checks the settings that both kinds of probes share, and returns the probed site.
pub(crate) fn check_probe<M: Transformer>(
    probe_vectors: &str,
    circuit: &CircuitConfig,
    resid: &ResidualUpdateModelConfig,
    model: &M,
) -> Result<Site, ProbeError> {
    if !circuit.freeze_base {
        return Err(invalid("circuit_config.freeze_base", &false, "a probe freezes its base model: it must be true"));
    }
    let site = resid.probed_site(probe_vectors)?;
    resid.check(model)?;
    Ok(site)
}

fn invalid(field: &'static str, found: &impl ToString, expected: &str) -> ProbeError {
    ProbeError::Config { field, found: found.to_string(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_dumps_are_read() {
        let json = r#"{"return_dict": true, "transformers_version": "4.44.2", "probe_vectors": "attn_update_1",
            "loss": "linear_probe",
            "circuit_config": {"mask_method": "continuous_sparsification", "target_layers": ["a"], "torch_dtype": null,
                "mask_hparams": {"ablation": "none", "mask_unit": "neuron", "mask_bias": false, "mask_init_value": 0.0}},
            "resid_config": {"model_type": "", "target_layers": [1], "mlp": false, "attn": true}}"#;
        let config: CircuitProbeConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.loss, ProbeLoss::Linear);
        assert_eq!(config.resid_config.probed_site("attn_update_1").unwrap().to_string(), "attn_update_1");
    }

    #[test]
    fn a_probe_reads_one_site() {
        let site: Site = "mlp_stream_2".parse().unwrap();
        let config = ResidualUpdateModelConfig::from_site(site).unwrap();
        assert_eq!(config.probed_site("mlp_stream_2").unwrap(), site);
        assert!(config.probed_site("mlp_update_2").unwrap_err().to_string().contains("mlp_stream_2"));
        let two = ResidualUpdateModelConfig { target_layers: vec![1, 2], ..config.clone() };
        assert!(two.probed_site("mlp_stream_2").unwrap_err().to_string().contains("exactly one layer"));
        let both = ResidualUpdateModelConfig { attn: true, ..config };
        assert!(both.probed_site("mlp_stream_2").unwrap_err().to_string().contains("exactly one of mlp and attn"));
    }
}
