//! The option `--backend NAME[:INDEX]` and the output of `--backend list`.

mod chosen;

use burn::tensor::Device;
use clap::Args;

use crate::output::say;
pub use chosen::ChosenDevice;

use chosen::Backend;

/// Backend and device to compute on.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct BackendOption {
    /// Backend and device to compute on; `list` prints those of this machine
    ///
    /// Backends are `flex` and `ndarray` (CPU), `wgpu` (GPU through Vulkan, Metal or DirectX) and `cuda` (NVIDIA GPU).
    /// A build contains those whose cargo feature is enabled. An index selects a device: `wgpu:1` is the second of
    /// `wgpu`.
    #[arg(long, value_name = "NAME[:INDEX]", default_value = "flex")]
    backend: ChosenDevice,
}

impl BackendOption {
    /// Opens the device.
    pub(crate) fn device(self) -> anyhow::Result<Device> {
        self.backend.open()
    }
}

/// Returns every backend in this build that has a device on this machine. Prints a line `SKIPPED: …` for each backend
/// without one.
pub(crate) fn all_with_devices() -> Vec<ChosenDevice> {
    let has_device = |backend: &Backend| match backend.devices() {
        None => false,
        Some(devices) if devices.is_empty() => {
            say!("SKIPPED: {}: {}", backend.name(), backend.without_devices());
            false
        }
        Some(_) => true,
    };
    Backend::ALL.into_iter().filter(has_device).map(ChosenDevice::from).collect()
}

/// Whether the arguments contain `--backend list`. This is checked before clap parses the arguments, because the list
/// needs no other argument.
pub(crate) fn list_is_requested(arguments: impl Iterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.collect();
    let as_two_arguments = arguments.windows(2).any(|pair| pair[0] == "--backend" && pair[1] == "list");
    as_two_arguments || arguments.iter().any(|argument| argument == "--backend=list")
}

/// Prints each backend with its devices.
pub(crate) fn print_list() {
    for backend in Backend::ALL {
        let name = backend.name();
        match backend.devices() {
            None => say!("{name:<10}not in this build; `--features {name}` adds it"),
            Some(devices) if devices.is_empty() => say!("{name:<10}{}", backend.without_devices()),
            Some(devices) => {
                for (index, device) in devices.iter().enumerate() {
                    say!("{:<10}{}", format!("{name}:{index}"), device_name(device));
                }
            }
        }
    }
}

/// Name of a device according to its driver. The CPU has no name, so its number of threads is given.
pub(crate) fn device_name(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(name) = driver_name(device) {
        return if chosen::is_software(device) { format!("{name} (in software)") } else { name };
    }
    let _unused_without_gpu_backends = device;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("this machine's processor, {threads} threads")
}

/// Name of a device according to its driver; `None` if it has no driver. For a device that does not start, a message is
/// returned instead.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn driver_name(device: &Device) -> Option<String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.identity())) {
        Ok(identity) => identity.map(|identity| identity.name),
        Err(_) => Some("found, but it does not start; see the message above".into()),
    }
}
