//! Reads Parquet files, column by column.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::Type;

use super::column::Cells;
use super::contents::{Contents, format_error, invalid};
use crate::error::TrainError;

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

/// Reads a file.
pub(super) fn read(path: &Path, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let file = File::open(path).map_err(TrainError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(damaged(path))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let fields = schema.root_schema().get_fields();
    let header: Vec<String> = fields.iter().map(|field| field.name().into()).collect();
    let (mut contents, indices) = Contents::new(path, &header, asked)?;
    for (field, index) in indices.into_iter().enumerate() {
        let Some(index) = index else { continue };
        let kind = Kind::of(&fields[field]).map_err(|found| {
            let expected = "a column must hold text, numbers, booleans, or lists of them";
            invalid(path, None, "a column", format!("`{}` ({found})", header[field]), expected)
        })?;
        let column = ColumnOfFile { path, name: &header[field], kind };
        let leaf = (0..schema.num_columns()).position(|leaf| schema.get_column_root_idx(leaf) == field);
        let leaf = leaf.ok_or_else(|| format_error(path, "a column has no values"))?;
        for group in 0..reader.num_row_groups() {
            let chunk = reader.get_row_group(group).and_then(|group| group.get_column_reader(leaf));
            column.read(chunk.map_err(damaged(path))?, &mut contents.cells[index])?;
        }
    }
    let rows = contents.cells.first().map_or(0, Cells::len);
    if contents.cells.iter().any(|cells| cells.len() != rows) {
        return Err(format_error(path, "its columns differ in length"));
    }
    contents.lines = (1..=rows).collect();
    Ok(contents)
}

/// Converts an error of the Parquet reader, for `map_err`.
fn damaged(path: &Path) -> impl Fn(ParquetError) -> TrainError {
    move |error| format_error(path, error.to_string())
}

/// What a column holds.
#[derive(Clone, Copy)]
struct Kind {
    /// Whether integers are unsigned.
    unsigned: bool,
    /// For lists, the definition level of an empty list. A lower level means that there is no list, a higher level
    /// means an element.
    list: Option<i16>,
    /// The definition level of a value.
    value: i16,
}

impl Kind {
    /// The kind of a column; a description of its type if its values have no text.
    fn of(field: &Type) -> Result<Self, String> {
        let optional = |field: &Type| i16::from(field.get_basic_info().repetition() == Repetition::OPTIONAL);
        let repeated = |field: &Type| field.get_basic_info().repetition() == Repetition::REPEATED;
        if field.is_primitive() {
            let list = repeated(field).then_some(0);
            let value = optional(field) + i16::from(list.is_some());
            return Ok(Self { unsigned: unsigned(field)?, list, value });
        }
        let info = field.get_basic_info();
        let is_list =
            info.converted_type() == ConvertedType::LIST || matches!(info.logical_type_ref(), Some(LogicalType::List));
        let nested = || if is_list { "a nested list".to_string() } else { "a struct or a map".to_string() };
        let ([items], true, false) = (field.get_fields(), is_list, repeated(field)) else { return Err(nested()) };
        let (element, element_optional) = match items.is_primitive() {
            // Old files have no group around the element.
            true => (items, 0),
            false => match items.get_fields() {
                [element] if element.is_primitive() && !repeated(element) => (element, optional(element)),
                _ => return Err(nested()),
            },
        };
        if !repeated(items) {
            return Err(nested());
        }
        let empty = optional(field);
        Ok(Self { unsigned: unsigned(element)?, list: Some(empty), value: empty + 1 + element_optional })
    }
}

/// Whether integers of this type are unsigned; the name of the type if its values are not text, numbers or booleans.
fn unsigned(primitive: &Type) -> Result<bool, String> {
    let info = primitive.get_basic_info();
    let unsigned = match info.logical_type_ref() {
        None => None,
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json | LogicalType::Unknown) => None,
        Some(LogicalType::Integer(integer)) => Some(!integer.is_signed),
        Some(other) => return Err(format!("{other:?}")),
    };
    use ConvertedType as Old;
    match info.converted_type() {
        Old::UINT_8 | Old::UINT_16 | Old::UINT_32 | Old::UINT_64 => Ok(true),
        Old::NONE | Old::UTF8 | Old::ENUM | Old::JSON | Old::INT_8 | Old::INT_16 | Old::INT_32 | Old::INT_64 => {
            match primitive.get_physical_type() {
                PhysicalType::INT96 => Err("a timestamp".into()),
                _ => Ok(unsigned.unwrap_or_default()),
            }
        }
        other => Err(other.to_string()),
    }
}

/// A column of a file, for error messages.
struct ColumnOfFile<'a> {
    path: &'a Path,
    name: &'a str,
    kind: Kind,
}

