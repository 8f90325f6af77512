//! Vectors at sites of the residual stream, written to a file for other tools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use ns_models::{AnyTransformer, Site, TensorFile, TensorType, Transformer};

use super::base_model::{limits_of_folder, named_sites};
use crate::data::{Dataset, Examples};
use crate::error::TrainError;
use crate::recipe::{DataSection, Read};
use crate::run::DelayedProgress;

/// Tensor with the row of each vector.
const ROWS: &str = "rows";
/// Tensor with the position of each vector.
const POSITIONS: &str = "positions";

/// Which vectors are read: of which model, on which data, at which sites.
#[derive(Clone, Debug)]
pub struct Activations {
    /// Folder of the model.
    pub model: PathBuf,
    /// The table with its inputs and the positions that are read. Labels and splits are not read.
    pub data: DataSection,
    /// Names of sites, or patterns such as `attn_update_*`.
    pub sites: Vec<String>,
    /// Rows per forward pass.
    pub batch: usize,
}

/// Which vectors were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenActivations {
    /// Number of vectors at each site.
    pub vectors: usize,
    /// Number of rows of the table.
    pub rows: usize,
    /// Size of a vector.
    pub hidden: usize,
    /// The sites.
    pub sites: Vec<Site>,
}

impl Activations {
    /// Writes the vectors to a safetensors file: for each site a tensor `[n, hidden]` (f32) with its name; `rows` `[n]`
    /// (i64), the row of the table of each vector, from 0; and `positions` `[n]` (i64), its position among the tokens of
    /// the row, with those that the tokenizer adds, or of the first of them for a mean. The metadata of the file are
    /// `metadata` and `read`, the rule of the positions in TOML.
    ///
    /// Each batch is read in one forward pass, which stops at the last site. The file appears when it is complete.
    ///
    /// # Errors
    /// Returns [`TrainError::Setting`] for a site that the model does not have and for a batch of 0 rows, the errors of
    /// [`Examples::read`], and [`TrainError::Model`] if the model cannot be loaded or run or the file cannot be written.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        metadata: &[(&str, String)],
        device: &Device,
    ) -> Result<WrittenActivations, TrainError> {
        TrainError::check(self.batch > 0, "--batch", "0", "it must be at least 1")?;
        if let Some(Read::At(at)) = &self.data.read {
            at.validate("--read")?;
        }
        let data = DataSection { label: None, split: None, ..self.data.clone() };
        let model = AnyTransformer::load(&self.model, device)?;
        let sites = named_sites(&model, "--site", &self.sites)?;
        let examples = Examples::read(&data, Some(&self.model), limits_of_folder(&self.model)?)?;
        let rows = examples.split().train.clone();
        let written = WrittenActivations {
            vectors: examples.labels(&rows).len(),
            rows: rows.len(),
            hidden: model.hidden_size(),
            sites,
        };
        let mut metadata: BTreeMap<&str, String> = metadata.iter().cloned().collect();
        metadata.extend(data.read.as_ref().map(|read| ("read", toml_of(read))));
        let mut file = TensorFile::create(path, &written.tensors(), &metadata)?;
        written.fill(&mut file, (&model, device), &examples, self.batch)?;
        file.finish()?;
        Ok(written)
    }
}

impl WrittenActivations {
    /// Types and shapes of the tensors of the file.
    fn tensors(&self) -> BTreeMap<String, (TensorType, Vec<usize>)> {
        let sites =
            self.sites.iter().map(|site| (site.to_string(), (TensorType::F32, vec![self.vectors, self.hidden])));
        let places = [ROWS, POSITIONS].map(|name| (name.to_string(), (TensorType::I64, vec![self.vectors])));
        sites.chain(places).collect()
    }

    fn fill(
        &self,
        file: &mut TensorFile,
        (model, device): (&AnyTransformer, &Device),
        examples: &Examples,
        batch: usize,
    ) -> Result<(), TrainError> {
        let mut progress = DelayedProgress::new("activations");
        let all = &examples.split().train;
        for (index, rows) in all.chunks(batch).enumerate() {
            let batch_of_rows = examples.batch(rows, device)?;
            let vectors = batch_of_rows.vectors_at_sites(model, &self.sites)?;
            for (site, vectors) in self.sites.iter().zip(vectors) {
                file.append(&site.to_string(), vectors.into_data())?;
            }
            let (of_row, positions) = places(examples, rows);
            file.append(ROWS, of_row)?;
            file.append(POSITIONS, positions)?;
            progress.update(index * batch + rows.len(), all.len());
        }
        progress.finish();
        Ok(())
    }
}

/// Row and position of each vector that is read from some rows, `[vectors]`.
fn places(examples: &Examples, rows: &[usize]) -> (TensorData, TensorData) {
    let (mut of_row, mut positions) = (Vec::new(), Vec::new());
    for row in rows {
        // A mean of several positions is one vector.
        let vectors = examples.rows().of(*row).len();
        of_row.extend(std::iter::repeat_n(*row as i64, vectors));
        positions.extend(examples.positions(*row).iter().take(vectors).map(|position| i64::from(*position)));
    }
    let tensor = |values: Vec<i64>| {
        let shape = [values.len()];
        TensorData::new(values, shape)
    };
    (tensor(of_row), tensor(positions))
}

/// A rule as a recipe writes it.
fn toml_of(read: &Read) -> String {
    toml::Value::try_from(read).map_or_else(|_| String::new(), |value| value.to_string())
}
