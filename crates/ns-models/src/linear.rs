//! Linear layers on batches of sequences, computed as one matrix product over all positions.

use std::cell::OnceCell;
use std::ops::Range;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Tensor, module};

use crate::context::Context;
use crate::linear_hook::Columns;

/// A layer that computes `x · weight + bias`.
pub(crate) trait Affine {
    /// The weight, `[input, output]`.
    fn weight(&self) -> &Param<Tensor<2>>;

    /// The bias, `[output]`.
    fn bias(&self) -> Option<&Param<Tensor<1>>>;
}

impl Affine for Linear {
    fn weight(&self) -> &Param<Tensor<2>> {
        &self.weight
    }

    fn bias(&self) -> Option<&Param<Tensor<1>>> {
        self.bias.as_ref()
    }
}

/// Applies a linear layer of a block at every position. It calls the hook of `context`, if there is one.
///
/// # Shapes
/// - x: `[batch, seq, input]`
/// - output: `[batch, seq, output]`
pub(crate) fn forward(layer: &impl Affine, x: Tensor<3>, context: &Context) -> Tensor<3> {
    let (weight, bias) = (layer.weight(), || layer.bias().map(Param::val));
    let [_, output] = weight.lazy_shape().dims();
    let columns = Columns::range(0..output);
    hooked(weight, &columns, x, context, |rows| match provided(weight, &columns, &rows, context) {
        Some(product) => add_bias(product, bias()),
        None => module::linear(rows, weight.val(), bias()),
    })
}

/// Applies a linear layer outside the blocks at every position.
///
/// # Shapes
/// - x: `[batch, seq, input]`
/// - output: `[batch, seq, output]`
pub(crate) fn plain(layer: &Linear, x: Tensor<3>) -> Tensor<3> {
    by_rows(x, |rows| layer.forward(rows))
}

/// `x · weight` at every position. A weight that is a view, e.g. a transposed one, is not copied.
///
/// # Shapes
/// - x: `[batch, seq, input]`
/// - weight: `[input, output]`
/// - output: `[batch, seq, output]`
pub(crate) fn project(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    by_rows(x, |rows| module::linear(rows, weight, None))
}

/// A linear layer of which different outputs are computed at different positions. Its weight and bias are read only
/// once.
pub(crate) struct Outputs<'a> {
    param: &'a Param<Tensor<2>>,
    context: &'a Context,
    weight: OnceCell<Tensor<2>>,
    bias: Option<Tensor<1>>,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(layer: &'a impl Affine, context: &'a Context) -> Self {
        Self { param: layer.weight(), context, weight: OnceCell::new(), bias: layer.bias().map(Param::val) }
    }

    /// Computes the outputs in a range.
    ///
    /// # Shapes
    /// - x: `[batch, positions, input]`
    /// - output: `[batch, positions, range]`
    pub(crate) fn range(&self, range: Range<usize>, x: Tensor<3>) -> Tensor<3> {
        self.columns(&Columns::range(range), x)
    }

    /// Computes the same range of outputs in each of `groups` equal groups of outputs.
    ///
    /// # Shapes
    /// - x: `[batch, positions, input]`
    /// - output: `[batch, positions, groups · range]`
    pub(crate) fn range_of_groups(&self, groups: usize, range: Range<usize>, x: Tensor<3>) -> Tensor<3> {
        self.columns(&Columns::range_of_groups(groups, range), x)
    }

    fn columns(&self, columns: &Columns, x: Tensor<3>) -> Tensor<3> {
        let bias = self.bias.clone().map(|bias| columns.select_vector(bias));
        hooked(self.param, columns, x, self.context, |rows| match provided(self.param, columns, &rows, self.context) {
            Some(product) => add_bias(product, bias),
            None => {
                let weight = self.weight.get_or_init(|| self.param.val()).clone();
                module::linear(rows, columns.select(weight), bias)
            }
        })
    }
}

/// Applies `f` to the input of a layer as [`by_rows`] does, with the input and the output that the hook of `context`
/// returns.
fn hooked(
    weight: &Param<Tensor<2>>,
    columns: &Columns,
    x: Tensor<3>,
    context: &Context,
    f: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Tensor<3> {
    match &context.hook {
        None => by_rows(x, f),
        Some(hook) => hook.output(weight, columns, by_rows(hook.input(weight, x), f)),
    }
}

/// The product that the hook of `context` provides.
fn provided(weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>, context: &Context) -> Option<Tensor<2>> {
    context.hook.as_ref()?.product(weight, columns, x)
}

fn add_bias(product: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    }
}

