//! The data that models and probes are trained on: [`Examples`] of modular arithmetic, or of texts, tokens and images in
//! tables, which a [`Grammar`] can generate. Data sets are in host memory; only batches are on the device.

mod arithmetic;
mod dataset;
mod examples;
mod grammar;
mod labelled_rows;
mod pixels;
mod shuffled;
mod split;
mod table;

pub use arithmetic::{Operation, Variable};
pub use dataset::Dataset;
pub(crate) use dataset::label_tensor;
pub(crate) use examples::Masking;
pub use examples::{Examples, ModelLimits, SetSize};
pub use grammar::{Grammar, Selection, write_word_tokenizer};
pub use labelled_rows::LabelledRows;
pub use split::RowSplit;
pub use table::{Column, Table};

/// Helpers for the tests of this module.
#[cfg(test)]
pub(crate) mod fixtures {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    /// Writes a tokenizer that splits at white space, pads on the right and knows the words `a` to `d`.
    pub(crate) fn write_tokenizer(folder: &Path) {
        let vocab = json!({ "[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3, "c": 4, "d": 5 });
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
            "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
        });
        let files = [("tokenizer.json", tokenizer), ("tokenizer_config.json", json!({ "pad_token": "[PAD]" }))];
        for (name, file) in files {
            std::fs::write(folder.join(name), file.to_string()).unwrap();
        }
    }

    /// Writes a tokenizer like BERT's, of a model with 12 positions: WordPiece, `[CLS] text [SEP]`, token types.
    pub(crate) fn write_word_pieces(folder: &Path) {
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "judge", "sat", "there", "solemn", "##ly", ".", "café"];
        let special = |id: usize| {
            json!({
                "id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        };
        let vocab: serde_json::Map<_, _> =
            words.iter().enumerate().map(|(id, word)| (word.to_string(), json!(id))).collect();
        let tokenizer = json!({
            "version": "1.0", "added_tokens": (0..4).map(special).collect::<Vec<_>>(),
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] },
            "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab,
            },
        });
        let files = [
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", json!({ "pad_token": "[PAD]" })),
            ("config.json", json!({ "model_type": "bert", "max_position_embeddings": 12 })),
        ];
        for (name, file) in files {
            std::fs::write(folder.join(name), file.to_string()).unwrap();
        }
    }

    /// Writes a tokenizer like GPT-2's, which pads and cuts on the left: byte-level BPE, whose tokens begin with the
    /// space before a word.
    pub(crate) fn write_byte_pairs(folder: &Path) {
        let vocab = json!({ "<pad>": 0, "a": 1, "b": 2, "Ġ": 3, "Ġa": 4, "Ġb": 5, "Ġab": 6 });
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [],
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true },
            "post_processor": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true },
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "vocab": vocab, "merges": ["Ġ a", "Ġ b", "Ġa b"] },
        });
        let config = json!({ "pad_token": "<pad>", "padding_side": "left", "truncation_side": "left" });
        for (name, file) in [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)] {
            std::fs::write(folder.join(name), file.to_string()).unwrap();
        }
    }

    /// Path of a file in the `models` folder of the workspace.
    pub(super) fn shipped(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(path)
    }

    /// Writes a file to a temporary folder. The file is deleted when the returned folder is dropped.
    pub(crate) fn file(name: &str, contents: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        (folder, path)
    }
}
