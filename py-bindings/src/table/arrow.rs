//! Arrow columns through the C stream interface: whoever exports `__arrow_c_stream__` hands over pointers, not copies.
//!
//! <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>. Numbers of 64 bits, validity and texts are
//! used where they lie; narrower numbers, truth values and decimals are widened some million rows at a time.

use arrow_array::cast::AsArray;
use arrow_array::ffi_stream::{ArrayStreamReader, FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::collections::{BTreeMap, HashMap};
use veilsum_dp_core::table::{self, Batch, Column, Holds, Key, Validity, Values};

use super::columns::{ROWS_AT_ONCE, Role, needs, only};
use crate::error;

/// Takes the stream out of what `source.__arrow_c_stream__()` returned.
fn stream(source: &Bound<'_, PyAny>) -> PyResult<FFI_ArrowArrayStream> {
    let capsule = source.call_method0("__arrow_c_stream__")?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(c"arrow_array_stream"))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: a capsule of this name points to an initialised ArrowArrayStream (the PyCapsule interface says so), and
    // nobody else uses it: we hold the GIL and the only reference to a capsule that was made for us. `from_raw` moves the
    // stream out and leaves a released one behind, so the capsule's own destructor releases nothing twice.
    #[expect(unsafe_code, reason = "the one place where a pointer comes in")]
    Ok(unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) })
}

/// What the producer says may quote a value, so it is left out.
fn unreadable(_: ArrowError) -> PyErr {
    error::exception(
        "ArgumentError",
        "the table could not be read: its Arrow stream failed (read it to its end yourself to see why)".into(),
    )
}

fn unknown(kind: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "this Arrow stream is not one of {kind} that can be read: it was read before, or has a type that is too new, such as \
         128-bit integers (cast them)"
    ))
}

fn records(source: &Bound<'_, PyAny>) -> PyResult<RecordBatchStreamReader> {
    RecordBatchStreamReader::try_new(stream(source)?).map_err(|_| unknown("tables"))
}

/// All batches of a table.
pub(super) fn table(source: &Bound<'_, PyAny>) -> PyResult<(SchemaRef, Vec<RecordBatch>)> {
    let reader = records(source)?;
    let schema = reader.schema();
    let batches = source.py().detach(|| reader.collect::<Result<Vec<_>, _>>()).map_err(unreadable)?;
    Ok((schema, batches))
}

/// All chunks of a column.
pub(super) fn column(source: &Bound<'_, PyAny>) -> PyResult<(DataType, Vec<ArrayRef>)> {
    use arrow_array::ArrayReader;
    let reader = ArrayStreamReader::try_new(stream(source)?).map_err(|_| unknown("arrays"))?;
    let data_type = reader.field().data_type().clone();
    let chunks = source.py().detach(|| reader.collect::<Result<Vec<_>, _>>()).map_err(unreadable)?;
    Ok((data_type, chunks))
}

/// Reads a stream to its end, batch by batch, and takes the columns that a plan needs to `push`; nothing is kept.
///
/// `untyped`: the columns are the fields of a text file, read by what each is for.
pub(super) fn read(
    source: &Bound<'_, PyAny>,
    plan: &table::Plan,
    untyped: bool,
    mut push: impl FnMut(&Batch<'_>) -> PyResult<()>,
) -> PyResult<()> {
    let py = source.py();
    let mut reader = records(source)?;
    let schema = reader.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let mut wanted = BTreeMap::new();
    for (name, role) in needs(plan) {
        let (at, name_of_type) = (only(name, names.clone())?, String::new());
        let entry = wanted.entry(name).or_insert((at, role, name_of_type));
        // A column that is grouped by and summed is read as numbers.
        if entry.1 != role && role != Role::Person {
            entry.1 = Role::Key { numbers: true };
        }
        entry.2 = type_name(schema.field(at).data_type());
    }
    let mut next = Some(RecordBatch::new_empty(schema.clone()));
    while let Some(batch) = next {
        let mut from = 0;
        loop {
            let to = batch.num_rows().min(from + ROWS_AT_ONCE);
            let mut columns = vec![];
            for (name, (at, role, type_name)) in &wanted {
                let array = batch.column(*at).as_ref();
                let column = match array.data_type() {
                    DataType::Binary if untyped => field(array, *role, from, to),
                    data_type => convert(array, name, from, to)?.of_type(holds(data_type), type_name),
                };
                columns.push((*name, column));
            }
            push(&Batch::new(to - from, columns).map_err(error::core)?)?;
            if to == batch.num_rows() {
                break;
            }
            from = to;
        }
        next = py.detach(|| reader.next()).transpose().map_err(unreadable)?;
    }
    Ok(())
}

/// What a type lets a column hold.
pub(super) fn holds(data_type: &DataType) -> Holds {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Holds::Texts,
        DataType::Dictionary(_, values) => holds(values),
        DataType::Null => Holds::Anything,
        _ => Holds::Numbers,
    }
}

