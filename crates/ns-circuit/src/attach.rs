//! Puts masks on the parameters of a module, and reads what magnitude pruning needs from them.

use std::collections::BTreeMap;

use burn::module::{ModuleVisitor, Param, Reparameterizer};
use burn::tensor::Tensor;

use crate::mask::Mask;

/// Puts each mask on the parameter at its path.
pub(crate) struct Attach<'a> {
    by_path: BTreeMap<&'a str, &'a Mask>,
}

impl<'a> Attach<'a> {
    pub(crate) fn new(masks: &'a [Mask]) -> Self {
        Self { by_path: masks.iter().map(|mask| (mask.layout.path.as_str(), mask)).collect() }
    }
}

impl Reparameterizer for Attach<'_> {
    type Reparam = Mask;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Mask>) {
        (param, self.by_path.get(path).map(|mask| mask.attachable()))
    }
}

/// Computes the masks of magnitude pruning from the visited parameters.
pub(crate) struct Prune<'a> {
    pub(crate) masks: &'a [Mask],
    pub(crate) path: Vec<String>,
}

impl ModuleVisitor for Prune<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if let Some(mask) = self.masks.iter().find(|mask| mask.layout.path == path) {
            mask.prune(&param.val());
        }
    }
}
