//! What can go wrong in a probe.

use ns_circuit::CircuitError;
use ns_models::ModelError;

/// Error of a probe's configuration, its data, or its model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A configuration that no probe can have.
    #[error("invalid probe configuration: {field} is {found}, but {expected}")]
    Config {
        /// Field of the configuration.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Selected tokens and labels do not correspond.
    #[error("the token mask selects {tokens} vectors, but there are {labels} labels (padding left out)")]
    LabelCount {
        /// Vectors that the token mask selects.
        tokens: usize,
        /// Labels that are no padding.
        labels: usize,
    },
    /// A batch that a probe cannot read.
    #[error("invalid probe batch: {what} is {found}, but {expected}")]
    Batch {
        /// Which part.
        what: &'static str,
        /// What was given.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A cache of frozen activations that is smaller than a batch.
    #[error(
        "the activation cache of {given} MB cannot hold the {needed} MB of one batch; give it as much (better: that of all \
         batches), or 0 to do without"
    )]
    ActivationCache {
        /// Megabytes of a batch, rounded up.
        needed: usize,
        /// Megabytes of the cache.
        given: usize,
    },
    /// A k-NN memory that cannot be drawn.
    #[error("class {class} has {found} training vectors, but {wanted} a class are wanted as memory")]
    SmallClass {
        /// The label.
        class: i64,
        /// How many vectors it has.
        found: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The circuit.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
}
