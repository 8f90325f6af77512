//! The inputs of all rows: token ids or images.

use std::path::Path;

use burn::tensor::Device;
use ns_models::{RowFormat, TextTokenizer};

use super::key::Key;
use super::limits::{Limit, ModelLimits};
use super::pictures::Pictures;
use super::read::{Reader, Reading};
use super::sequences::PaddedBatch;
use super::tables::Tables;
use super::texts::{TokenizedRows, read_texts};
use super::token_ids::read_ids;
use super::token_row::TokenRow;
use super::tokens::{Tokens, Writer};
use crate::error::TrainError;
use crate::recipe::DataSection;

/// The inputs of all rows.
pub(super) enum Input {
    Tokens(Tokens),
    Images {
        images: Pictures,
        /// Positions of an image; 0 if the model has none.
        positions: usize,
    },
}

impl Input {
    /// Some rows as model inputs. For images without positions the length of the rows is 0.
    ///
    /// # Errors
    /// Returns the errors of [`Sequences::batch`](super::sequences::Sequences::batch) and [`Pictures::inputs`].
    pub(super) fn batch(&self, rows: &[usize], device: &Device) -> Result<PaddedBatch, TrainError> {
        match self {
            Self::Tokens(tokens) => tokens.sequences.batch(rows, device),
            Self::Images { images, positions } => {
                let inputs = images.inputs(rows, device)?;
                Ok(PaddedBatch { inputs, seq: *positions, offsets: vec![0; rows.len()] })
            }
        }
    }

    /// Number of tokens of a row, added tokens counted; for images the number of positions.
    pub(super) fn n_tokens(&self, row: usize) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.sequences.ids.row(row).len(),
            Self::Images { positions, .. } => *positions,
        }
    }

    /// A hash of the input of a row.
    pub(super) fn key(&self, row: usize) -> Key {
        match self {
            Self::Tokens(tokens) => {
                Key::new().add(tokens.sequences.ids.row(row).iter().flat_map(|id| id.to_le_bytes()))
            }
            Self::Images { images, .. } => images.add_to(Key::new(), row),
        }
    }

    /// A row as a reader sees it; the positions in `read` are marked.
    pub(super) fn excerpt(&self, row: usize, read: &[u32]) -> String {
        match self {
            Self::Tokens(tokens) => tokens.excerpt(row, read),
            Self::Images { positions, .. } => image_excerpt(row, read, *positions),
        }
    }
}

/// Reads the inputs of the rows, and what is read from each; empty without a reader.
pub(super) fn read_inputs(
    section: &DataSection,
    tables: &Tables,
    reader: Option<&Reader<'_>>,
    model_folder: Option<&Path>,
    limits: ModelLimits,
) -> Result<(Input, Vec<Reading>), TrainError> {
    let folder = |expected: &str| model_folder.ok_or_else(|| TrainError::setting("model", "a configuration", expected));
    if let Some(column) = &section.text {
        let folder = folder("texts need the tokenizer of a model folder")?;
        let tokenizer = TextTokenizer::from_folder(folder)?.without_truncation()?;
        let limit = Limit::new(limits, Some(&tokenizer), section.truncate);
        let rows = read_texts(tables, &tables.column(column)?, &tokenizer, limit, reader)?;
        return Ok(tokens(rows, Writer::Text(Box::new(tokenizer))));
    }
    if let Some(column) = &section.tokens {
        let tokenizer = tokenizer_of(model_folder)?;
        let format = tokenizer.as_ref().map_or(RowFormat::default(), |tokenizer| tokenizer.row_format());
        let limit = Limit::new(limits, None, section.truncate);
        let rows = read_ids(tables, &tables.column(column)?, format, limit, reader)?;
        return Ok(tokens(rows, Writer::Ids(tokenizer)));
    }
    let images = match (&section.image, section.pixels) {
        (Some(column), _) => {
            let expected = "the image processor of the model sets it; remove the key";
            TrainError::check(section.size.is_none(), "data.size", "given", expected)?;
            Pictures::read_files(
                tables,
                column,
                folder("image files need the image processor of a model folder")?,
                limits,
            )?
        }
        (None, Some(pixels)) => Pictures::read_pixels(tables, pixels, section.size, limits)?,
        (None, None) => {
            let expected = "it needs one of `text`, `tokens`, `image` and `pixels`";
            return Err(TrainError::setting("data", "without an input", expected));
        }
    };
    let positions = limits.image_positions.unwrap_or_default();
    let expected = "a model without positions of images has no token to read";
    TrainError::check(reader.is_none() || positions > 0, "data.read", "given", expected)?;
    let row = TokenRow::of_image(positions);
    let readings = reader.map_or(Ok(Vec::new()), |reader| {
        (0..tables.len()).map(|at| reader.read(at, &row)).collect::<Result<Vec<_>, _>>()
    })?;
    Ok((Input::Images { images, positions }, readings))
}

fn tokens(mut rows: TokenizedRows, writer: Writer) -> (Input, Vec<Reading>) {
    let readings = std::mem::take(&mut rows.readings);
    (Input::Tokens(Tokens::new(rows, writer)), readings)
}

/// The tokenizer of a model whose data are token ids, if it has one.
fn tokenizer_of(model_folder: Option<&Path>) -> Result<Option<Box<TextTokenizer>>, TrainError> {
    let folder = model_folder.filter(|folder| folder.join("tokenizer.json").exists());
    Ok(folder.map(|folder| TextTokenizer::from_folder(folder).map(Box::new)).transpose()?)
}

/// Number of an image and the positions that are read.
fn image_excerpt(row: usize, read: &[u32], positions: usize) -> String {
    let first = format!("image {row}");
    match (read, positions) {
        ([], _) => first,
        ([0], _) => format!("{first} [class token]"),
        (all, positions) if all.len() + 1 == positions => format!("{first} [all patches]"),
        (some, _) => {
            let some: Vec<String> = some.iter().map(u32::to_string).collect();
            format!("{first} [positions {}]", some.join(" "))
        }
    }
}
