//! All architectures. A new one is a folder here, with its lines in this file.

#[macro_use]
mod any;
mod decoder_head;
mod encoder;
mod gpt;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod resnet;
mod self_attention;
mod vit;

#[cfg(test)]
pub(crate) mod tests;

pub use any::model_types;
pub use encoder::{Encoder, EncoderConfig, EncoderFamily};
pub use gpt_neo::{GptNeo, GptNeoAttention, GptNeoConfig};
pub use gpt_neox::{GptNeoX, GptNeoXConfig};
pub use gpt2::{Gpt2, Gpt2Config};
pub use resnet::{ResNet, ResNetConfig, ResNetLayerType, ResNetOutput};
pub use vit::{ImageSize, Vit, VitConfig};

any_transformer! {
    /// GPT-2.
    Gpt2;
    /// GPT-Neo.
    GptNeo;
    /// GPT-NeoX and Pythia.
    GptNeoX;
    /// The encoder families: BERT, RoBERTa, ERNIE, ELECTRA, MPNet and ConvBERT.
    Encoder;
    /// ViT.
    Vit;
}

any_model! {
    /// A model of any supported family, selected by `model_type` in its `config.json`.
    AnyModel, any::unknown_model_type;
    /// A transformer. It has a residual stream.
    Transformer(AnyTransformer, init);
    /// A ResNet. It has no residual stream.
    ResNet(ResNet, from_config);
}