impl ColumnOfFile<'_> {
    /// Adds the rows of a row group to the cells.
    fn read(&self, reader: ColumnReader, cells: &mut Cells) -> Result<(), TrainError> {
        match reader {
            ColumnReader::BoolColumnReader(reader) => self.rows(reader, cells, |value, text| display(value, text)),
            ColumnReader::Int32ColumnReader(reader) if self.kind.unsigned => {
                self.rows(reader, cells, |value, text| display(*value as u32, text))
            }
            ColumnReader::Int32ColumnReader(reader) => self.rows(reader, cells, |value, text| display(value, text)),
            ColumnReader::Int64ColumnReader(reader) if self.kind.unsigned => {
                self.rows(reader, cells, |value, text| display(*value as u64, text))
            }
            ColumnReader::Int64ColumnReader(reader) => self.rows(reader, cells, |value, text| display(value, text)),
            ColumnReader::FloatColumnReader(reader) => self.rows(reader, cells, |value, text| {
                self.float(value.is_finite(), format_args!("{value:?}"), text)
            }),
            ColumnReader::DoubleColumnReader(reader) => self.rows(reader, cells, |value, text| {
                self.float(value.is_finite(), format_args!("{value:?}"), text)
            }),
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.rows(reader, cells, |value, text| self.string(value.data(), text))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                self.rows(reader, cells, |value, text| self.string(value.data(), text))
            }
            ColumnReader::Int96ColumnReader(_) => Err(format_error(self.path, "a column changes its type")),
        }
    }

    /// Adds rows to the cells. `write` adds a value to the text of a cell.
    fn rows<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        cells: &mut Cells,
        write: impl Fn(&T::T, &mut String) -> Result<(), &'static str>,
    ) -> Result<(), TrainError> {
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            (values.clear(), definitions.clear(), repetitions.clear());
            let read = reader.read_records(BATCH, Some(&mut definitions), Some(&mut repetitions), &mut values);
            let (records, _, _) = read.map_err(damaged(self.path))?;
            if records == 0 {
                return Ok(());
            }
            match self.kind.list {
                Some(empty) => self.lists(empty, &values, definitions.iter().zip(&repetitions), cells, &write)?,
                None => {
                    let null = definitions.iter().position(|level| *level < self.kind.value);
                    for value in &values[..null.unwrap_or(values.len())] {
                        write(value, cells.text_mut()).map_err(|found| self.unusable(cells, found))?;
                        cells.end_cell();
                    }
                    if null.is_some() {
                        return Err(self.unusable(cells, "empty (null)"));
                    }
                }
            }
        }
    }

    /// Adds lists to the cells, as JSON. `levels` are the definition and repetition levels of whole lists; `empty` is
    /// the definition level of an empty list.
    fn lists<'a, T>(
        &self,
        empty: i16,
        values: &[T],
        levels: impl Iterator<Item = (&'a i16, &'a i16)>,
        cells: &mut Cells,
        write: impl Fn(&T, &mut String) -> Result<(), &'static str>,
    ) -> Result<(), TrainError> {
        let mut values = values.iter();
        let mut levels = levels.peekable();
        while let Some((definition, repetition)) = levels.next() {
            if *definition < empty {
                return Err(self.unusable(cells, "empty (null)"));
            }
            cells.text_mut().push(if *repetition == 0 { '[' } else { ',' });
            if *definition > empty {
                match values.next().filter(|_| *definition == self.kind.value) {
                    Some(value) => write(value, cells.text_mut()).map_err(|found| self.unusable(cells, found))?,
                    None => return Err(self.unusable(cells, "a list with an empty element (null)")),
                }
            }
            if levels.peek().is_none_or(|(_, repetition)| **repetition == 0) {
                cells.text_mut().push(']');
                cells.end_cell();
            }
        }
        Ok(())
    }

    /// Adds a number to the text. JSON has only finite numbers.
    fn float(&self, finite: bool, number: std::fmt::Arguments, text: &mut String) -> Result<(), &'static str> {
        if self.kind.list.is_some() && !finite {
            return Err("a list with a number that is not finite");
        }
        display(number, text)
    }

    /// Adds a string to the text: in JSON syntax if it is in a list.
    fn string(&self, bytes: &[u8], text: &mut String) -> Result<(), &'static str> {
        let string = std::str::from_utf8(bytes).map_err(|_| "binary data that is not UTF-8")?;
        match self.kind.list {
            Some(_) => display(serde_json::Value::from(string), text),
            None => {
                text.push_str(string);
                Ok(())
            }
        }
    }

    /// The error for the row that comes next.
    fn unusable(&self, cells: &Cells, found: &str) -> TrainError {
        let found = format!("{found} in column `{}`", self.name);
        invalid(self.path, Some(cells.len() + 1), "a cell", found, "every row must have a value that is text")
    }
}

/// Adds the text of a value.
fn display(value: impl std::fmt::Display, text: &mut String) -> Result<(), &'static str> {
    write!(text, "{value}").map_err(|_| "a value without a text")
}
