//! Reads the JSON files of a model folder.

use std::{io::ErrorKind, path::Path};

use serde_json::Value;

use crate::error::ModelError;

/// Reads a JSON object, or returns `None` if the file does not exist.
///
/// # Errors
/// Returns [`ModelError::Io`] if the file cannot be read and [`ModelError::InvalidJson`] if it is not a JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Option<Value>, ModelError> {
    let invalid = |reason: String| ModelError::InvalidJson { path: path.into(), reason };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ModelError::Io { action: "read", path: path.into(), source }),
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    if value.is_object() { Ok(Some(value)) } else { Err(invalid("it is not a JSON object".into())) }
}

/// Reads a JSON object, or returns an empty object if the file does not exist.
///
/// # Errors
/// Returns the errors of [`read_object`].
pub(crate) fn read_optional(path: &Path) -> Result<Value, ModelError> {
    Ok(read_object(path)?.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_empty_and_a_broken_one_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.json");
        assert_eq!(read_optional(&path).unwrap(), serde_json::json!({}));
        for text in ["[]", "{", ""] {
            std::fs::write(&path, text).unwrap();
            let error = read_optional(&path).unwrap_err();
            assert!(matches!(&error, ModelError::InvalidJson { path: named, .. } if *named == path), "{error}");
        }
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_optional(folder.path()), Err(ModelError::Io { .. })));
    }
}
