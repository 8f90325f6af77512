//! What the weight and the L0 term of one mask tell each other, so that neither computes what the other has.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::{Backend, autodiff::NodeId, tensor::FloatTensor};

use super::Relaxation;

/// Between the effective parameter and the L0 term that are made from the same logits.
///
/// Forward, the sum of the open gates that was found beside the effective parameter is kept for the L0 term. Backward,
/// the gradient of that sum waits here for the effective parameter's turn, which hands in both at once; should it have
/// no turn, the L0 term hands in its own (see `autodiff.rs`). Everything is kept with the logits and the relaxation that
/// it belongs to, so a handoff may serve any number of steps and copies of a model.
#[derive(Debug, Clone, Default)]
pub(crate) struct L0Handoff(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// Of the effective parameter that was made last.
    sum: Option<Entry>,
    /// One a key; none outside a backward pass.
    gradients: Vec<Entry>,
}

/// A tensor of shape `[1]` of any backend.
#[derive(Debug)]
struct Entry {
    key: Key,
    tensor: Box<dyn Any + Send>,
}

/// The leaf that the logits are, and what is made of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key {
    pub(super) logits: NodeId,
    pub(super) relaxation: Relaxation,
}

impl L0Handoff {
    /// Keeps the sum of the open gates.
    pub(super) fn keep_sum<B: Backend>(&self, key: Key, sum: FloatTensor<B>) {
        self.entries().sum = Some(Entry { key, tensor: Box::new(sum) });
    }

    /// The sum of the open gates of `key`, if it is known.
    pub(super) fn sum<B: Backend>(&self, key: Key) -> Option<FloatTensor<B>> {
        let entries = self.entries();
        let entry = entries.sum.as_ref().filter(|entry| entry.key == key)?;
        entry.tensor.downcast_ref::<FloatTensor<B>>().cloned()
    }

    /// Leaves the gradient of the sum for whoever takes it first.
    pub(super) fn store_gradient<B: Backend>(&self, key: Key, gradient: FloatTensor<B>) {
        self.entries().gradients.push(Entry { key, tensor: Box::new(gradient) });
    }

    /// Takes the gradient of the sum of `key`, if it is still here.
    pub(super) fn take_gradient<B: Backend>(&self, key: Key) -> Option<FloatTensor<B>> {
        let mut entries = self.entries();
        let place = entries.gradients.iter().position(|entry| entry.key == key)?;
        let entry = entries.gradients.swap_remove(place);
        entry.tensor.downcast::<FloatTensor<B>>().ok().map(|tensor| *tensor)
    }

    /// The entries. A panic elsewhere cannot leave them half-written, so poison is ignored.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