/// Whether a type holds whole numbers or truth values alone.
pub(super) fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer() || *data_type == DataType::Boolean
}

/// A type as errors call it.
pub(super) fn type_name(data_type: &DataType) -> String {
    data_type.to_string()
}

fn unsupported(name: &str, data_type: &DataType) -> PyErr {
    let way_out = if data_type.is_temporal() {
        "make it a number (days since a date) for means and quantiles, or a text (\"2026-11\") for groups"
    } else {
        "convert it to numbers or texts"
    };
    let type_name = type_name(data_type);
    error::exception(
        "ArgumentError",
        format!("column {name:?} is of type {type_name}, which tables do not take: {way_out}"),
    )
}

/// Rows `from` to `to` of an array as a column.
pub(super) fn convert<'a>(array: &'a dyn Array, name: &str, from: usize, to: usize) -> PyResult<Column<'a>> {
    let values = match array.data_type() {
        DataType::Null => Values::Float(vec![f64::NAN; to - from].into()),
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            Values::Bool((from..to).map(|row| bits.value(row)).collect::<Vec<_>>().into())
        }
        DataType::Int8 => signed::<Int8Type>(array, from, to),
        DataType::Int16 => signed::<Int16Type>(array, from, to),
        DataType::Int32 => signed::<Int32Type>(array, from, to),
        DataType::Int64 => Values::Signed(array.as_primitive::<Int64Type>().values()[from..to].into()),
        DataType::UInt8 => unsigned::<UInt8Type>(array, from, to),
        DataType::UInt16 => unsigned::<UInt16Type>(array, from, to),
        DataType::UInt32 => unsigned::<UInt32Type>(array, from, to),
        DataType::UInt64 => Values::Unsigned(array.as_primitive::<UInt64Type>().values()[from..to].into()),
        DataType::Float16 => float::<Float16Type>(array, from, to),
        DataType::Float32 => float::<Float32Type>(array, from, to),
        DataType::Float64 => Values::Float(array.as_primitive::<Float64Type>().values()[from..to].into()),
        DataType::Decimal32(_, 0..=38) => decimal::<Decimal32Type>(array, from, to),
        DataType::Decimal64(_, 0..=38) => decimal::<Decimal64Type>(array, from, to),
        DataType::Decimal128(_, scale @ 0..=38) => {
            Values::Decimal(array.as_primitive::<Decimal128Type>().values()[from..to].into(), scale.unsigned_abs())
        }
        DataType::Utf8 => Values::Text((from..to).map(|row| array.as_string::<i32>().value(row)).collect()),
        DataType::LargeUtf8 => Values::Text((from..to).map(|row| array.as_string::<i64>().value(row)).collect()),
        DataType::Utf8View => Values::Text((from..to).map(|row| array.as_string_view().value(row)).collect()),
        DataType::Dictionary(codes, _) => {
            let dictionary = array.as_any_dictionary();
            let keys = categories(dictionary.values().as_ref()).ok_or_else(|| unsupported(name, array.data_type()))?;
            let codes = match codes.as_ref() {
                DataType::Int8 => positions::<Int8Type>(dictionary.keys(), from, to),
                DataType::Int16 => positions::<Int16Type>(dictionary.keys(), from, to),
                DataType::Int32 => positions::<Int32Type>(dictionary.keys(), from, to),
                DataType::Int64 => positions::<Int64Type>(dictionary.keys(), from, to),
                DataType::UInt8 => positions::<UInt8Type>(dictionary.keys(), from, to),
                DataType::UInt16 => positions::<UInt16Type>(dictionary.keys(), from, to),
                DataType::UInt32 => positions::<UInt32Type>(dictionary.keys(), from, to),
                _ => positions::<UInt64Type>(dictionary.keys(), from, to),
            };
            Values::Coded(codes.into(), keys)
        }
        other => return Err(unsupported(name, other)),
    };
    match array.nulls() {
        None => Ok(Column::new(values)),
        Some(nulls) => {
            Column::with_validity(values, Validity::Bits(nulls.validity(), nulls.offset() + from)).map_err(error::core)
        }
    }
}

