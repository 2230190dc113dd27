//! A Parquet table of all rounds: the keys and the measured columns.

use std::sync::Arc;

use parquet::{
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{COLUMNS, Row};

/// The file.
pub(super) fn table(rows: &[Row]) -> Result<Vec<u8>, ParquetError> {
    let measured: String = COLUMNS.iter().map(|(name, _)| format!("required double {name};\n")).collect();
    let schema = format!(
        "message rounds {{ required binary scheme (UTF8); required binary variant (UTF8); required int64 seed;\n{measured}\
         required binary closed_by (UTF8); }}"
    );
    let mut file = Vec::new();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(&mut file, Arc::new(parse_message_type(&schema)?), properties)?;
    let mut group = writer.next_row_group()?;
    let texts: [fn(&Row) -> &str; 2] = [|row| &row.scheme, |row| &row.variant];
    let text = |of: fn(&Row) -> &str| rows.iter().map(|row| ByteArray::from(of(row))).collect::<Vec<_>>();
    let mut next = 0usize;
    while let Some(mut column) = group.next_column()? {
        match (next, next.checked_sub(3).and_then(|at| COLUMNS.get(at))) {
            (0 | 1, _) => column.typed::<ByteArrayType>().write_batch(&text(texts[next]), None, None)?,
            (2, _) => {
                let seeds: Vec<i64> = rows.iter().map(|row| row.seed.cast_signed()).collect();
                column.typed::<Int64Type>().write_batch(&seeds, None, None)?
            }
            (_, Some((_, of))) => {
                let values: Vec<f64> = rows.iter().map(|row| of(&row.round)).collect();
                column.typed::<DoubleType>().write_batch(&values, None, None)?
            }
            (_, None) => column.typed::<ByteArrayType>().write_batch(&text(|row| &row.round.closed_by), None, None)?,
        };
        column.close()?;
        next += 1;
    }
    group.close()?;
    writer.close()?;
    Ok(file)
}
