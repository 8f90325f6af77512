//! `--activation-cache-mb`.

use clap::Args;
use ns_train::DEFAULT_ACTIVATION_CACHE_MB;

/// How much to keep of what no mask changes.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ActivationCacheOption {
    /// Memory for what lies below the first masked layer, which is then computed once and not in every epoch; what does
    /// not fit is computed again, and 0 keeps nothing. Probes on one model share it. The numbers are the same
    #[arg(long, default_value_t = DEFAULT_ACTIVATION_CACHE_MB, value_name = "MB")]
    pub(crate) activation_cache_mb: usize,
}
