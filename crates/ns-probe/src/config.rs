//! Configurations of probes, in NeuroSurgeon's JSON.

use ns_circuit::CircuitConfig;
use ns_models::{Site, Sublayer, Transformer, Vector};
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;

/// Which vectors of the residual stream are read (`ResidualUpdateModelConfig` of NeuroSurgeon).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResidualUpdateModelConfig {
    /// `gpt`, `gpt_neox`, `bert` or `vit`, or the model's own `model_type`; empty means: as the model is.
    #[serde(default)]
    pub model_type: String,
    /// Blocks, from 0.
    pub target_layers: Vec<usize>,
    /// Whether the MLP is read.
    pub mlp: bool,
    /// Whether attention is read.
    pub attn: bool,
    /// Whether what the components add is read.
    #[serde(default = "yes")]
    pub updates: bool,
    /// Whether the stream after the addition is read.
    #[serde(default)]
    pub stream: bool,
}

/// Configuration of a [`CircuitProbe`](crate::CircuitProbe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CircuitProbeConfig {
    /// Site that is probed, e.g. `attn_update_1`.
    pub probe_vectors: String,
    /// The masks.
    pub circuit_config: CircuitConfig,
    /// The sites that are read; must hold `probe_vectors` alone.
    pub resid_config: ResidualUpdateModelConfig,
    /// What pulls vectors together.
    #[serde(default)]
    pub loss: ProbeLoss,
}

/// Configuration of a [`SubnetworkProbe`](crate::SubnetworkProbe).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkProbeConfig {
    /// Site that is probed, e.g. `mlp_stream_1`.
    pub probe_vectors: String,
    /// Number of classes.
    pub n_classes: usize,
    /// The masks; no target layers means plain probing.
    pub circuit_config: CircuitConfig,
    /// The sites that are read; must hold `probe_vectors` alone.
    pub resid_config: ResidualUpdateModelConfig,
    /// Width of the probe's hidden layer; −1 for a linear probe.
    #[serde(default = "linear_probe")]
    pub intermediate_size: i64,
    /// One label a sequence, or one a selected token.
    #[serde(default)]
    pub labeling: Labeling,
}

/// Loss of a circuit probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeLoss {
    /// Masked vectors among themselves (Lepori et al. 2024).
    #[default]
    Contrastive,
    /// Masked vectors against those of the unmasked model.
    #[serde(alias = "linear_probe")]
    Linear,
}

/// How labels belong to inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labeling {
    /// One label, and one selected token, a sequence.
    #[default]
    Sequence,
    /// One label a selected token.
    Token,
}

fn yes() -> bool {
    true
}

fn linear_probe() -> i64 {
    -1
}

impl ResidualUpdateModelConfig {
    /// Reads a single site.
    ///
    /// # Errors
    /// [`ProbeError::Config`] for the embeddings, which no mask reaches.
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

    /// The same with `model_type` filled in, as Python wants it.
    pub fn named_for<M: Transformer>(self, model: &M) -> Self {
        Self { model_type: residual_family(model.model_type()).into(), ..self }
    }

    /// The sites that are read, in the order of a forward pass.
    pub fn sites(&self) -> Vec<Site> {
        let sublayers = [(self.attn, Sublayer::Attn), (self.mlp, Sublayer::Mlp)];
        let vectors = [(self.updates, Vector::Update), (self.stream, Vector::Stream)];
        let mut sites = Vec::new();
        for layer in &self.target_layers {
            for (_, sublayer) in sublayers.iter().filter(|(wanted, _)| *wanted) {
                for (_, vector) in vectors.iter().filter(|(wanted, _)| *wanted) {
                    sites.push(Site::new(*sublayer, *vector, *layer));
                }
            }
        }
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// Checks that `model` has all the sites and is of the family that is named.
    ///
    /// # Errors
    /// [`ProbeError::Config`], [`ns_models::ModelError::NoSuchSite`].
    pub fn check<M: Transformer>(&self, model: &M) -> Result<(), ProbeError> {
        let family = residual_family(model.model_type());
        let asked = self.model_type.replace("gptneox", "gpt_neox");
        if !["", family, model.model_type()].contains(&asked.as_str()) {
            let expected = format!("the model is a {}: `{family}`", model.model_type());
            return Err(invalid("resid_config.model_type", &self.model_type, &expected));
        }
        if self.sites().is_empty() {
            let expected = "at least one target layer, one of mlp and attn, and one of updates and stream are needed";
            return Err(invalid("resid_config", &"nothing to read", expected));
        }
        self.sites().into_iter().try_for_each(|site| model.check_site(site))?;
        Ok(())
    }

    /// The one site that a probe reads, which must be `probe_vectors`.
    pub(crate) fn probed_site(&self, probe_vectors: &str) -> Result<Site, ProbeError> {
        if self.target_layers.len() != 1 {
            let found = format!("{} layers", self.target_layers.len());
            return Err(invalid("resid_config.target_layers", &found, "a probe reads exactly one layer"));
        }
        if self.mlp == self.attn {
            let found = format!("mlp = {}, attn = {}", self.mlp, self.attn);
            return Err(invalid("resid_config", &found, "a probe reads exactly one of mlp and attn"));
        }
        let site: Site = probe_vectors.parse()?;
        if !self.sites().contains(&site) {
            let read: Vec<_> = self.sites().iter().map(Site::to_string).collect();
            let expected = format!("resid_config reads {}", read.join(", "));
            return Err(invalid("probe_vectors", &probe_vectors, &expected));
        }
        Ok(site)
    }
}

impl CircuitProbeConfig {
    /// The paper's probe of one site: continuous sparsification from 0, contrastive loss.
    ///
    /// # Errors
    /// [`ProbeError::Config`] for the embeddings.
    pub fn new(site: Site, target_layers: Vec<String>) -> Result<Self, ProbeError> {
        Ok(Self {
            probe_vectors: site.to_string(),
            circuit_config: CircuitConfig { target_layers, ..CircuitConfig::default() },
            resid_config: ResidualUpdateModelConfig::from_site(site)?,
            loss: ProbeLoss::Contrastive,
        })
    }
}

/// Checks what both probes need, and gives the site.
pub(crate) fn check_probe<M: Transformer>(
    probe_vectors: &str,
    circuit: &CircuitConfig,
    resid: &ResidualUpdateModelConfig,
    model: &M,
) -> Result<Site, ProbeError> {
    if !circuit.freeze_base {
        return Err(invalid("circuit_config.freeze_base", &false, "a probe's base model is frozen: it must be true"));
    }
    let site = resid.probed_site(probe_vectors)?;
    resid.check(model)?;
    Ok(site)
}

/// Which of NeuroSurgeon's families a `model_type` belongs to.
fn residual_family(model_type: &str) -> &str {
    match model_type {
        "gpt2" | "gpt_neo" => "gpt",
        "gpt_neox" => "gpt_neox",
        "vit" => "vit",
        _ => "bert",
    }
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
