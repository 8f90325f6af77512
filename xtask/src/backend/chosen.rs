//! From a backend's name to a device: the only place that names backends. Commands and tests both use it.

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

/// A backend that a build may hold.
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

/// `NAME` or `NAME:INDEX`: a backend, and which of its devices if not the one that it takes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenDevice {
    backend: Backend,
    index: Option<usize>,
}

impl Backend {
    /// All of them, in this build or not.
    pub(crate) const ALL: [Self; 4] = [Self::Flex, Self::Ndarray, Self::Wgpu, Self::Cuda];

    /// Its name, which is its cargo feature's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The devices of this machine in the order of their indices; `None` when the backend is not in this build.
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

    /// What is wrong with a machine where it has no device.
    pub(crate) fn without_devices(self) -> &'static str {
        match self {
            Self::Flex | Self::Ndarray => "no device",
            Self::Wgpu => "no adapter: no driver of Vulkan, Metal or DirectX is installed",
            Self::Cuda => "no device: no CUDA driver is installed, or it sees no GPU",
        }
    }

    /// The device that is taken where none is named.
    fn preferred(self, devices: &[Device]) -> Option<Device> {
        match self {
            // The fastest adapter, or what CUBECL_WGPU_DEFAULT_DEVICE says.
            #[cfg(feature = "wgpu")]
            Self::Wgpu if !devices.is_empty() => Some(Device::wgpu(DeviceKind::DefaultDevice)),
            _ => devices.first().cloned(),
        }
    }
}

impl ChosenDevice {
    /// The device, ready to compute.
    ///
    /// # Errors
    /// When the backend is not in this build, finds nothing on this machine, has fewer devices, or cannot start this
    /// one. No other device is taken in its place.
    pub fn open(self) -> anyhow::Result<Device> {
        let name = self.backend.name();
        let devices = self.backend.devices().with_context(|| {
            format!(
                "backend `{name}` is not in this build; build with it: \
                 `cargo run --release -p xtask --features {name} -- …`"
            )
        })?;
        let preferred = self.backend.preferred(&devices);
        let preferred = preferred.with_context(|| format!("backend `{name}`: {}", self.backend.without_devices()))?;
        let device = match self.index {
            None => preferred,
            Some(index) => devices.get(index).cloned().with_context(|| {
                format!("backend `{name}` has no device {index}: it has {}, numbered from 0", devices.len())
            })?,
        };
        started(&device).with_context(|| format!("backend `{self}` found a device and cannot start it"))?;
        if devices.iter().all(is_software) {
            warn!("`{self}` has no GPU here: it computes in software, far slower than the backend `flex`");
        }
        Ok(device)
    }
}

/// Whether a GPU's driver is a program on the processor, as Mesa's lavapipe is.
pub(crate) fn is_software(device: &Device) -> bool {
    #[cfg(feature = "wgpu")]
    if *device == Device::wgpu(DeviceKind::Cpu) {
        return true;
    }
    let _other_backends_have_no_such_driver = device;
    false
}

/// Waits for the device, which starts it. Burn's GPU backends panic where a driver refuses.
fn started(device: &Device) -> anyhow::Result<()> {
    match catch_unwind(AssertUnwindSafe(|| device.sync())) {
        Ok(done) => Ok(done?),
        Err(_) => anyhow::bail!("its driver refused; the message is above"),
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
        let backend = backend.with_context(|| format!("no backend has this name; there are {known}"))?;
        let index =
            index.map(|index| index.parse::<usize>().with_context(|| format!("`{index}` is not a device's number")));
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
