//! The device that a test binary computes on.

use std::sync::OnceLock;

use burn::tensor::Device;
use xtask::backend::ChosenDevice;

/// Says where the tests compute, e.g. `wgpu` or `cuda:1`.
const VARIABLE: &str = "NS_BACKEND";
const DEFAULT: &str = "flex";

/// The device of the backend in `NS_BACKEND`, `flex` where that is not set.
///
/// # Panics
/// When it is not to be had: a test that was skipped has not passed.
pub(crate) fn device() -> Device {
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| DEFAULT.into());
    match OPENED.get_or_init(|| open(&name).map_err(|error| format!("{error:#}"))) {
        Ok(device) => device.clone(),
        Err(error) => panic!("SKIPPED: {VARIABLE}={name}: {error}"),
    }
}

/// The device that `name` stands for.
pub(crate) fn open(name: &str) -> anyhow::Result<Device> {
    name.parse::<ChosenDevice>()?.open()
}
