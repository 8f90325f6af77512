//! The error type of this crate.

use ns_circuit::CircuitError;
use ns_models::{ModelError, Site};

/// Error in the configuration, the data or the model of a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A field of a probe configuration has an unusable value.
    #[error("invalid probe configuration: {field} is {found}, but {expected}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is required instead.
        expected: String,
    },
    /// Masks on layers that do not affect the probed vectors. They would be trained to an empty circuit.
    #[error(
        "masks on {} cannot change the vectors at `{site}`; maskable layers that can: {}",
        layers.join(", "), nearest(reaching)
    )]
    UnreachableSite {
        /// The probed site.
        site: Site,
        /// The masked layers that do not affect the vectors at this site.
        layers: Vec<String>,
        /// The layers that affect them, in the order of a forward pass.
        reaching: Vec<String>,
    },
    /// An activation that the model does not have, or one of its units.
    #[error("there is no activation `{asked}`: {reason}")]
    Activation {
        /// Name of the activation.
        asked: String,
        /// What the model has instead.
        reason: String,
    },
    /// The number of labels differs from the number of vectors.
    #[error("there are {tokens} vectors, but {labels} labels (padding not counted); each vector needs one label")]
    LabelCount {
        /// Number of vectors; in a [`ProbeBatch`](crate::ProbeBatch), the tokens that the token mask selects.
        tokens: usize,
        /// Number of labels, not counting padding labels.
        labels: usize,
    },
    /// A batch that a probe cannot use.
    #[error("invalid probe batch: {what} is {found}, but {expected}")]
    Batch {
        /// Name of the invalid part of the batch.
        what: &'static str,
        /// Its value.
        found: String,
        /// What is required instead.
        expected: String,
    },
    /// An activation cache that is on, but smaller than one batch.
    #[error(
        "an activation cache of {given} MB cannot hold one batch, which needs {needed} MB; pass a larger \
         --activation-cache-mb (ideally enough for all batches), or 0 to turn the cache off"
    )]
    ActivationCache {
        /// Size of one batch in megabytes (2²⁰ bytes), rounded up.
        needed: usize,
        /// Size of the cache in megabytes (2²⁰ bytes), rounded up.
        given: usize,
    },
    /// A class with too few training vectors for the support set of 1-NN.
    #[error(
        "class {class} has {found} training vectors, but the support set samples {wanted} per class; the number per \
         class must be at least 1 and at most the size of the smallest class"
    )]
    SmallClass {
        /// Label of the class.
        class: i64,
        /// Number of training vectors of the class.
        found: usize,
        /// Number of support vectors per class that was requested.
        wanted: usize,
    },
    /// A minimum that was not reached to the required precision.
    #[error(
        "{what} did not converge: after {iterations} iterations its largest gradient is {gradient:.1e}, above \
         {tolerance:.1e}; standardise the vectors, or use a larger l2"
    )]
    NotConverged {
        /// What was minimised.
        what: &'static str,
        /// Number of iterations.
        iterations: usize,
        /// Largest absolute value of the gradient that was reached.
        gradient: f64,
        /// Largest absolute value that is allowed.
        tolerance: f64,
    },
    /// The model could not be built or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The circuit could not be built or run.
    #[error(transparent)]
    Circuit(#[from] CircuitError),
}

/// The last layers of a list, which are nearest to the site, and how many there are in all.
fn nearest(reaching: &[String]) -> String {
    const SHOWN: usize = 6;
    match reaching.len().checked_sub(SHOWN) {
        None | Some(0) => reaching.join(", "),
        Some(hidden) => format!("{} and {hidden} before them", reaching[hidden..].join(", ")),
    }
}
