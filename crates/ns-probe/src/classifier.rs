//! The classifier of a probe: a linear layer, or two with a ReLU between them.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use ns_circuit::rng;
use ns_models::cross_entropy;

use crate::error::ProbeError;

/// The largest width of the hidden layer.
const MAX_INTERMEDIATE_SIZE: usize = 1 << 20;

/// A classifier of vectors: `linear`, or `linear → ReLU → linear`.
///
/// A [`SubnetworkProbe`](crate::SubnetworkProbe) trains one together with masks;
/// [`train_classifier`](crate::train_classifier) trains one on given vectors.
#[derive(Module, Debug)]
pub struct Classifier {
    input: Linear,
    output: Option<Linear>,
}

impl Classifier {
    /// Initialises a classifier of vectors of `width`, with a hidden layer if `intermediate_size` is given.
    ///
    /// Weights and biases are uniform in ±1/√fan_in, like PyTorch's `nn.Linear`, and depend on `seed`.
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] if `width` or `n_classes` is 0, or if the hidden layer is empty or too large.
    pub fn new(
        width: usize,
        intermediate_size: Option<usize>,
        n_classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ProbeError> {
        for (field, found) in [("width", width), ("n_classes", n_classes)] {
            if found == 0 {
                return Err(ProbeError::Config { field, found: "0".into(), expected: "it must be at least 1".into() });
            }
        }
        let linear = |name: &str, input, output| random_linear(name, input, output, seed, device);
        match intermediate_size {
            None => Ok(Self { input: linear("probe.0", width, n_classes), output: None }),
            Some(size) if (1..=MAX_INTERMEDIATE_SIZE).contains(&size) => {
                let output = Some(linear("probe.2", size, n_classes));
                Ok(Self { input: linear("probe.0", width, size), output })
            }
            Some(size) => Err(unusable_intermediate_size(size)),
        }
    }

    /// Computes the logits.
    ///
    /// # Shapes
    /// - vectors: `[n, width]`
    /// - output: `[n, classes]`
    pub fn forward(&self, vectors: Tensor<2>) -> Tensor<2> {
        let hidden = self.input.forward(vectors);
        match &self.output {
            None => hidden,
            Some(output) => output.forward(activation::relu(hidden)),
        }
    }

    /// Computes the mean cross entropy of vectors and their labels.
    ///
    /// # Shapes
    /// - vectors: `[n, width]`
    /// - labels: `[n]`
    /// - output: `[1]`
    ///
    /// # Errors
    /// Returns [`ProbeError::LabelCount`] unless each vector has a label, and [`ProbeError::Batch`] for vectors of another
    /// width, for a label that is no class, or if there are no vectors.
    pub fn loss(&self, vectors: Tensor<2>, labels: &[i64]) -> Result<Tensor<1>, ProbeError> {
        self.check(&vectors, labels)?;
        let labels = Tensor::from_data(TensorData::new(labels.to_vec(), [labels.len()]), &vectors.device());
        Ok(cross_entropy(self.forward(vectors), labels))
    }

    /// Width of the vectors, and number of classes.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let [width, hidden] = self.input.weight.lazy_shape().dims();
        let classes = self.output.as_ref().map(|layer| layer.weight.lazy_shape().dims::<2>()[1]);
        (width, classes.unwrap_or(hidden))
    }

    /// Checks vectors `[n, width]` and their labels `[n]`.
    pub(crate) fn check(&self, vectors: &Tensor<2>, labels: &[i64]) -> Result<(), ProbeError> {
        let ([n, found], (width, classes)) = (vectors.dims(), self.sizes());
        if n != labels.len() {
            return Err(ProbeError::LabelCount { tokens: n, labels: labels.len() });
        }
        let invalid = |what, found: String, expected| Err(ProbeError::Batch { what, found, expected });
        if n == 0 {
            return invalid("the list of vectors", "empty".into(), "at least one vector is needed".into());
        }
        if found != width {
            let expected = format!("the classifier takes vectors of width {width}");
            return invalid("the width of the vectors", found.to_string(), expected);
        }
        match labels.iter().find(|label| !(0..classes as i64).contains(label)) {
            None => Ok(()),
            Some(label) => {
                let expected = format!("there are {classes} classes, numbered from 0");
                invalid("label", label.to_string(), expected)
            }
        }
    }

    /// Parameters with the names and shapes of a PyTorch `nn.Sequential`: `0.weight` `[out, in]`, `0.bias` `[out]`, and
    /// with a hidden layer `2.weight` and `2.bias`.
    pub fn params(&self) -> BTreeMap<String, TensorData> {
        self.prefixed_params("")
    }

    /// The parameters, with a prefix before their names.
    pub(crate) fn prefixed_params(&self, prefix: &str) -> BTreeMap<String, TensorData> {
        let params = self.layers().into_iter().flat_map(|(name, layer)| {
            let weight = (format!("{prefix}{name}.weight"), layer.weight.val().transpose().into_data());
            let bias = layer.bias.as_ref().map(|bias| (format!("{prefix}{name}.bias"), bias.val().into_data()));
            [Some(weight), bias].into_iter().flatten()
        });
        params.collect()
    }

    /// Gradients of the parameters, with the names and shapes of [`Self::params`].
    pub fn gradients(&self, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        self.prefixed_gradients("", gradients)
    }

    /// The gradients, with a prefix before their names.
    pub(crate) fn prefixed_gradients(&self, prefix: &str, gradients: &Gradients) -> BTreeMap<String, TensorData> {
        let named_gradients = self.layers().into_iter().flat_map(|(name, layer)| {
            let weight = layer.weight.val().grad(gradients);
            let weight = weight.map(|grad| (format!("{prefix}{name}.weight"), grad.transpose().into_data()));
            let bias = layer.bias.as_ref().and_then(|bias| bias.val().grad(gradients));
            [weight, bias.map(|grad| (format!("{prefix}{name}.bias"), grad.into_data()))].into_iter().flatten()
        });
        named_gradients.collect()
    }

    /// Replaces the parameters. `params` has the names and shapes of [`Self::params`].
    ///
    /// # Errors
    /// Returns [`ProbeError::Config`] for a tensor that is missing or has another shape.
    pub fn load_params(&mut self, params: &BTreeMap<String, TensorData>) -> Result<(), ProbeError> {
        self.load_prefixed("", params)
    }

    /// Replaces the parameters by those with a prefix before their names.
    pub(crate) fn load_prefixed(
        &mut self,
        prefix: &str,
        params: &BTreeMap<String, TensorData>,
    ) -> Result<(), ProbeError> {
        for (name, current) in &self.prefixed_params(prefix) {
            let found = params.get(name).map(|data| data.shape().to_vec());
            if found.as_deref() != Some(&current.shape().to_vec()[..]) {
                let shape = found.map_or_else(|| "missing".into(), |shape| format!("of shape {shape:?}"));
                return Err(ProbeError::Config {
                    field: "a parameter of the classifier",
                    found: format!("{shape} (`{name}`)"),
                    expected: format!("it must have shape {:?}", current.shape().to_vec()),
                });
            }
        }
        let load = |name: &str, layer: &mut Linear| {
            let device = layer.weight.lazy_device();
            let weight = params[&format!("{prefix}{name}.weight")].clone();
            let bias = Tensor::<1>::from_data(params[&format!("{prefix}{name}.bias")].clone(), &device);
            *layer = trainable_linear(Tensor::<2>::from_data(weight, &device).transpose(), bias);
        };
        load("0", &mut self.input);
        self.output.iter_mut().for_each(|layer| load("2", layer));
        Ok(())
    }

    /// The linear layers with their PyTorch names.
    fn layers(&self) -> Vec<(&'static str, &Linear)> {
        let output = self.output.as_ref().map(|layer| ("2", layer));
        [Some(("0", &self.input)), output].into_iter().flatten().collect()
    }
}

