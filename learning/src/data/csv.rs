//! CSV with a header: one column is the label, one may name the owner, all others are numeric features.
//!
//! Labels become `0..classes` and owners `0..` in sorted order: by value if all are numbers (then `1` and `1.0` are one),
//! by text otherwise. Without a test file, a fraction of the rows drawn by `seed.derive(TestSplit, 0, 0)` is the test part.
//! Absent on purpose: missing values, categories and standardisation: prepare the columns before.

mod names;

use std::{fs::File, path::Path};

use ndarray::{Array2, Axis};
use nibble_seed::{Purpose, Seed};

use self::names::{Column, Names};
use super::{DataError, Dataset, Features, Samples};

/// Labels are bytes.
const MAX_CLASSES: usize = 256;

/// Which columns are not features.
#[derive(Clone, Copy)]
pub(super) struct Roles<'a> {
    /// Name of the label column.
    pub(super) label: &'a str,
    /// Name of the column that says who a sample belongs to.
    pub(super) owner: Option<&'a str>,
}

/// Where the test part comes from.
pub(super) enum TestPart<'a> {
    /// A file with the same columns.
    File(&'a Path),
    /// This fraction of the rows, drawn by the seed.
    Fraction(f64, Seed),
}

/// A file as read.
struct Table {
    file: String,
    /// Names of the features.
    columns: Vec<String>,
    rows: Array2<f32>,
    labels: Column,
    owners: Option<Column>,
}

/// Reads a data set; `name` is how it was asked for.
pub(super) fn dataset(name: &str, path: &Path, roles: Roles<'_>, test: &TestPart<'_>) -> Result<Dataset, DataError> {
    let table = read(path, roles)?;
    let classes = table.labels.names();
    if classes.len() < 2 {
        return Err(DataError::Classes { file: table.file, column: roles.label.to_owned(), found: classes.len() });
    }
    let columns = table.columns.clone();
    let all = samples(table, roles, &classes)?;
    let (train, test) = match test {
        TestPart::Fraction(fraction, seed) => split(&all, *fraction, *seed)?,
        TestPart::File(path) => {
            // The test part's owners are nobody's clients, so its file need not name them.
            let owner = roles.owner.filter(|owner| has_column(path, owner));
            let test = read(path, Roles { owner, ..roles })?;
            if test.columns != columns {
                let (file, found) = (test.file, test.columns);
                let problem =
                    format!("its features are {found:?}, those of the training file {columns:?}: make them equal");
                return Err(DataError::CsvHeader { file, problem });
            }
            (all, Samples { owners: None, ..samples(test, roles, &classes)? })
        }
    };
    let shape = (1, 1, train.features.width());
    Ok(Dataset { name: name.to_owned(), classes: classes.len(), shape, train, test })
}

fn has_column(path: &Path, name: &str) -> bool {
    let header = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path);
    header.is_ok_and(|mut reader| reader.headers().is_ok_and(|header| header.iter().any(|column| column == name)))
}

fn samples(table: Table, roles: Roles<'_>, classes: &Names) -> Result<Samples, DataError> {
    let labels = table.labels.numbered(classes).map_err(|label| DataError::CsvHeader {
        file: table.file.clone(),
        problem: format!("label `{label}` of column `{}` does not occur in the training file", roles.label),
    })?;
    Ok(Samples {
        features: Features::Floats(table.rows),
        labels: labels.into_iter().map(|label| label as u8).collect(),
        owners: table.owners.and_then(|owners| owners.numbered(&owners.names()).ok()),
    })
}