/// Applies `f` to `x` as a matrix of `batch · seq` rows.
///
/// Without this, Burn computes one product per sequence if the sequence length is a multiple of 32, and each product
/// reads the whole weight. One product over all rows takes three quarters of the time.
fn by_rows(x: Tensor<3>, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, seq, input] = x.dims();
    let rows = f(x.reshape([batch * seq, input]));
    let [_, output] = rows.dims();
    rows.reshape([batch, seq, output])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::AttentionBias;
    use crate::linear_hook::{Hook, LinearHook};
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Int, Tolerance};
    use std::sync::Arc;

    fn context(hook: Hook) -> Context {
        Context::new([1, 1], AttentionBias::default()).with_hook(hook)
    }

    /// Returns twice the product for layers with a square weight.
    #[derive(Debug)]
    struct Twice;

    impl LinearHook for Twice {
        fn product(&self, weight: &Param<Tensor<2>>, columns: &Columns, x: &Tensor<2>) -> Option<Tensor<2>> {
            let [input, output] = weight.val().dims();
            (input == output).then(|| columns.product(x.clone(), weight.val()) * 2.0)
        }
    }

    #[test]
    fn provided_products_replace_those_of_the_layer_and_biases_are_added() {
        let device = Device::default();
        let x = Tensor::<1, Int>::arange(0..8, &device).float().reshape([1, 2, 4]);
        for (output, factor) in [(4, 2.0), (3, 1.0)] {
            let layer = LinearConfig::new(4, output).init(&device);
            let (plain, twice) = (plain(&layer, x.clone()), context(Some(Arc::new(Twice))));
            let bias = layer.bias.as_ref().unwrap().val().reshape([1, 1, output]);
            let expected = ((plain.clone() - bias.clone()) * factor + bias).into_data();
            let replaced =
                [forward(&layer, x.clone(), &twice), Outputs::new(&layer, &twice).range(0..output, x.clone())];
            for replaced in replaced {
                replaced.into_data().assert_approx_eq::<f32>(&expected, Tolerance::default());
            }
            forward(&layer, x.clone(), &context(None)).into_data().assert_eq(&plain.into_data(), true);
        }
    }

    #[test]
    fn is_the_layer_at_every_position() {
        let device = Device::default();
        let layer = LinearConfig::new(3, 5).init(&device);
        let x = Tensor::<1, Int>::arange(0..2 * 32 * 3, &device).float().reshape([2, 32, 3]) * 0.01;
        let expected = layer.forward(x.clone()).into_data();
        forward(&layer, x.clone(), &context(None)).into_data().assert_approx_eq::<f32>(&expected, Tolerance::default());
        let transposed = layer.weight.val().transpose().mul_scalar(1.0).transpose();
        let bias = layer.bias.as_ref().unwrap().val().reshape([1, 1, 5]);
        (project(x, transposed) + bias).into_data().assert_approx_eq::<f32>(&expected, Tolerance::default());
    }

    #[test]
    fn some_outputs_are_a_slice_of_all() {
        let device = Device::default();
        let layer = LinearConfig::new(3, 8).init(&device);
        let x = Tensor::<1, Int>::arange(0..2 * 5 * 3, &device).float().reshape([2, 5, 3]) * 0.01;
        let context = context(None);
        let (all, outputs) = (plain(&layer, x.clone()), Outputs::new(&layer, &context));
        let expected = all.clone().slice_dim(2, 2..5).into_data();
        outputs.range(2..5, x.clone()).into_data().assert_approx_eq::<f32>(&expected, Tolerance::default());
        let expected = all.reshape([2, 5, 2, 4]).slice_dim(3, 1..3).reshape([2, 5, 4]).into_data();
        outputs.range_of_groups(2, 1..3, x).into_data().assert_approx_eq::<f32>(&expected, Tolerance::default());
    }

    #[test]
    fn a_row_does_not_depend_on_the_number_of_rows() {
        let device = Device::default();
        let value = |scale: f32| move |i: Tensor<1, Int>| (i.float() * scale).sin();
        let range = |n: usize| Tensor::<1, Int>::arange(0..n as i64, &device);
        // If both outer dimensions of a product are at most 64 and the inner one is more than 512, Flex uses another
        // order of summation. None of these sizes is such a case.
        for (input, output) in [(768, 640), (1500, 96), (96, 1500), (500, 48)] {
            let weight = value(0.37)(range(input * output)).reshape([input, output]);
            let x = value(0.73)(range(64 * 3 * input)).reshape([64, 3, input]);
            let whole = project(x.clone(), weight.clone());
            for rows in [1, 2, 21, 33] {
                let some = project(x.clone().slice_dim(0, 0..rows), weight.clone()).into_data();
                some.assert_eq(&whole.clone().slice_dim(0, 0..rows).into_data(), true);
            }
        }
    }
}
