//! Hugging Face's names and Burn's paths: the one place that translates them, both ways.

use std::borrow::Cow;

use burn::module::Module;

use crate::layers::{FoundLayer, LayerKind, MaskableLayer, find_layers};

/// How the parameters of one model are called in its checkpoint. Burn's paths are meant without enum variants.
#[derive(Clone, Debug, Default)]
pub struct HfNames {
    /// First part of the base model's Burn paths, and what it is called in the checkpoint of a model with a head;
    /// a bare base model's keys have neither.
    pub base: (&'static str, &'static str),
    /// Whether the model has a head, and the base model's keys their prefix with it.
    pub has_head: bool,
    /// Names that differ, as parts of a dotted path: Burn's and HF's. The first that fits at a place is taken.
    pub renamed: Vec<(&'static str, &'static str)>,
    /// Endings of keys that are no parameters and are passed over, e.g. stored causal masks.
    pub ignored_endings: Vec<&'static str>,
    /// Keys that the file may hold although the model computes them otherwise, e.g. a tied `lm_head.weight`, or has
    /// no use for them.
    pub ignored_keys: Vec<&'static str>,
    /// Endings of the Burn paths of linear layers that HF builds as `Conv1D`.
    pub gpt_conv1d: &'static [&'static str],
}

impl HfNames {
    /// HF name of the parameter at a Burn path.
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
            let known = self.renamed.iter().find_map(|(ours, theirs)| Some((after(rest, ours)?, *theirs)));
            let (name, after) = known.map(|(after, name)| (name, after)).unwrap_or_else(|| first_part(rest));
            if !name.is_empty() {
                names.push(name.to_string().into());
            }
            rest = after;
        }
        names.join(".")
    }

    /// The layers of `module` that a mask can be put on, under their HF names, in the order of its fields.
    pub fn maskable_layers<M: Module>(&self, module: &M) -> Vec<MaskableLayer> {
        let named = |layer: FoundLayer| MaskableLayer {
            name: self.rename(&layer.plain_path),
            path: layer.path,
            kind: layer.kind,
            shape: layer.shape,
            bias: layer.bias,
        };
        self.find_layers(module).into_iter().map(named).collect()
    }

    /// Burn paths of the weights that lie transposed in the checkpoint.
    pub(crate) fn transposed<M: Module>(&self, module: &M) -> std::collections::BTreeSet<String> {
        let layers = self.find_layers(module).into_iter().filter(|layer| layer.kind == LayerKind::Linear);
        layers.map(|layer| format!("{}.weight", layer.plain_path)).collect()
    }

    fn find_layers<M: Module>(&self, module: &M) -> Vec<FoundLayer> {
        find_layers(module, |path| self.gpt_conv1d.iter().any(|ending| path.ends_with(ending)))
    }

    /// Whether a key of the file is no parameter of the model, and rightly so.
    pub fn is_ignored(&self, key: &str) -> bool {
        self.ignored_keys.contains(&key) || self.ignored_endings.iter().any(|ending| key.ends_with(ending))
    }
}

/// What follows `start` in a dotted path that begins with it.
fn after<'a>(path: &'a str, start: &str) -> Option<&'a str> {
    match path.strip_prefix(start)? {
        "" => Some(""),
        rest => rest.strip_prefix('.'),
    }
}

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
