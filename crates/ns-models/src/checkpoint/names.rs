//! Translates the Burn paths of parameters and layers to HF's names. No other module does this.

use std::borrow::Cow;

use burn::module::Module;

use crate::layers::{LayerKind, MaskableLayer, find_layers};

/// The names of a model's parameters in HF checkpoints. All Burn paths are without enum variants.
#[derive(Clone, Debug, Default)]
pub struct HfNames {
    /// First part of the base model's paths: in Burn, and in the checkpoint of a model with a head. Checkpoints of a
    /// model without a head have no prefix.
    pub base: (&'static str, &'static str),
    /// Whether the model has a head, so that the keys of the base model have the prefix.
    pub has_head: bool,
    /// Names that differ, in Burn and in HF. Each is one or more whole parts of a dotted path; the first match wins.
    pub renamed: Vec<(&'static str, &'static str)>,
    /// Endings of checkpoint keys that are ignored, for example those of stored causal masks.
    pub ignored_endings: Vec<&'static str>,
    /// Checkpoint keys that are ignored, for example `lm_head.weight` if it is tied to the token embedding.
    pub ignored_keys: Vec<&'static str>,
    /// Keys of PyTorch's state dict that are not in the checkpoint because they repeat another tensor, such as tied
    /// heads. Each comes with the key that it repeats.
    pub repeated_keys: Vec<(String, String)>,
}

impl HfNames {
    /// Returns the HF name of the parameter at a Burn path.
    pub fn name(&self, path: &str) -> String {
        let (module, leaf) = path.rsplit_once('.').unwrap_or(("", path));
        let leaf = match leaf {
            "gamma" => "weight",
            "beta" => "bias",
            leaf => leaf,
        };
        self.rename(&if module.is_empty() { leaf.to_string() } else { format!("{module}.{leaf}") })
    }

    fn rename(&self, path: &str) -> String {
        let mut names: Vec<Cow<str>> = Vec::new();
        let mut rest = match path.strip_prefix(self.base.0).and_then(|rest| rest.strip_prefix('.')) {
            Some(rest) if self.has_head => {
                names.push(self.base.1.into());
                rest
            }
            Some(rest) => rest,
            None => path,
        };
        while !rest.is_empty() {
            let renamed = self.renamed.iter().find_map(|(burn, hf)| Some((*hf, after(rest, burn)?)));
            let (name, after) = renamed.unwrap_or_else(|| first_part(rest));
            if !name.is_empty() {
                names.push(name.to_string().into());
            }
            rest = after;
        }
        names.join(".")
    }

    /// Returns the layers of `module` whose weights can be masked, with their HF names, in the order of its fields.
    pub fn maskable_layers<M: Module>(&self, module: &M) -> Vec<MaskableLayer> {
        let named = |layer: MaskableLayer| MaskableLayer { name: self.rename(&layer.name), ..layer };
        find_layers(module).into_iter().map(named).collect()
    }

    /// Burn paths of the weights that the checkpoint stores transposed.
    pub(crate) fn transposed<M: Module>(&self, module: &M) -> std::collections::BTreeSet<String> {
        let layers = find_layers(module).into_iter().filter(|layer| layer.kind == LayerKind::Linear);
        layers.map(|layer| format!("{}.weight", layer.name)).collect()
    }

    /// Whether a key of a checkpoint is ignored because the model does not read it.
    pub fn is_ignored(&self, key: &str) -> bool {
        self.ignored_keys.contains(&key) || self.ignored_endings.iter().any(|ending| key.ends_with(ending))
    }
}

/// The rest of a dotted path that begins with `start`; `None` if it does not.
fn after<'a>(path: &'a str, start: &str) -> Option<&'a str> {
    match path.strip_prefix(start)? {
        "" => Some(""),
        rest => rest.strip_prefix('.'),
    }
}

/// Splits a dotted path into its first part and the rest.
fn first_part(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(has_head: bool) -> HfNames {
        let renamed = vec![("self_attention.span", "self"), ("self_attention", "self"), ("layer_norm", "LayerNorm")];
        HfNames { base: ("base", "bert"), has_head, renamed, ..HfNames::default() }
    }

    #[test]
    fn parts_are_renamed_and_parts_of_parts_are_not() {
        let name = |path: &str| names(true).name(path);
        assert_eq!(name("base.encoder.layer.0.self_attention.query.weight"), "bert.encoder.layer.0.self.query.weight");
        assert_eq!(name("base.layer.1.self_attention.span.conv.weight"), "bert.layer.1.self.conv.weight");
        assert_eq!(name("base.output.layer_norm.gamma"), "bert.output.LayerNorm.weight");
        assert_eq!(name("base.output.layer_norm_2.beta"), "bert.output.layer_norm_2.bias");
        assert_eq!(name("classifier.weight"), "classifier.weight");
    }

    #[test]
    fn a_base_model_has_no_prefix() {
        assert_eq!(names(false).name("base.pooler.dense.bias"), "pooler.dense.bias");
    }
}
