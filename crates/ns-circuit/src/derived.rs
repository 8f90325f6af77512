//! Values that are computed from the parameters of a module.

use std::sync::OnceLock;

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

/// A value that is computed from the parameters of a module, and is valid until they change.
///
/// The parameters of a module change only through [`Module::map`] (an optimiser step, a loaded record). The value is
/// part of the module, so `map` visits it too and forgets it. It is also forgotten on the way to another device and
/// when training starts.
#[derive(Debug, Clone)]
pub(crate) struct Derived<T>(OnceLock<T>);

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> From<Option<T>> for Derived<T> {
    fn from(value: Option<T>) -> Self {
        Self(value.map_or_else(OnceLock::new, OnceLock::from))
    }
}

impl<T> Derived<T> {
    /// The value, if it is known.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value; computes it unless it is known.
    pub(crate) fn get_or_compute(&self, compute: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(compute)
    }
}

impl<T: Clone + Send + Sync + std::fmt::Debug> Module for Derived<T> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _device: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        Self::default()
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        Self::default()
    }
}

impl<T> ModuleDisplayDefault for Derived<T> {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl<T> ModuleDisplay for Derived<T> {}
