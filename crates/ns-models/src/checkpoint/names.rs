//! Hugging Face's names and Burn's paths: the one place that translates them, both ways.

use std::collections::BTreeSet;

use crate::{LayerKind, MaskableLayer};

/// How the parameters of one model are called in its checkpoint.
#[derive(Clone, Debug, Default)]
pub struct HfNames {
    /// Prefix of Burn's paths that the checkpoint lacks, e.g. `transformer.` for a bare `GPT2Model`.
    pub dropped_prefix: &'static str,
    /// Prefix that a checkpoint of the bare base model lacks and that is then added, as `from_pretrained` does.
    pub base_model_prefix: &'static str,
    /// Endings of keys that are no parameters and are passed over, e.g. stored causal masks.
    pub ignored_endings: &'static [&'static str],
    /// Keys that the file may hold although the model computes them otherwise, e.g. a tied `lm_head.weight`.
    pub ignored_keys: Vec<&'static str>,
    /// Layers whose weights lie transposed in the checkpoint.
    transposed: BTreeSet<String>,
}

impl HfNames {
    /// Names of a model with these layers.
    pub fn new(layers: &[MaskableLayer]) -> Self {
        let transposed = layers.iter().filter(|l| l.kind == LayerKind::Linear).map(|l| format!("{}.weight", l.path));
        Self { transposed: transposed.collect(), ..Self::default() }
    }

    /// HF name of the parameter at a Burn path.
    pub fn name(&self, path: &str) -> String {
        let path = path.strip_prefix(self.dropped_prefix).unwrap_or(path);
        match path.rsplit_once('.') {
            Some((module, "gamma")) => format!("{module}.weight"),
            Some((module, "beta")) => format!("{module}.bias"),
            _ => path.into(),
        }
    }

    /// Whether the parameter at this Burn path lies transposed in the checkpoint.
    pub fn is_transposed(&self, path: &str) -> bool {
        self.transposed.contains(path)
    }

    /// Whether a key of the file is no parameter of the model, and rightly so.
    pub fn is_ignored(&self, key: &str) -> bool {
        self.ignored_keys.contains(&key) || self.ignored_endings.iter().any(|ending| key.ends_with(ending))
    }
}
