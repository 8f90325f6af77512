//! The preprocessing steps that `preprocessor_config.json` configures.
//!
//! | processor | resize | center crop |
//! |---|---|---|
//! | ViT | to `size` | none |
//! | DeiT | to `size` | `crop_size` |
//! | CLIP, BiT | shorter edge to `size`, or to a height and width | `crop_size` |
//! | ConvNext (also for ResNet), `size` < 384 | shorter edge to `size / crop_pct` | `size` |
//! | ConvNext, `size` ≥ 384 | to `size` | none |
//!
//! All processors then rescale and normalise. The defaults are those of the classes in transformers 4.44.

use std::path::Path;

use serde_json::Value;

use super::resize::Filter;
use crate::error::ModelError;
use crate::json::{read_object, read_optional};

const FILE: &str = "preprocessor_config.json";

/// Largest valid edge of an image in pixels; a larger one is taken for a mistake in the file.
const LARGEST_EDGE: f64 = 16384.0;

/// From this size on, ConvNext's processor resizes without a crop.
const CONVNEXT_UNCROPPED: usize = 384;

const HALVES: [f64; 3] = [0.5; 3];
const OPENAI_CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const OPENAI_CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Image processors with the same steps and defaults.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Vit,
    Deit,
    Clip,
    ConvNext,
}

/// Supported classes: `image_processor_type` or `feature_extractor_type` of the file.
const PROCESSORS: [(&str, Family); 10] = [
    ("ViTImageProcessor", Family::Vit),
    ("ViTImageProcessorFast", Family::Vit),
    ("ViTFeatureExtractor", Family::Vit),
    ("ConvNextImageProcessor", Family::ConvNext),
    ("ConvNextFeatureExtractor", Family::ConvNext),
    ("DeiTImageProcessor", Family::Deit),
    ("DeiTFeatureExtractor", Family::Deit),
    ("CLIPImageProcessor", Family::Clip),
    ("CLIPFeatureExtractor", Family::Clip),
    ("BitImageProcessor", Family::Clip),
];

/// Image processors by `model_type`, for old files that do not name their class.
const MODEL_TYPES: [(&str, Family); 4] =
    [("vit", Family::Vit), ("deit", Family::Deit), ("convnext", Family::ConvNext), ("resnet", Family::ConvNext)];

/// Size of an image after the resize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// `[height, width]`, regardless of the aspect ratio.
    Exact([usize; 2]),
    /// Length of the shorter edge; the aspect ratio is kept.
    ShortestEdge(usize),
}

/// The preprocessing steps, in the order in which they are applied.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) channels: usize,
    pub(super) resize: Option<(Size, Filter)>,
    /// `[height, width]` of the center crop.
    pub(super) crop: Option<[usize; 2]>,
    /// Rescaled and normalised value of each 8-bit value, one table per channel.
    pub(super) tables: Vec<[f32; 256]>,
}

impl Steps {
    /// Reads `preprocessor_config.json`, and `num_channels` of `config.json`.
    ///
    /// # Errors
    /// Returns [`ModelError::ImageProcessor`] if the file is missing or has impossible settings,
    /// [`ModelError::UnknownImageProcessor`] for an unsupported processor, [`ModelError::InvalidJson`] if a file is
    /// invalid, and [`ModelError::Io`] if a file cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(FILE);
        let absent = || ModelError::ImageProcessor {
            path: path.clone(),
            reason: "no such file; it says how images are resized and normalised. Write it in Python with \
                     `AutoImageProcessor.from_pretrained(name).save_pretrained(folder)`"
                .into(),
        };
        let json = read_object(&path)?.ok_or_else(absent)?;
        let model = read_optional(&folder.join("config.json"))?;
        Reader { path: &path, json: &json }.steps(&model)
    }
}

/// Reads settings from the JSON of `preprocessor_config.json`; `path` is for errors.
struct Reader<'a> {
    path: &'a Path,
    json: &'a Value,
}

