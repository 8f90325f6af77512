//! Shares results between the effective parameter and the L0 term of one mask, so that nothing is computed twice.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::{Backend, autodiff::NodeId, tensor::FloatTensor};

use super::Relaxation;

/// Connects the effective parameter and the L0 term that are computed from the same logits.
///
/// Forward pass: the kernel of the effective parameter also computes the sum of the open gates and stores it here for
/// the L0 term. Backward pass: the L0 term stores the gradient of that sum here. The effective parameter takes it and
/// computes the gradient of the logits from both in one kernel. If the effective parameter has no backward pass, the L0
/// term registers its own gradient (see `autodiff.rs`). Entries are stored by logits and relaxation, so one handoff can
/// serve any number of steps and model copies.
#[derive(Debug, Clone, Default)]
pub(crate) struct L0Handoff(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// The sum of the open gates from the last effective parameter.
    sum: Option<Entry>,
    /// Gradients of the sum, one per key. Empty outside a backward pass.
    gradients: Vec<Entry>,
}

/// A tensor of shape `[1]` of any backend.
#[derive(Debug)]
struct Entry {
    key: Key,
    tensor: Box<dyn Any + Send>,
}

/// Identifies an entry: the autodiff node of the logits, and the relaxation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key {
    pub(super) logits: NodeId,
    pub(super) relaxation: Relaxation,
}

impl L0Handoff {
    /// Stores the sum of the open gates.
    pub(super) fn store_sum<B: Backend>(&self, key: Key, sum: FloatTensor<B>) {
        self.entries().sum = Some(Entry { key, tensor: Box::new(sum) });
    }

    /// Returns the sum of the open gates for `key`, if it is stored.
    pub(super) fn sum<B: Backend>(&self, key: Key) -> Option<FloatTensor<B>> {
        let entries = self.entries();
        let entry = entries.sum.as_ref().filter(|entry| entry.key == key)?;
        entry.tensor.downcast_ref::<FloatTensor<B>>().cloned()
    }

    /// Stores the gradient of the sum until it is taken.
    pub(super) fn store_gradient<B: Backend>(&self, key: Key, gradient: FloatTensor<B>) {
        self.entries().gradients.push(Entry { key, tensor: Box::new(gradient) });
    }

    /// Takes the gradient of the sum for `key`, if it is stored and was not taken yet.
    pub(super) fn take_gradient<B: Backend>(&self, key: Key) -> Option<FloatTensor<B>> {
        let mut entries = self.entries();
        let index = entries.gradients.iter().position(|entry| entry.key == key)?;
        let entry = entries.gradients.swap_remove(index);
        entry.tensor.downcast::<FloatTensor<B>>().ok().map(|tensor| *tensor)
    }

    /// Locks the entries. A panic in another thread cannot leave them half-written, so lock poisoning is ignored.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
