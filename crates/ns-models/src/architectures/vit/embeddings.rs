//! Patch, `[CLS]` and position embeddings, HF's `ViTEmbeddings`.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor, module::linear};

use super::VitConfig;

#[derive(Module, Debug)]
pub(super) struct VitEmbeddings {
    /// `[1, 1, hidden]`.
    pub(super) cls_token: Param<Tensor<3>>,
    /// `[1, patches + 1, hidden]`.
    position_embeddings: Param<Tensor<3>>,
    projection: Conv2d,
}

impl VitEmbeddings {
    pub(super) fn init(config: &VitConfig, device: &Device) -> Self {
        let (hidden, patch_size) = (config.hidden_size, config.patch_size.height_and_width());
        let projection = Conv2dConfig::new([config.num_channels, hidden], patch_size).with_stride(patch_size);
        Self {
            cls_token: Initializer::Zeros.init([1, 1, hidden], device),
            position_embeddings: Initializer::Zeros.init([1, config.n_positions(), hidden], device),
            projection: projection.with_initializer(Initializer::Zeros).init(device),
        }
    }

    /// Embeds images as sequences of the `[CLS]` token and their patches.
    ///
    /// # Shapes
    /// - images: `[batch, channels, height, width]`
    /// - output: `[batch, patches + 1, hidden]`
    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let [batch, ..] = images.dims();
        let patches = self.project(images);
        let [_, _, hidden] = patches.dims();
        let cls_token = self.cls_token.val().expand([batch, 1, hidden]);
        Tensor::cat(vec![cls_token, patches], 1) + self.position_embeddings.val()
    }

    /// Projects each patch. The kernels of the convolution do not overlap, so it is computed as one matrix product over
    /// the patches, which is faster than Burn's convolution on the CPU.
    ///
    /// # Shapes
    /// - images: `[batch, channels, height, width]`
    /// - output: `[batch, patches, hidden]`
    fn project(&self, images: Tensor<4>) -> Tensor<3> {
        let [batch, channels, height, width] = images.dims();
        let weight = self.projection.weight.val();
        let [hidden, _, patch_height, patch_width] = weight.dims();
        let [rows, columns] = [height / patch_height, width / patch_width];
        let patches = images
            .slice_dim(2, 0..rows * patch_height)
            .slice_dim(3, 0..columns * patch_width)
            .reshape([batch, channels, rows, patch_height, columns, patch_width])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch_height * patch_width]);
        let weight = weight.reshape([hidden, channels * patch_height * patch_width]).transpose();
        linear(patches, weight, self.projection.bias.as_ref().map(Param::val))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architectures::ImageSize;
    use crate::testing::filled;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn patches_are_projected_as_the_convolution_does_and_left_over_pixels_are_not_seen() {
        let device = Device::default();
        let config = VitConfig {
            image_size: ImageSize::Rectangle([7, 11]),
            patch_size: ImageSize::Rectangle([2, 3]),
            num_channels: 2,
            hidden_size: 4,
            ..VitConfig::default()
        };
        let embeddings = filled(VitEmbeddings::init(&config, &device));
        let images = Tensor::<4>::random([2, 2, 7, 11], Distribution::Default, &device);
        let expected = embeddings.projection.forward(images.clone()).flatten::<3>(2, 3).swap_dims(1, 2);
        let projected = embeddings.project(images);
        assert_eq!(projected.dims(), [2, 9, 4]);
        projected.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));
    }
}
