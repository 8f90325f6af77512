//! `--backend NAME[:INDEX]`, and what `--backend list` prints.

mod chosen;

use burn::tensor::Device;
use clap::Args;

use crate::output::say;
pub use chosen::ChosenDevice;

use chosen::Backend;

/// Where to compute.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct BackendOption {
    /// Where to compute: `flex`, `ndarray`, `wgpu` or `cuda`, if its cargo feature was on, `wgpu:1` for its second
    /// device; `list` shows what there is
    #[arg(long, value_name = "NAME[:INDEX]", default_value = "flex")]
    backend: ChosenDevice,
}

impl BackendOption {
    /// The device.
    pub(crate) fn device(self) -> anyhow::Result<Device> {
        self.backend.open()
    }
}

/// Every backend in this build that has a device here; each that has none gets a line that says SKIPPED.
pub(crate) fn all_with_devices() -> Vec<ChosenDevice> {
    let here = |backend: &Backend| match backend.devices() {
        None => false,
        Some(devices) if devices.is_empty() => {
            say!("SKIPPED: {}: {}", backend.name(), backend.without_devices());
            false
        }
        Some(_) => true,
    };
    Backend::ALL.into_iter().filter(here).map(ChosenDevice::from).collect()
}

/// Whether the arguments hold `--backend list`, which needs no other argument.
pub(crate) fn list_is_wanted(arguments: impl Iterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.collect();
    let apart = arguments.windows(2).any(|pair| pair[0] == "--backend" && pair[1] == "list");
    apart || arguments.iter().any(|argument| argument == "--backend=list")
}

/// Prints each backend and its devices.
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

/// What the driver calls the device; the processor has no name.
pub(crate) fn device_name(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(name) = driver_name(device) {
        return if chosen::is_software(device) { format!("{name}, in software") } else { name };
    }
    let _has_a_driver_elsewhere = device;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("this machine's processor, {threads} threads")
}

/// `None` where there is no driver; a device that does not start says so in place of its name.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn driver_name(device: &Device) -> Option<String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.identity())) {
        Ok(identity) => identity.map(|identity| identity.name),
        Err(_) => Some("found, and cannot be started; the message is above".into()),
    }
}
