//! Settings of a model folder's tokenizer: padding, truncation, maximum length, and whether there are token types.

use std::path::Path;

use serde_json::Value;
use tokenizers::{ModelWrapper, PaddingDirection, Tokenizer, TruncationDirection};

use crate::error::ModelError;
use crate::json::read_optional;

/// Families whose position ids start after the padding id. Their position table has `pad_token_id + 1` rows more than
/// the longest sequence needs.
const POSITIONS_AFTER_PADDING: [&str; 7] =
    ["camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"];

/// Families whose tokenizers return token types if `tokenizer_config.json` does not list the model inputs.
const WITH_TOKEN_TYPES: [&str; 4] = ["bert", "convbert", "electra", "ernie"];

/// From this value on, `model_max_length` means "no limit": HF's `LARGE_INTEGER`.
const NO_LIMIT: f64 = 1e20;

/// Combined settings of `tokenizer_config.json`, `special_tokens_map.json`, `config.json` and `tokenizer.json`.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Id of the padding token.
    pub(super) pad_id: Option<u32>,
    /// Id of the token that hides others from a masked language model.
    pub(super) mask_id: Option<u32>,
    /// Id of the token that stands for unknown words.
    pub(super) unknown_id: Option<u32>,
    /// Side on which rows are padded.
    pub(super) padding: PaddingDirection,
    /// Side on which rows are truncated.
    pub(super) truncation: TruncationDirection,
    /// Maximum number of tokens of a row, special tokens included.
    pub(super) max_length: Option<usize>,
    /// Whether the model reads token types.
    pub(super) token_types: bool,
}

impl Settings {
    /// Reads the settings; each of the three JSON files may be missing.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if a file cannot be read and [`ModelError::InvalidJson`] if it is invalid.
    pub(super) fn read(folder: &Path, tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let config = read_optional(&folder.join("tokenizer_config.json"))?;
        let special = read_optional(&folder.join("special_tokens_map.json"))?;
        let model = read_optional(&folder.join("config.json"))?;
        Ok(Self {
            pad_id: pad_id(&config, &special, &model, tokenizer),
            mask_id: named_token(&config, &special, tokenizer, "mask_token"),
            unknown_id: unknown_id(tokenizer),
            padding: padding_side(&config, tokenizer),
            truncation: truncation_side(&config, tokenizer),
            max_length: [model_max_length(&config), usable_positions(&model)].into_iter().flatten().min(),
            token_types: reads_token_types(&config, &model),
        })
    }
}

/// Id of the padding token: by name, from `tokenizer.json`, or from `config.json`, in this order. Without one (GPT-2)
/// it is the end-of-text token, which is safe because the attention mask hides padding.
fn pad_id(config: &Value, special: &Value, model: &Value, tokenizer: &Tokenizer) -> Option<u32> {
    let by_name = |key: &str| named_token(config, special, tokenizer, key);
    by_name("pad_token")
        .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_id))
        .or_else(|| token_id(&model["pad_token_id"]))
        .or_else(|| by_name("eos_token"))
        .or_else(|| token_id(&model["eos_token_id"]))
}

/// Id of the token that `tokenizer_config.json` or `special_tokens_map.json` names, e.g. as `pad_token`.
fn named_token(config: &Value, special: &Value, tokenizer: &Tokenizer, key: &str) -> Option<u32> {
    let id_of = |token: &Value| tokenizer.token_to_id(token.as_str().or_else(|| token["content"].as_str())?);
    id_of(&config[key]).or_else(|| id_of(&special[key]))
}

/// A token id in `config.json`, or the first of a list of ids.
fn token_id(value: &Value) -> Option<u32> {
    let first = value.as_array().map_or(value, |ids| ids.first().unwrap_or(&Value::Null));
    u32::try_from(first.as_u64()?).ok()
}

/// Id of the token that the model of the tokenizer puts in place of unknown words.
fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::BPE(model) => tokenizer.token_to_id(model.unk_token.as_deref()?),
        _ => None,
    }
}

/// Padding side of `tokenizer_config.json`, or else of `tokenizer.json`, or else the right.
fn padding_side(config: &Value, tokenizer: &Tokenizer) -> PaddingDirection {
    match config["padding_side"].as_str() {
        Some("left") => PaddingDirection::Left,
        Some(_) => PaddingDirection::Right,
        None => tokenizer.get_padding().map_or(PaddingDirection::Right, |padding| padding.direction),
    }
}

/// Truncation side of `tokenizer_config.json`, or else of `tokenizer.json`, or else the right.
fn truncation_side(config: &Value, tokenizer: &Tokenizer) -> TruncationDirection {
    match config["truncation_side"].as_str() {
        Some("left") => TruncationDirection::Left,
        Some(_) => TruncationDirection::Right,
        None => tokenizer.get_truncation().map_or(TruncationDirection::Right, |truncation| truncation.direction),
    }
}

/// Maximum length that `tokenizer_config.json` sets.
fn model_max_length(config: &Value) -> Option<usize> {
    // `max_len` is the old name of the key.
    let length = config["model_max_length"].as_f64().or_else(|| config["max_len"].as_f64())?;
    (length < NO_LIMIT).then_some(length as usize)
}

