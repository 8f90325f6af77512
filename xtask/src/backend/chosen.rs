//! Parsing of backend names, and opening of devices. Only this file names backends; commands and tests use it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use anyhow::Context;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
use burn::tensor::{Device, DeviceType};
use tracing::warn;

/// A backend that a build may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// CPU, Burn's flex backend.
    Flex,
    /// CPU, Burn's ndarray backend, which it marks as deprecated.
    Ndarray,
    /// GPU through WebGPU: Vulkan, Metal, DirectX.
    Wgpu,
    /// NVIDIA GPU.
    Cuda,
}

/// A backend and, optionally, the index of one of its devices: `NAME` or `NAME:INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenDevice {
    backend: Backend,
    index: Option<usize>,
}

impl Backend {
    /// All backends, in this build or not.
    pub(crate) const ALL: [Self; 4] = [Self::Flex, Self::Ndarray, Self::Wgpu, Self::Cuda];

    /// Name of the backend and of its cargo feature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// Devices of this machine in the order of their indices; `None` if the backend is not in this build.
    pub(crate) fn devices(self) -> Option<Vec<Device>> {
        let kind = match self {
            #[cfg(feature = "flex")]
            Self::Flex => DeviceType::Flex,
            #[cfg(feature = "ndarray")]
            Self::Ndarray => DeviceType::NdArray,
            #[cfg(feature = "wgpu")]
            Self::Wgpu => DeviceType::Wgpu,
            #[cfg(feature = "cuda")]
            Self::Cuda => DeviceType::Cuda,
            #[allow(unreachable_patterns)]
            _ => return None,
        };
        Some(Device::enumerate(kind).into_vec())
    }

    /// Explains why the backend has no device on a machine.
    pub(crate) fn without_devices(self) -> &'static str {
        match self {
            Self::Flex | Self::Ndarray => "no device",
            Self::Wgpu => "no adapter: no driver of Vulkan, Metal or DirectX is installed",
            Self::Cuda => "no device: no CUDA driver is installed, or it finds no GPU",
        }
    }

    /// The device that is used if no index is given.
    fn preferred(self, devices: &[Device]) -> Option<Device> {
        match self {
            // The fastest adapter, or the one that CUBECL_WGPU_DEFAULT_DEVICE selects.
            #[cfg(feature = "wgpu")]
            Self::Wgpu if !devices.is_empty() => Some(Device::wgpu(DeviceKind::DefaultDevice)),
            _ => devices.first().cloned(),
        }
    }
}

impl ChosenDevice {
    /// Opens the device and starts it.
    ///
    /// # Errors
    /// Returns an error if the backend is not in this build, has no device on this machine, has no device with this
    /// index, or if the device does not start. No other device is used instead.
    pub fn open(self) -> anyhow::Result<Device> {
        let name = self.backend.name();
        let devices = self.backend.devices().with_context(|| {
            format!(
                "backend `{name}` is not in this build; enable its cargo feature: \
                 `cargo run -p xtask --features {name} -- …`"
            )
        })?;
        let preferred = self.backend.preferred(&devices);
        let preferred = preferred.with_context(|| format!("backend `{name}`: {}", self.backend.without_devices()))?;
        let device = match self.index {
            None => preferred,
            Some(index) => devices.get(index).cloned().with_context(|| {
                format!("backend `{name}` has no device {index}: it has {} device(s), numbered from 0", devices.len())
            })?,
        };
        start(&device).with_context(|| format!("the device of backend `{self}` does not start"))?;
        if devices.iter().all(is_software) {
            warn!("`{self}` finds no GPU; its driver computes in software, much slower than the backend `flex`");
        }
        Ok(device)
    }
}

/// Whether the driver of a GPU backend computes on the CPU, as Mesa's lavapipe does.
pub(crate) fn is_software(device: &Device) -> bool {
    #[cfg(feature = "wgpu")]
    if *device == Device::wgpu(DeviceKind::Cpu) {
        return true;
    }
    let _unused_without_wgpu = device;
    false
}

/// Starts a device by waiting for it. Burn's GPU backends panic if the driver refuses.
fn start(device: &Device) -> anyhow::Result<()> {
    match catch_unwind(AssertUnwindSafe(|| device.sync())) {
        Ok(done) => Ok(done?),
        Err(_) => anyhow::bail!("its driver refused to start it; see the message above"),
    }
}

impl From<Backend> for ChosenDevice {
    fn from(backend: Backend) -> Self {
        Self { backend, index: None }
    }
}

impl FromStr for ChosenDevice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        let known = Backend::ALL.map(Backend::name).join(", ");
        let backend = Backend::ALL.into_iter().find(|backend| backend.name() == name);
        let backend = backend.with_context(|| format!("`{name}` is not a backend; known backends are {known}"))?;
        let invalid = |index: &str| format!("`{index}` is not the index of a device; pass a number from 0");
        let index = index.map(|index| index.parse::<usize>().with_context(|| invalid(index)));
        Ok(Self { backend, index: index.transpose()? })
    }
}

impl fmt::Display for ChosenDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => f.write_str(self.backend.name()),
            Some(index) => write!(f, "{}:{index}", self.backend.name()),
        }
    }
}
