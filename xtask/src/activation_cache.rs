//! The option `--activation-cache-mb`.

use clap::Args;
use ns_train::DEFAULT_ACTIVATION_CACHE_MB;

/// Memory of the activation cache.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ActivationCacheOption {
    /// Megabytes of frozen activations that are cached; 0 turns the cache off
    ///
    /// Everything below the first masked layer is frozen, so its activations are the same in every epoch. They are
    /// computed once and cached; what does not fit is computed again. Probes on the same model share the cache. The
    /// results do not depend on its size.
    #[arg(long, default_value_t = DEFAULT_ACTIVATION_CACHE_MB, value_name = "MB")]
    pub(crate) activation_cache_mb: usize,
}
