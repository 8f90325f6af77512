//! Activation functions, named as in HF's `ACT2FN`.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::kernels::{Gate, gated};

/// An activation function, deserialised from its name in `config.json` (`activation_function`, `hidden_act`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Activation {
    /// Exact GELU, `x Φ(x)`, where Φ is the normal distribution function.
    #[serde(alias = "gelu_python")]
    Gelu,
    /// `tanh` approximation of GELU, used by GPT-2.
    #[default]
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast", alias = "gelu_accurate")]
    GeluNew,
    /// Exact GELU, clipped to `[-10, 10]`.
    #[serde(rename = "gelu_10")]
    Gelu10,
    /// Logistic approximation of GELU, `x σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    Relu2,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` for positive `x`, `0.01 x` otherwise.
    LeakyRelu,
    /// SiLU or Swish, `x σ(x)`.
    #[serde(alias = "swish")]
    Silu,
    /// `x tanh(ln(1 + eˣ))`.
    Mish,
    /// Logistic function, `σ(x) = 1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The identity, `x`.
    Linear,
}

impl Activation {
    /// Applies the activation function elementwise.
    ///
    /// # Shapes
    /// - x and output: `[…]`, any shape
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gated(x, Gate::Erf),
            Self::GeluNew => gated(x, Gate::Tanh),
            Self::Gelu10 => gated(x, Gate::Erf).clamp(-10.0, 10.0),
            Self::QuickGelu => gated(x, Gate::Logistic(1.702)),
            Self::Relu => activation::relu(x),
            Self::Relu2 => activation::relu(x).square(),
            Self::Relu6 => activation::relu6(x),
            Self::LeakyRelu => activation::leaky_relu(x, 0.01),
            Self::Silu => gated(x, Gate::Logistic(1.0)),
            Self::Mish => activation::mish(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Tanh => activation::tanh(x),
            Self::Linear => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    /// Expected values are those of `transformers.activations.ACT2FN` at -2, -0.5, 0, 1 and 7 (PyTorch 2.4).
    #[test]
    fn matches_act2fn() {
        let x = Tensor::<1>::from_floats([-2.0, -0.5, 0.0, 1.0, 7.0], &Device::default());
        let cases = [
            ("gelu", [-0.045_500_26, -0.154_268_77, 0.0, 0.841_344_7, 7.0]),
            ("gelu_new", [-0.045_402_3, -0.154_285_99, 0.0, 0.841_192, 7.0]),
            ("quick_gelu", [-0.064_341_38, -0.149_611_56, 0.0, 0.845_795_8, 6.999_953]),
            ("silu", [-0.238_405_84, -0.188_770_33, 0.0, 0.731_058_6, 6.993_622_5]),
            ("relu", [0.0, 0.0, 0.0, 1.0, 7.0]),
            ("relu2", [0.0, 0.0, 0.0, 1.0, 49.0]),
            ("relu6", [0.0, 0.0, 0.0, 1.0, 6.0]),
            ("tanh", [-0.964_027_6, -0.462_117_16, 0.0, 0.761_594_2, 0.999_998_3]),
        ];
        for (name, expected) in cases {
            let activation: Activation = serde_json::from_value(name.into()).unwrap();
            activation
                .forward(x.clone())
                .into_data()
                .assert_approx_eq::<f32>(&expected.into(), Tolerance::absolute(1e-5));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = serde_json::from_value::<Activation>("gelo".into()).unwrap_err();
        assert!(error.to_string().contains("gelu_new"), "{error}");
    }
}
