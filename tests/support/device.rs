//! The device that a test binary computes on.

use std::sync::OnceLock;

use burn::tensor::Device;
use xtask::backend::ChosenDevice;

/// Environment variable with the backend of the tests, e.g. `wgpu` or `cuda:1`.
const VARIABLE: &str = "NS_BACKEND";
const DEFAULT: &str = "flex";

/// The device that `NS_BACKEND` names, or `flex` if it is not set.
///
/// # Panics
/// If the device cannot be opened, because a skipped test must not count as passed.
pub(crate) fn device() -> Device {
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| DEFAULT.into());
    match OPENED.get_or_init(|| open(&name).map_err(|error| format!("{error:#}"))) {
        Ok(device) => device.clone(),
        Err(error) => panic!("SKIPPED: {VARIABLE}={name}: {error}"),
    }
}

/// Opens the device with this name.
pub(crate) fn open(name: &str) -> anyhow::Result<Device> {
    name.parse::<ChosenDevice>()?.open()
}
