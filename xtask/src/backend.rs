//! From `--backend NAME` to a device: the one place that names backends.

use std::fmt;

use burn::tensor::Device;
use clap::{Args, ValueEnum};

/// A backend that this build may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// CPU, Burn's flex backend
    Flex,
    /// CPU, Burn's (deprecated) ndarray backend
    Ndarray,
    /// GPU through WebGPU: Vulkan, Metal, DirectX
    Wgpu,
    /// NVIDIA GPU
    Cuda,
}

/// Where to compute.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct BackendOption {
    /// Where to compute; a backend is in the build if its cargo feature was on
    #[arg(long, value_enum, default_value = "flex")]
    backend: Backend,
}

impl BackendOption {
    /// The device.
    pub(crate) fn device(self) -> anyhow::Result<Device> {
        self.backend.device()
    }
}

impl Backend {
    fn device(self) -> anyhow::Result<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(unreachable_patterns)]
            absent => anyhow::bail!(
                "backend `{absent}` is not in this build; build with it: `cargo run --release -p xtask --features {absent} -- …`"
            ),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}