/// Opens a file and reads all of it.
fn read(path: &Path, roles: Roles<'_>) -> Result<Table, DataError> {
    let file = path.display().to_string();
    let raw = File::open(path).map_err(|source| DataError::Io { action: "open", path: path.to_owned(), source })?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(raw);
    let unreadable = |source| DataError::Csv { file: file.clone(), source };
    let header: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(str::to_owned).collect();
    let (label_at, owner_at, columns) =
        assign(&header, roles).map_err(|problem| DataError::CsvHeader { file: file.clone(), problem })?;

    let (mut values, mut labels, mut owners) = (Vec::new(), Column::default(), Column::default());
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        for (i, cell) in row.iter().enumerate() {
            let complain = |expected: &str| DataError::CsvCell {
                file: file.clone(),
                line: row.position().map_or(0, csv::Position::line),
                column: header[i].clone(),
                found: cell.to_owned(),
                expected: expected.to_owned(),
            };
            if i == label_at || Some(i) == owner_at {
                let column = if i == label_at { &mut labels } else { &mut owners };
                column.push(Some(cell).filter(|cell| !cell.is_empty()).ok_or_else(|| complain("a name"))?);
            } else {
                let value = cell.parse::<f32>().ok().filter(|value| value.is_finite());
                values.push(value.ok_or_else(|| complain("a finite number"))?);
            }
        }
        if labels.distinct() > MAX_CLASSES {
            return Err(DataError::Classes { file, column: roles.label.to_owned(), found: labels.distinct() });
        }
    }
    let rows = Array2::from_shape_vec((labels.len(), columns.len()), values)
        .expect("the reader refuses rows of another length, so each row gave one label and all features");
    Ok(Table { file, columns, rows, labels, owners: owner_at.map(|_| owners) })
}

/// Where label and owner are, and the names of the features; or what is wrong with the header.
fn assign(header: &[String], roles: Roles<'_>) -> Result<(usize, Option<usize>, Vec<String>), String> {
    if let Some((i, name)) = header.iter().enumerate().find(|(i, name)| header[..*i].contains(name)) {
        return Err(format!("column {} is a second `{name}`: rename one", i + 1));
    }
    let find = |name: &str, option: &str| {
        let place = header.iter().position(|column| column == name);
        place.ok_or_else(|| format!("it has no column `{name}`: set `{option}` to one of {header:?}"))
    };
    let label = find(roles.label, "label")?;
    let owner = roles.owner.map(|owner| find(owner, "owner")).transpose()?;
    if owner == Some(label) {
        return Err(format!("`label` and `owner` both name column `{}`: they must differ", roles.label));
    }
    let features = header.iter().enumerate().filter(|(i, _)| *i != label && Some(*i) != owner);
    let features: Vec<String> = features.map(|(_, name)| name.clone()).collect();
    if features.is_empty() {
        return Err("it has no feature columns beside the label and the owner".to_owned());
    }
    Ok((label, owner, features))
}

/// Draws the test part; both parts keep the order of the file.
fn split(all: &Samples, fraction: f64, seed: Seed) -> Result<(Samples, Samples), DataError> {
    let samples = all.len();
    let test = (samples as f64 * fraction).round() as usize;
    if !(fraction > 0.0 && fraction < 1.0) || test == 0 || test >= samples {
        return Err(DataError::Fraction { found: fraction, samples });
    }
    let order = seed.derive(Purpose::TestSplit, 0, 0).permutation(samples);
    let (test, train) = order.split_at(test);
    Ok((take(all, train), take(all, test)))
}

fn take(all: &Samples, indices: &[u32]) -> Samples {
    let mut indices: Vec<usize> = indices.iter().map(|&i| i as usize).collect();
    indices.sort_unstable();
    let features = match &all.features {
        Features::Bytes(rows) => Features::Bytes(rows.select(Axis(0), &indices)),
        Features::Floats(rows) => Features::Floats(rows.select(Axis(0), &indices)),
    };
    Samples {
        features,
        labels: indices.iter().map(|&i| all.labels[i]).collect(),
        owners: all.owners.as_ref().map(|owners| indices.iter().map(|&i| owners[i]).collect()),
    }
}

#[cfg(test)]
mod tests;