/// Reads NeuroSurgeon's `intermediate_size`, which is −1 for a linear classifier.
pub(crate) fn intermediate_size(size: i64) -> Result<Option<usize>, ProbeError> {
    match size {
        -1 => Ok(None),
        size => usize::try_from(size).map(Some).map_err(|_| unusable_intermediate_size(size)),
    }
}

fn unusable_intermediate_size(size: impl ToString) -> ProbeError {
    let expected = format!("it must be between 1 and {MAX_INTERMEDIATE_SIZE}, or −1 for a linear probe");
    ProbeError::Config { field: "intermediate_size", found: size.to_string(), expected }
}

/// A linear layer whose weight and bias are uniform in ±1/√input.
fn random_linear(name: &str, input: usize, output: usize, seed: u64, device: &Device) -> Linear {
    let bound = (input as f32).powf(-0.5);
    let mut stream = rng::stream(seed, name, 0, 0);
    let mut sample = |n: usize| (0..n).map(|_| (2.0 * rng::uniform01(&mut stream) - 1.0) * bound).collect::<Vec<f32>>();
    let weight = Tensor::from_data(TensorData::new(sample(input * output), [input, output]), device);
    let bias = Tensor::from_data(TensorData::new(sample(output), [output]), device);
    trainable_linear(weight, bias)
}

