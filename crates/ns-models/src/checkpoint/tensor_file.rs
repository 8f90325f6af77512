//! A safetensors file that is written piece by piece, for tensors larger than memory.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::write::temporary_file_for;
use crate::error::ModelError;

/// Type of the numbers of a tensor in a [`TensorFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TensorType {
    /// 64-bit integers.
    I64,
    /// 32-bit floating-point numbers.
    F32,
}

/// A safetensors file whose tensors are written in pieces, each tensor from its first number to its last. The file
/// appears when all are complete.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: NamedTempFile,
    tensors: BTreeMap<String, Remaining>,
}

/// The part of a tensor that is not written yet.
#[derive(Debug)]
struct Remaining {
    dtype: DType,
    /// Offsets in the file.
    next: u64,
    end: u64,
}

impl TensorType {
    /// Name in the header, size in bytes, and Burn's type.
    fn layout(self) -> (&'static str, usize, DType) {
        match self {
            Self::I64 => ("I64", 8, DType::I64),
            Self::F32 => ("F32", 4, DType::F32),
        }
    }
}

impl TensorFile {
    /// Starts a file with tensors of these names, types and shapes. `metadata` is written to its header.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if no file can be written in the folder of `path`, and for shapes that are too large.
    pub fn create(
        path: impl AsRef<Path>,
        tensors: &BTreeMap<String, (TensorType, Vec<usize>)>,
        metadata: &BTreeMap<&str, String>,
    ) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let failed = |error| failed(path, error);
        let mut order: Vec<_> = tensors.iter().collect();
        // Integers come first, so that all numbers are aligned.
        order.sort_by_key(|(_, (dtype, _))| *dtype);
        let (mut header, mut places, mut end) = (Map::new(), BTreeMap::new(), 0_usize);
        header.insert("__metadata__".into(), json!(metadata));
        for (name, (dtype, shape)) in order {
            let (label, size, dtype) = dtype.layout();
            let bytes = shape.iter().try_fold(size, |bytes, side| bytes.checked_mul(*side));
            let next = bytes.and_then(|bytes| end.checked_add(bytes));
            let next =
                next.ok_or_else(|| failed(std::io::Error::other(format!("`{name}` is too large: {shape:?}"))))?;
            header.insert(name.clone(), json!({ "dtype": label, "shape": shape, "data_offsets": [end, next] }));
            places.insert(name.clone(), (dtype, end, next));
            end = next;
        }
        let header = padded(Value::Object(header).to_string());
        let start = (8 + header.len()) as u64;
        let place = |(dtype, next, end)| Remaining { dtype, next: start + next as u64, end: start + end as u64 };
        let tensors = places.into_iter().map(|(name, range)| (name, place(range))).collect();
        let mut file = temporary_file_for(path).map_err(failed)?;
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(header.as_bytes()).map_err(failed)?;
        Ok(Self { path: path.into(), file, tensors })
    }

    /// Writes the next numbers of a tensor.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if the file cannot be written, or if it has no such tensor, or less room in it.
    pub fn append(&mut self, name: &str, data: TensorData) -> Result<(), ModelError> {
        let failed = |error| failed(&self.path, error);
        let unexpected = |what: &str| failed(std::io::Error::other(format!("`{name}` {what}")));
        let place = self.tensors.get_mut(name).ok_or_else(|| unexpected("is no tensor of the file"))?;
        let data = data.convert_dtype(place.dtype);
        let bytes = data.as_bytes();
        if place.next + bytes.len() as u64 > place.end {
            return Err(unexpected("gets more numbers than its shape has"));
        }
        self.file.seek(SeekFrom::Start(place.next)).map_err(failed)?;
        self.file.write_all(bytes).map_err(failed)?;
        place.next += bytes.len() as u64;
        Ok(())
    }

    /// Ends the file, which now appears in place of an older one.
    ///
    /// # Errors
    /// Returns [`ModelError::Io`] if the file cannot be written, or if a tensor is not complete.
    pub fn finish(self) -> Result<(), ModelError> {
        let failed = |error| failed(&self.path, error);
        if let Some((name, _)) = self.tensors.iter().find(|(_, place)| place.next < place.end) {
            return Err(failed(std::io::Error::other(format!("`{name}` is not complete"))));
        }
        self.file.as_file().sync_all().map_err(failed)?;
        self.file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// A header whose length is a multiple of 8, so that the tensors behind it are aligned.
fn padded(header: String) -> String {
    let spaces = header.len().next_multiple_of(8) - header.len();
    header + &" ".repeat(spaces)
}

fn failed(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action: "write", path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    fn tensors() -> BTreeMap<String, (TensorType, Vec<usize>)> {
        [("a", TensorType::F32, vec![3, 1]), ("rows", TensorType::I64, vec![2])]
            .map(|(name, dtype, shape)| (name.to_string(), (dtype, shape)))
            .into()
    }

    fn floats(values: &[f32]) -> TensorData {
        TensorData::new(values.to_vec(), [values.len()])
    }

    #[test]
    fn pieces_of_several_tensors_become_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let mut file = TensorFile::create(&path, &tensors(), &BTreeMap::from([("model", "café".to_string())])).unwrap();
        file.append("a", floats(&[1.0, -2.5])).unwrap();
        file.append("rows", TensorData::new(vec![7_i64, -1], [2])).unwrap();
        file.append("a", floats(&[3.0])).unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (length, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!((length % 8, header.metadata().as_ref().unwrap()["model"].as_str()), (0, "café"));
        let read = SafeTensors::deserialize(&bytes).unwrap();
        let (a, rows) = (read.tensor("a").unwrap(), read.tensor("rows").unwrap());
        assert_eq!((a.shape(), rows.shape()), (&[3, 1][..], &[2][..]));
        assert_eq!(a.data(), [1.0_f32, -2.5, 3.0].map(f32::to_le_bytes).concat());
        assert_eq!(rows.data(), [7_i64, -1].map(i64::to_le_bytes).concat());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn an_incomplete_file_does_not_appear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let create = || TensorFile::create(&path, &tensors(), &BTreeMap::new()).unwrap();
        let message = |result: Result<(), ModelError>| result.unwrap_err().to_string();
        assert!(message(create().finish()).contains("`a` is not complete"));
        assert!(message(create().append("a", floats(&[0.0; 4]))).contains("more numbers than its shape has"));
        assert!(message(create().append("b", floats(&[0.0]))).contains("no tensor of the file"));
        let huge = [("a".to_string(), (TensorType::F32, vec![usize::MAX, 2]))].into();
        assert!(TensorFile::create(&path, &huge, &BTreeMap::new()).unwrap_err().to_string().contains("too large"));
        assert!(!path.exists());
    }
}