fn signed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, from: usize, to: usize) -> Values<'static> {
    let values = &array.as_primitive::<T>().values()[from..to];
    Values::Signed(values.iter().map(|v| (*v).into()).collect::<Vec<_>>().into())
}

fn unsigned<T: ArrowPrimitiveType<Native: Into<u64>>>(array: &dyn Array, from: usize, to: usize) -> Values<'static> {
    let values = &array.as_primitive::<T>().values()[from..to];
    Values::Unsigned(values.iter().map(|v| (*v).into()).collect::<Vec<_>>().into())
}

fn float<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &dyn Array, from: usize, to: usize) -> Values<'static> {
    let values = &array.as_primitive::<T>().values()[from..to];
    Values::Float(values.iter().map(|v| (*v).into()).collect::<Vec<_>>().into())
}

fn decimal<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &dyn Array, from: usize, to: usize) -> Values<'static> {
    let scale = match array.data_type() {
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => scale.unsigned_abs(),
        _ => 0,
    };
    let values = &array.as_primitive::<T>().values()[from..to];
    Values::Decimal(values.iter().map(|v| (*v).into()).collect::<Vec<_>>().into(), scale)
}

/// Positions in a dictionary; one that is out of range is missing.
fn positions<T: ArrowPrimitiveType<Native: TryInto<u32>>>(keys: &dyn Array, from: usize, to: usize) -> Vec<u32> {
    let keys = &keys.as_primitive::<T>().values()[from..to];
    keys.iter().map(|key| (*key).try_into().unwrap_or(u32::MAX)).collect()
}

/// The values of a dictionary.
fn categories(values: &dyn Array) -> Option<Vec<Option<Key>>> {
    // Keys round decimals, and people may be told apart by them.
    let column = convert(values, "", 0, values.len()).ok().filter(|_| !values.data_type().is_decimal())?;
    Some((0..values.len()).map(|row| column.key(row)).collect())
}

/// The fields of a text file, by what they are for: a person is its text, or the whole number that prints as this text (so
/// that 7 is the same person in every kind of file, and "07" another); a number is what reads as one, and anything else
/// is missing; a key is its text, or a number where the public keys are numbers. An empty field is missing, and so is one
/// that is not UTF-8.
fn field(array: &dyn Array, role: Role, from: usize, to: usize) -> Column<'_> {
    let array = array.as_binary::<i32>();
    let text = |row: usize| {
        let bytes = if array.is_null(row) { &[] } else { array.value(row) };
        std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
    };
    match role {
        Role::Number => {
            let number = |row| text(row).and_then(|t| t.trim().parse().ok()).unwrap_or(f64::NAN);
            Column::new(Values::Float((from..to).map(number).collect::<Vec<_>>().into()))
        }
        Role::Person | Role::Key { .. } => {
            let (mut codes, mut keys, mut known) = (Vec::with_capacity(to - from), vec![], HashMap::new());
            for row in from..to {
                codes.push(*known.entry(text(row)).or_insert_with_key(|text| {
                    keys.push(text.and_then(|text| key(text, role)));
                    keys.len() as u32 - 1
                }));
            }
            Column::new(Values::Coded(codes.into(), keys)).of_type(Holds::Anything, "text file")
        }
    }
}

fn key(text: &str, role: Role) -> Option<Key> {
    let as_text = || Some(Key::Text(text.to_owned()));
    match role {
        Role::Key { numbers: true } => {
            let text = text.trim();
            text.parse().map(Key::Int).ok().or_else(|| text.parse().ok().and_then(Key::from_f64))
        }
        Role::Person => match text.parse::<i128>() {
            Ok(whole) if whole.to_string() == text => Some(Key::Int(whole)),
            _ => as_text(),
        },
        _ => as_text(),
    }
}
