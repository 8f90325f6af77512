//! Reads Parquet files, column by column.

use std::fmt::Write;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// What a column may hold, for error messages.
const VALUES: &str = "every row must have a text, a number, a boolean, or a list of them";

/// Reads a file.
///
/// The Parquet reader checks the footer, but it panics on some damaged pages (and pages need not have checksums). Such a
/// panic becomes an error here. All that it could have left half done is dropped with it.
pub(super) fn read(path: &Path, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let read = AssertUnwindSafe(|| read_unguarded(path, asked));
    catch_unwind(read).unwrap_or_else(|_| Err(format_error(path, "the Parquet file is damaged")))
}

fn read_unguarded(path: &Path, asked: Option<&[&str]>) -> Result<Contents, TrainError> {
    let file = File::open(path).map_err(TrainError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(damaged(path))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let fields = schema.root_schema().get_fields();
    let header: Vec<String> = fields.iter().map(|field| field.name().into()).collect();
    let (mut contents, indices) = Contents::new(path, &header, asked)?;
    for (field, index) in indices.into_iter().enumerate() {
        let Some(index) = index else { continue };
        let kind = Kind::of(&fields[field])
            .map_err(|found| invalid(path, None, "a column", format!("`{}` ({found})", header[field]), VALUES))?;
        let column = ColumnOfFile { path, name: &header[field], kind };
        let leaf = (0..schema.num_columns()).position(|leaf| schema.get_column_root_idx(leaf) == field);
        let leaf = leaf.ok_or_else(|| format_error(path, "a column has no values"))?;
        for group in 0..reader.num_row_groups() {
            let chunk = reader.get_row_group(group).and_then(|group| group.get_column_reader(leaf));
            column.read(chunk.map_err(damaged(path))?, &mut contents.cells[index])?;
        }
    }
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
    if let Some(cells) = contents.cells.iter().find(|cells| cells.len() != rows) {
        return Err(format_error(path, format!("its footer announces {rows} rows, but a column has {}", cells.len())));
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
            ColumnReader::FloatColumnReader(reader) => {
                self.rows(reader, cells, |value, text| self.float(value.is_finite(), format_args!("{value:?}"), text))
            }
            ColumnReader::DoubleColumnReader(reader) => {
                self.rows(reader, cells, |value, text| self.float(value.is_finite(), format_args!("{value:?}"), text))
            }
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
            values.clear();
            definitions.clear();
            repetitions.clear();
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
        invalid(self.path, Some(cells.len() + 1), "a cell", found, VALUES)
    }
}

/// Adds the text of a value.
fn display(value: impl std::fmt::Display, text: &mut String) -> Result<(), &'static str> {
    write!(text, "{value}").map_err(|_| "a value without a text")
}

/// Parquet files for tests.
#[cfg(test)]
pub(super) mod fixtures {
    use std::sync::Arc;