impl Reader<'_> {
    fn steps(&self, model: &Value) -> Result<Steps, ModelError> {
        let family = self.family(model)?;
        let channels = match model["num_channels"].as_u64().unwrap_or(3) {
            channels @ (1 | 3) => channels as usize,
            other => return Err(self.error(format!("num_channels of config.json is {other}, but images have 1 or 3"))),
        };
        let (resize, crop) = match self.flag("do_resize")? {
            true => {
                let (size, crop) = self.resized(family)?;
                (Some((size, self.filter(family)?)), crop)
            }
            false => (None, None),
        };
        let crop = match family {
            Family::Deit | Family::Clip if self.flag("do_center_crop")? => Some(self.crop_size()?),
            _ => crop,
        };
        let tables = self.tables(family, channels)?;
        Ok(Steps { channels, resize, crop, tables })
    }

    fn family(&self, model: &Value) -> Result<Family, ModelError> {
        let name =
            ["image_processor_type", "feature_extractor_type"].into_iter().find_map(|key| self.json[key].as_str());
        let (requested, known): (_, &[_]) = match name {
            Some(name) => (name, &PROCESSORS),
            None => (model["model_type"].as_str().unwrap_or("(none)"), &MODEL_TYPES),
        };
        known.iter().find(|(name, _)| *name == requested).map(|(_, family)| *family).ok_or_else(|| {
            ModelError::UnknownImageProcessor {
                path: self.path.into(),
                found: name.unwrap_or("(none)").into(),
                known: PROCESSORS.iter().map(|(name, _)| name.to_string()).collect(),
            }
        })
    }

    /// Size after the resize, and the crop that is part of the resize in ConvNext's processor.
    fn resized(&self, family: Family) -> Result<(Size, Option<[usize; 2]>), ModelError> {
        match (family, self.size("size", family)?) {
            (Family::ConvNext, Size::ShortestEdge(edge)) if edge < CONVNEXT_UNCROPPED => {
                // HF computes `int(shortest_edge / crop_pct)`.
                let enlarged = edge as f64 / self.number("crop_pct", 224.0 / 256.0)?;
                Ok((Size::ShortestEdge(self.edge("size / crop_pct", enlarged)?), Some([edge, edge])))
            }
            (Family::ConvNext, Size::ShortestEdge(edge)) => Ok((Size::Exact([edge, edge]), None)),
            (Family::ConvNext, Size::Exact(_)) => Err(self.error("size must be a number or have a shortest_edge")),
            (Family::Vit | Family::Deit, Size::ShortestEdge(_)) => {
                Err(self.error("size must be a number or have a height and a width"))
            }
            (_, size) => Ok((size, None)),
        }
    }

    fn size(&self, key: &str, family: Family) -> Result<Size, ModelError> {
        let value = &self.json[key];
        let square = matches!(family, Family::Vit | Family::Deit);
        let one_edge = |edge| if square { Size::Exact([edge, edge]) } else { Size::ShortestEdge(edge) };
        match value {
            Value::Null => Ok(match family {
                Family::Vit => Size::Exact([224, 224]),
                Family::Deit => Size::Exact([256, 256]),
                Family::Clip => Size::ShortestEdge(224),
                Family::ConvNext => Size::ShortestEdge(384),
            }),
            Value::Number(edge) => Ok(one_edge(self.edge(key, edge.as_f64().unwrap_or(f64::NAN))?)),
            Value::Object(_) if value["shortest_edge"].is_number() => {
                Ok(Size::ShortestEdge(self.edge(key, value["shortest_edge"].as_f64().unwrap_or(f64::NAN))?))
            }
            _ => self.height_and_width(key).map(Size::Exact),
        }
    }

    fn crop_size(&self) -> Result<[usize; 2], ModelError> {
        match &self.json["crop_size"] {
            Value::Null => Ok([224, 224]),
            Value::Number(edge) => {
                let edge = self.edge("crop_size", edge.as_f64().unwrap_or(f64::NAN))?;
                Ok([edge, edge])
            }
            _ => self.height_and_width("crop_size"),
        }
    }

    fn height_and_width(&self, key: &str) -> Result<[usize; 2], ModelError> {
        let value = &self.json[key];
        let edges = match value.as_array().map(Vec::as_slice) {
            Some([height, width]) => [height.as_f64(), width.as_f64()],
            _ => [value["height"].as_f64(), value["width"].as_f64()],
        };
        let [Some(height), Some(width)] = edges else {
            return Err(self.error(format!("{key} is {value}, but it must be a number or have a height and a width")));
        };
        Ok([self.edge(key, height)?, self.edge(key, width)?])
    }

    fn edge(&self, key: &str, edge: f64) -> Result<usize, ModelError> {
        match (1.0..=LARGEST_EDGE).contains(&edge) {
            true => Ok(edge as usize),
            false => Err(self.error(format!("{key} is {edge}, but an edge must have 1 to {LARGEST_EDGE} pixels"))),
        }
    }

    fn filter(&self, family: Family) -> Result<Filter, ModelError> {
        let value = &self.json["resample"];
        if value.is_null() {
            return Ok(if matches!(family, Family::Vit | Family::ConvNext) {
                Filter::Bilinear
            } else {
                Filter::Bicubic
            });
        }
        value
            .as_u64()
            .and_then(Filter::from_code)
            .ok_or_else(|| self.error(format!("resample is {value}, but Pillow's filters are numbered 0 to 5")))
    }

    /// Lookup tables for rescaling and normalising, with NumPy's intermediate roundings.
    fn tables(&self, family: Family, channels: usize) -> Result<Vec<[f32; 256]>, ModelError> {
        let factor = match self.flag("do_rescale")? {
            true => self.number("rescale_factor", 1.0 / 255.0)?,
            false => 1.0,
        };
        let (means, stds) = match (self.flag("do_normalize")?, family) {
            (false, _) => (vec![0.0; channels], vec![1.0; channels]),
            (true, Family::Clip) => (
                self.each("image_mean", &OPENAI_CLIP_MEAN, channels)?,
                self.each("image_std", &OPENAI_CLIP_STD, channels)?,
            ),
            (true, _) => (self.each("image_mean", &HALVES, channels)?, self.each("image_std", &HALVES, channels)?),
        };
        if stds.contains(&0.0) {
            return Err(self.error("image_std contains 0, but images are divided by it"));
        }
        let rescaled = |value: usize| (value as f64 * factor) as f32;
        let table = |(mean, std): (f64, f64)| std::array::from_fn(|value| (rescaled(value) - mean as f32) / std as f32);
        Ok(means.into_iter().zip(stds).map(table).collect())
    }

    /// One number per channel, written as a list or as one number for all channels.
    fn each(&self, key: &str, default: &[f64], channels: usize) -> Result<Vec<f64>, ModelError> {
        let numbers = match &self.json[key] {
            Value::Null => default.to_vec(),
            Value::Array(numbers) => numbers.iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect(),
            number => vec![number.as_f64().unwrap_or(f64::NAN); channels],
        };
        match numbers.len() == channels && numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(self.error(format!("{key} must have {channels} number(s), one per channel"))),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match &self.json[key] {
            Value::Null => Ok(true),
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.error(format!("{key} is {other}, but it must be true or false"))),
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, ModelError> {
        match &self.json[key] {
            Value::Null => Ok(default),
            value => value.as_f64().ok_or_else(|| self.error(format!("{key} is {value}, but it must be a number"))),
        }
    }

    fn error(&self, reason: impl Into<String>) -> ModelError {
        ModelError::ImageProcessor { path: self.path.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