fn trainable_linear(weight: Tensor<2>, bias: Tensor<1>) -> Linear {
    let [input, output] = weight.dims();
    let mut linear = LinearConfig::new(input, output).with_initializer(Initializer::Zeros).init(&weight.device());
    linear.weight = Param::from_tensor(weight.detach());
    linear.bias = Some(Param::from_tensor(bias.detach()));
    linear
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classifier(intermediate_size: Option<usize>) -> Classifier {
        let mut classifier = Classifier::new(2, intermediate_size, 3, 0, &Device::default().autodiff()).unwrap();
        let data = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
        let params = match intermediate_size {
            None => vec![
                ("0.weight", data(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2])),
                ("0.bias", data(&[0.0, -10.0, 1.0], &[3])),
            ],
            Some(_) => vec![
                ("0.weight", data(&[1.0, -1.0], &[1, 2])),
                ("0.bias", data(&[0.5], &[1])),
                ("2.weight", data(&[1.0, 2.0, 3.0], &[3, 1])),
                ("2.bias", data(&[0.0, 0.0, -1.0], &[3])),
            ],
        };
        let params = params.into_iter().map(|(name, data)| (name.to_string(), data)).collect();
        classifier.load_params(&params).unwrap();
        assert_eq!(classifier.params(), params);
        classifier
    }

    fn logits(classifier: &Classifier, vector: [f32; 2]) -> Vec<f32> {
        let vectors = Tensor::<2>::from_floats([vector], &Device::default());
        classifier.forward(vectors).into_data().iter().collect()
    }

    #[test]
    fn logits_are_those_of_nn_sequential() {
        let linear = classifier(None);
        assert_eq!((linear.sizes(), logits(&linear, [1.0, 2.0])), ((2, 3), vec![5.0, 1.0, 18.0]));
        let hidden = classifier(Some(1));
        assert_eq!((hidden.sizes(), logits(&hidden, [2.0, 1.0])), ((2, 3), vec![1.5, 3.0, 3.5]));
        // The ReLU cuts −0.5 off.
        assert_eq!(logits(&hidden, [1.0, 2.0]), [0.0, 0.0, -1.0]);
    }

    #[test]
    fn gradients_have_the_names_of_the_parameters() {
        let hidden = classifier(Some(1));
        let vectors = Tensor::<2>::from_floats([[2.0, 1.0]], &Device::default());
        let gradients = hidden.gradients(&hidden.loss(vectors, &[0]).unwrap().backward());
        for (name, data) in hidden.params() {
            assert_eq!(gradients[&name].shape(), data.shape(), "{name}");
        }
    }

    #[test]
    fn unusable_sizes_vectors_and_labels_are_refused() {
        let device = Device::default().autodiff();
        assert!(Classifier::new(0, None, 3, 0, &device).is_err() && Classifier::new(2, None, 0, 0, &device).is_err());
        for size in [0, MAX_INTERMEDIATE_SIZE + 1] {
            assert!(Classifier::new(2, Some(size), 3, 0, &device).is_err());
        }
        assert_eq!(intermediate_size(-1).unwrap(), None);
        assert!(intermediate_size(-2).unwrap_err().to_string().contains("-2"));
        let classifier = classifier(None);
        let loss = |width: usize, labels: &[i64]| classifier.loss(Tensor::ones([2, width], &device), labels);
        assert!(loss(2, &[0, 2]).is_ok());
        assert!(matches!(loss(2, &[0]), Err(ProbeError::LabelCount { tokens: 2, labels: 1 })));
        assert!(matches!(loss(3, &[0, 1]), Err(ProbeError::Batch { .. })));
        for label in [-1, 3] {
            assert!(matches!(loss(2, &[0, label]), Err(ProbeError::Batch { what: "label", .. })));
        }
        let mut changed = classifier.clone();
        let message = changed.load_params(&BTreeMap::new()).unwrap_err().to_string();
        assert!(message.contains("missing (`0.bias`)"), "{message}");
    }
}