    use parquet::basic::{Compression, ConvertedType, Repetition, Type as PhysicalType};
    use parquet::data_type::{ByteArray, ByteArrayType, DataType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
    use parquet::schema::{parser::parse_message_type, types::Type};

    /// Writes the values of a column.
    pub(in crate::data::table) type Write<'a> = Box<dyn Fn(&mut SerializedColumnWriter) + 'a>;

    /// A column of values, with the definition and repetition levels of lists and of optional values.
    pub(super) fn column<'a, T: DataType>(
        values: &'a [T::T],
        definitions: Option<&'a [i16]>,
        repetitions: Option<&'a [i16]>,
    ) -> Write<'a> {
        Box::new(move |column| {
            column.typed::<T>().write_batch(values, definitions, repetitions).unwrap();
        })
    }

    /// An uncompressed file with one row group.
    pub(in crate::data::table) fn written(schema: &str, columns: &[Write]) -> Vec<u8> {
        compressed(parse_message_type(schema).unwrap(), Compression::UNCOMPRESSED, 1, columns)
    }

    /// A file in which each of the row groups holds the same rows.
    pub(super) fn compressed(schema: Type, compression: Compression, groups: usize, columns: &[Write]) -> Vec<u8> {
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties).unwrap();
        for _ in 0..groups {
            let mut group = file.next_row_group().unwrap();
            for write in columns {
                let mut column = group.next_column().unwrap().unwrap();
                write(&mut column);
                column.close().unwrap();
            }
            group.close().unwrap();
        }
        file.into_inner().unwrap()
    }

    /// A file of columns with text.
    pub(in crate::data::table) fn strings(columns: &[(&str, Vec<&str>)]) -> Vec<u8> {
        let fields = columns.iter().map(|(name, _)| {
            let field = Type::primitive_type_builder(name, PhysicalType::BYTE_ARRAY);
            let field = field.with_repetition(Repetition::REQUIRED).with_converted_type(ConvertedType::UTF8);
            Arc::new(field.build().unwrap())
        });
        let schema = Type::group_type_builder("schema").with_fields(fields.collect()).build().unwrap();
        let texts = columns.iter().map(|(_, cells)| cells.iter().map(|cell| ByteArray::from(*cell)).collect());
        let texts: Vec<Vec<ByteArray>> = texts.collect();
        let columns: Vec<Write> = texts.iter().map(|cells| column::<ByteArrayType>(cells, None, None)).collect();
        compressed(schema, Compression::SNAPPY, 1, &columns)
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Compression;
    use parquet::data_type::{
        BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type, Int96, Int96Type,
    };
    use parquet::schema::parser::parse_message_type;

    use super::super::super::fixtures::file;
    use super::fixtures::{Write, column, compressed, written};
    use super::*;

    fn cells(bytes: &[u8], name: &str) -> Result<Vec<String>, TrainError> {
        let (_folder, path) = file("a.parquet", bytes);
        let contents = read(&path, Some(&[name]))?;
        Ok(contents.cells[0].column().iter().map(Into::into).collect())
    }

    fn one(field: &str, write: Write) -> Result<Vec<String>, TrainError> {
        cells(&written(&format!("message m {{ {field} }}"), &[write]), "x")
    }

    fn bytes(texts: &[&str]) -> Vec<ByteArray> {
        texts.iter().map(|text| ByteArray::from(*text)).collect()
    }

    /// Three lists: two elements, none, one element.
    const LEVELS: (Option<&[i16]>, Option<&[i16]>) = (Some(&[3, 3, 1, 3]), Some(&[0, 1, 0, 0]));
    const LIST: &str = "optional group x (LIST) { repeated group list { optional binary element (UTF8); } }";

    #[test]
    fn numbers_and_booleans_are_text() {
        let big = [1, -1, i64::MIN];
        assert_eq!(
            one("required int64 x;", column::<Int64Type>(&big, None, None)).unwrap(),
            big.map(|x| x.to_string())
        );
        let unsigned = column::<Int64Type>(&[1, -1], None, None);
        assert_eq!(one("required int64 x (UINT_64);", unsigned).unwrap(), ["1", "18446744073709551615"]);
        let unsigned = column::<Int32Type>(&[1, -1], None, None);
        assert_eq!(one("required int32 x (INTEGER(32, false));", unsigned).unwrap(), ["1", "4294967295"]);
        let signed = column::<Int32Type>(&[1, -1], Some(&[1, 1]), None);
        assert_eq!(one("optional int32 x (INT_8);", signed).unwrap(), ["1", "-1"]);
        let booleans = column::<BoolType>(&[true, false], None, None);
        assert_eq!(one("required boolean x;", booleans).unwrap(), ["true", "false"]);
        let single = column::<FloatType>(&[0.1, 1.0, -1.5e-9, f32::NAN], None, None);
        assert_eq!(one("required float x;", single).unwrap(), ["0.1", "1.0", "-1.5e-9", "NaN"]);
        let double = column::<DoubleType>(&[0.1, 1e300], None, None);
        assert_eq!(one("required double x;", double).unwrap(), ["0.1", "1e300"]);
    }

    #[test]
    fn lists_are_json() {
        let (definitions, repetitions) = LEVELS;
        let texts = bytes(&["a \"b\"", "ü", ""]);
        let expected = ["[\"a \\\"b\\\"\",\"ü\"]", "[]", "[\"\"]"];
        assert_eq!(one(LIST, column::<ByteArrayType>(&texts, definitions, repetitions)).unwrap(), expected);
        let numbers = column::<Int64Type>(&[1, 2, 3], definitions, repetitions);
        let field = "optional group x (LIST) { repeated group list { optional int64 element; } }";
        assert_eq!(one(field, numbers).unwrap(), ["[1,2]", "[]", "[3]"]);
        let field = "required group x (LIST) { repeated group list { required int64 element; } }";
        let numbers = column::<Int64Type>(&[1, 2, 3], Some(&[1, 1, 0, 1]), repetitions);
        assert_eq!(one(field, numbers).unwrap(), ["[1,2]", "[]", "[3]"]);
        for field in ["repeated int64 x;", "required group x (LIST) { repeated int64 array; }"] {
            let numbers = column::<Int64Type>(&[1, 2, 3], Some(&[1, 1, 0, 1]), repetitions);
            assert_eq!(one(field, numbers).unwrap(), ["[1,2]", "[]", "[3]"], "lists of old files");
        }
    }

    #[test]
    fn every_compression_and_many_batches_and_row_groups() {
        let schema = || parse_message_type(&format!("message m {{ required int64 y; {LIST} }}")).unwrap();
        let numbers: Vec<i64> = (0..10_000).collect();
        let texts: Vec<ByteArray> = (0..30_000).map(|text| ByteArray::from(&*format!("text {}", text % 7))).collect();
        let repetitions: Vec<i16> = (0..30_000).map(|element| i16::from(element % 3 > 0)).collect();
        let definitions = vec![3; 30_000];
        let columns = [
            column::<Int64Type>(&numbers, None, None),
            column::<ByteArrayType>(&texts, Some(&definitions), Some(&repetitions)),
        ];
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
        ] {
            let file = compressed(schema(), compression, 2, &columns);
            let (numbers, lists) = (cells(&file, "y").unwrap(), cells(&file, "x").unwrap());
            assert_eq!((numbers.len(), &*numbers[9_999], &*numbers[10_001]), (20_000, "9999", "1"), "{compression}");
            assert_eq!((lists.len(), &*lists[19_999]), (20_000, "[\"text 2\",\"text 3\",\"text 4\"]"));
        }
    }

    #[test]
    fn binary_data_that_is_utf_8_is_text() {
        let binary = |values: &[&'static [u8]]| values.iter().map(|value| ByteArray::from(*value)).collect::<Vec<_>>();
        let good = binary(&[b"a", "ü".as_bytes()]);
        assert_eq!(one("required binary x;", column::<ByteArrayType>(&good, None, None)).unwrap(), ["a", "ü"]);
        let bad = binary(&[b"a", b"\xff", b"c"]);
        let error = one("required binary x;", column::<ByteArrayType>(&bad, None, None)).unwrap_err().to_string();
        assert!(error.contains("a.parquet`, row 2: a cell is binary data that is not UTF-8 in column `x`"), "{error}");
    }

    #[test]
    fn a_missing_value_has_a_row_and_a_column() {
        let numbers = column::<Int64Type>(&[5, 7], Some(&[1, 0, 1]), None);
        let texts = bytes(&["a", "b"]);
        let definitions = [(&[3, 0, 3], 2, "empty (null)"), (&[3, 1, 0], 3, "empty (null)"), (&[3, 3, 2], 3, "a list")];
        let lists = definitions.iter().map(|(definitions, row, found)| {
            let values = &texts[..definitions.iter().filter(|level| **level == 3).count()];
            (one(LIST, column::<ByteArrayType>(values, Some(*definitions), Some(&[0; 3]))), *row, *found)
        });
        for (result, expected_row, expected) in
            [(one("optional int64 x;", numbers), 2, "empty (null)")].into_iter().chain(lists)
        {
            let error = result.unwrap_err();
            assert!(
                matches!(&error, TrainError::Data { line: Some(row), what: "a cell", found, .. }
                    if *row == expected_row && found.starts_with(expected) && found.ends_with(" in column `x`")),
                "{error}"
            );
        }
        let (definitions, repetitions) = LEVELS;
        let field = "optional group x (LIST) { repeated group list { optional double element; } }";
        let error = one(field, column::<DoubleType>(&[1.0, f64::NAN, 2.0], definitions, repetitions)).unwrap_err();
        assert!(error.to_string().contains("row 1: a cell is a list with a number that is not finite"), "{error}");
    }

    #[test]
    fn columns_without_a_text_are_refused_if_they_are_asked_for() {
        let nested = "optional group x { required int64 y; }";
        let map =
            "required group x (MAP) { repeated group key_value { required binary key (UTF8); optional int32 value; } }";
        let lists = "required group x (LIST) { repeated group list { required group element (LIST) \
                     { repeated group list { required int32 element; } } } }";
        let structs =
            "required group x (LIST) { repeated group list { required group element { required int64 y; } } }";
        let long = || column::<Int64Type>(&[1], None, None);
        let short = || column::<Int32Type>(&[1], None, None);
        let old = [Int96::new()];
        let cases: [(&str, &str, Vec<Write>); 9] = [
            (nested, "a struct or a map", vec![column::<Int64Type>(&[1], Some(&[1]), None)]),
            (
                map,
                "a struct or a map",
                vec![
                    column::<ByteArrayType>(&[], Some(&[0]), Some(&[0])),
                    column::<Int32Type>(&[], Some(&[0]), Some(&[0])),
                ],
            ),
            (lists, "a nested list", vec![column::<Int32Type>(&[1], Some(&[2]), Some(&[0]))]),
            (structs, "a nested list", vec![column::<Int64Type>(&[1], Some(&[1]), Some(&[0]))]),
            ("required int32 x (DATE);", "Date", vec![short()]),
            ("required int64 x (TIMESTAMP_MILLIS);", "TIMESTAMP_MILLIS", vec![long()]),
            ("required int64 x (TIMESTAMP(NANOS, true));", "Timestamp", vec![long()]),
            ("required int32 x (DECIMAL(5, 2));", "Decimal", vec![short()]),
            ("required int96 x;", "a timestamp", vec![column::<Int96Type>(&old, None, None)]),
        ];
        for (field, expected, mut columns) in cases {
            columns.push(column::<BoolType>(&[true], None, None));
            let file = written(&format!("message m {{ {field} required boolean good; }}"), &columns);
            assert_eq!(cells(&file, "good").unwrap(), ["true"], "{field}");
            let error = cells(&file, "x").unwrap_err();
            let right = "but every row must have a text, a number, a boolean, or a list of them";
            assert!(
                matches!(&error, TrainError::Data { what: "a column", found, .. } if found.starts_with("`x` (") && found.contains(expected)),
                "{error}"
            );
            assert!(error.to_string().ends_with(right), "{error}");
        }
    }

    /// A damaged file gives an error or, as Parquet files need not have checksums, other values; but no panic.
    #[test]
    fn damaged_files_do_not_panic() {
        let schema =
            parse_message_type(&format!("message m {{ optional int32 y; required double z; {LIST} }}")).unwrap();
        let texts = bytes(&["a", "text", "a"]);
        let (definitions, repetitions) = LEVELS;
        let columns = [
            column::<Int32Type>(&[1, 2, 2], Some(&[1, 1, 1]), None),
            column::<DoubleType>(&[1.0, 2.0, 3.0], None, None),
            column::<ByteArrayType>(&texts, definitions, repetitions),
        ];
        for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(Default::default())] {
            let good = compressed(schema.clone(), compression, 1, &columns);
            let (_folder, path) = file("a.parquet", &good);
            assert!(read(&path, None).is_ok());
            for length in 0..good.len() {
                std::fs::write(&path, &good[..length]).unwrap();
                let error = read(&path, None).unwrap_err();
                assert!(matches!(error, TrainError::DataFormat { .. }), "{length}: {error}");
            }
            for place in 0..good.len() {
                for flip in [1, 255] {
                    let mut damaged = good.clone();
                    damaged[place] ^= flip;
                    std::fs::write(&path, &damaged).unwrap();
                    let _ = read(&path, None);
                }
            }
        }
    }
}