/// Returns the length of the longest sequence that the position embeddings of a `config.json` allow; `None` if it does
/// not say.
pub fn usable_positions(model: &Value) -> Option<usize> {
    let size = |key: &str| usize::try_from(model[key].as_u64()?).ok();
    let positions = size("max_position_embeddings").or_else(|| size("n_positions"))?;
    match model["model_type"].as_str() {
        Some(family) if POSITIONS_AFTER_PADDING.contains(&family) => {
            Some(positions.saturating_sub(size("pad_token_id").unwrap_or(1).saturating_add(1)))
        }
        _ => Some(positions),
    }
}

fn reads_token_types(config: &Value, model: &Value) -> bool {
    match config["model_input_names"].as_array() {
        Some(names) => names.iter().any(|name| name == "token_type_ids"),
        None => model["model_type"].as_str().is_some_and(|family| WITH_TOKEN_TYPES.contains(&family)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::tests::folder_with;

    fn settings(config: Value, special: Value, model: Value, tokenizer: Value) -> Settings {
        let folder = folder_with(&[
            ("tokenizer_config.json", &config),
            ("special_tokens_map.json", &special),
            ("config.json", &model),
        ]);
        let tokenizer = serde_json::from_value(tokenizer).unwrap();
        Settings::read(folder.path(), &tokenizer).unwrap()
    }

    fn tokenizer(padding: Value) -> Value {
        let vocab = json!({"a": 0, "<pad>": 1, "<eos>": 2, "[PAD]": 3});
        json!({"version": "1.0", "padding": padding, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "a"}})
    }

    fn padding_section(direction: &str) -> Value {
        json!({
            "strategy": "BatchLongest", "direction": direction, "pad_to_multiple_of": null, "pad_id": 7,
            "pad_type_id": 0, "pad_token": "[PAD]",
        })
    }

    fn pad(config: Value, special: Value, model: Value, padding: Value) -> Option<u32> {
        settings(config, special, model, tokenizer(padding)).pad_id
    }

    #[test]
    fn the_padding_token_is_looked_for_from_the_nearest_file_on() {
        let padding = padding_section("Right");
        let [config, model] = [json!({"pad_token": {"content": "<pad>"}}), json!({"pad_token_id": 5})];
        let special = json!({"pad_token": "[PAD]"});
        let nothing = || json!({});
        assert_eq!(pad(config, special.clone(), model.clone(), padding.clone()), Some(1));
        assert_eq!(pad(nothing(), special, model.clone(), padding.clone()), Some(3));
        assert_eq!(pad(nothing(), nothing(), model.clone(), padding), Some(7));
        assert_eq!(pad(nothing(), nothing(), model, Value::Null), Some(5));
        assert_eq!(pad(json!({"eos_token": "<eos>"}), nothing(), nothing(), Value::Null), Some(2));
        assert_eq!(pad(nothing(), nothing(), json!({"eos_token_id": [9, 8]}), Value::Null), Some(9));
        assert_eq!(pad(nothing(), nothing(), json!({"pad_token_id": -1}), Value::Null), None);
    }

    fn max_length(config: Value, model: Value) -> Option<usize> {
        settings(config, json!({}), model, tokenizer(Value::Null)).max_length
    }

    #[test]
    fn the_longest_sequence_is_what_both_the_tokenizer_and_the_positions_allow() {
        let endless = json!({"model_max_length": 1e30});
        assert_eq!(max_length(endless.clone(), json!({})), None);
        assert_eq!(max_length(json!({"model_max_length": 512}), json!({"max_position_embeddings": 128})), Some(128));
        assert_eq!(max_length(json!({"max_len": 64}), json!({"n_positions": 128})), Some(64));
        assert_eq!(max_length(endless.clone(), json!({"n_positions": 1024, "model_type": "gpt2"})), Some(1024));
        let roberta = json!({"max_position_embeddings": 514, "model_type": "roberta", "pad_token_id": 1});
        assert_eq!(max_length(endless.clone(), roberta), Some(512));
        let mpnet = json!({"max_position_embeddings": 514, "model_type": "mpnet"});
        assert_eq!(max_length(endless, mpnet), Some(512));
    }

    #[test]
    fn token_types_by_the_tokenizers_word_and_else_by_family() {
        let reads = |config: Value, family: &str| {
            settings(config, json!({}), json!({"model_type": family}), tokenizer(Value::Null)).token_types
        };
        for (family, expected) in [("bert", true), ("electra", true), ("roberta", false), ("gpt2", false)] {
            assert_eq!(reads(json!({}), family), expected, "{family}");
        }
        assert!(reads(json!({"model_input_names": ["input_ids", "token_type_ids"]}), "gpt2"));
        assert!(!reads(json!({"model_input_names": ["input_ids"]}), "bert"));
    }

    #[test]
    fn sides_are_right_unless_said_otherwise() {
        let left = json!({"padding_side": "left", "truncation_side": "left"});
        let right = json!({"padding_side": "right", "truncation_side": "right"});
        let mut to_the_left = tokenizer(padding_section("Left"));
        to_the_left["truncation"] =
            json!({"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
        let is_left = |config: &Value, tokenizer: &Value| {
            let settings = settings(config.clone(), json!({}), json!({}), tokenizer.clone());
            let sides = (settings.padding, settings.truncation);
            (matches!(sides.0, PaddingDirection::Left), sides.1 == TruncationDirection::Left)
        };
        assert_eq!(is_left(&json!({}), &tokenizer(Value::Null)), (false, false));
        assert_eq!(is_left(&left, &tokenizer(Value::Null)), (true, true));
        assert_eq!(is_left(&json!({}), &to_the_left), (true, true));
        assert_eq!(is_left(&right, &to_the_left), (false, false));
    }
}
