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

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::RowAccessor as _,
    };

    use super::*;
    use crate::results::RoundRow;

    #[test]
    fn a_reader_finds_what_was_written() {
        let row = |seed: u64, accuracy: f64| Row {
            scheme: "int4+ef".into(),
            variant: "lr=0.1".into(),
            seed,
            round: RoundRow { accuracy, uplink_bytes: 7 * seed, closed_by: "quorum".into(), ..RoundRow::default() },
        };
        let rows = [row(1, 0.25), row(u64::from(u32::MAX) + 9, 0.5)];
        let reader = SerializedFileReader::new(bytes::Bytes::from(table(&rows).unwrap())).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let place = |name: &str| schema.columns().iter().position(|column| column.name() == name).unwrap();
        let found: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(found.len(), rows.len());
        for (found, row) in found.iter().zip(&rows) {
            assert_eq!(found.get_string(place("scheme")).unwrap(), "int4+ef");
            assert_eq!(found.get_string(place("variant")).unwrap(), "lr=0.1");
            assert_eq!(found.get_string(place("closed_by")).unwrap(), "quorum");
            assert_eq!(found.get_long(place("seed")).unwrap(), row.seed.cast_signed());
            assert_eq!(found.get_double(place("accuracy")).unwrap(), row.round.accuracy);
            assert_eq!(found.get_double(place("uplink_bytes")).unwrap(), row.round.uplink_bytes as f64);
        }
    }
}
