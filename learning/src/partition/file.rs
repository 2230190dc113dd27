//! Partitions that a file states.
//!
//! - `file`: a CSV file whose header is `client,sample`; a row gives one training sample (its index from 0, in the order
//!   of the data) to one client (from 0). Rows come in any order, which is the order of a client's samples; samples that
//!   no row names are not used.
//! - `counts`: a CSV file without header, a row for each client and a column for each class. Class c's samples, shuffled
//!   by its stream, are cut consecutively over the clients by column c; a client's samples are its class slices, class 0
//!   first. With it the proportions of any partition, of whatever program, can be repeated.

use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use nibble_seed::Seed;

use super::{PartitionError, deal};

/// Reads a `client,sample` file.
pub(super) fn rows(path: &Path, samples: usize, clients: usize) -> Result<Vec<Vec<u32>>, PartitionError> {
    let mut shares = vec![Vec::new(); clients];
    let mut owner: Vec<Option<u32>> = vec![None; samples];
    let mut records = records(path)?;
    let header = records.next().transpose()?.unwrap_or_default();
    if !header.iter().eq(["client", "sample"]) {
        return Err(columns(path, &header, "the header `client,sample`".to_owned()));
    }
    for row in records {
        let row = row?;
        if row.len() != 2 {
            return Err(columns(path, &row, "a client and a sample".to_owned()));
        }
        let client = cell(path, &row, 0, &format!("a client, 0 to {}", clients - 1), clients)?;
        let sample = cell(path, &row, 1, &format!("a sample, 0 to {}", samples - 1), samples)?;
        if let Some(client) = owner[sample as usize].replace(client) {
            return Err(PartitionError::Twice { path: path.to_owned(), line: line(&row), sample, client });
        }
        shares[client as usize].push(sample);
    }
    no_empty_client(path, shares)
}

/// Reads a file of counts and deals by it.
pub(super) fn counts(
    path: &Path,
    labels: &[u8],
    classes: usize,
    clients: usize,
    seed: Seed,
) -> Result<Vec<Vec<u32>>, PartitionError> {
    let mut table: Vec<Vec<u32>> = Vec::new();
    for row in records(path)? {
        let row = row?;
        if row.len() != classes {
            return Err(columns(path, &row, format!("{classes} counts, one for each class")));
        }
        let limit = labels.len() + 1;
        let counts = (0..classes).map(|class| cell(path, &row, class, "a number of samples there are", limit));
        table.push(counts.collect::<Result<_, _>>()?);
    }
    if table.len() != clients {
        let kind = format!("counts, {}", path.display());
        return Err(PartitionError::Population { kind, clients, found: table.len() });
    }
    let mut shares = vec![Vec::new(); clients];
    for (class, members) in deal::by_class(labels, classes, seed).into_iter().enumerate() {
        let wanted: u64 = table.iter().map(|counts| u64::from(counts[class])).sum();
        if wanted > members.len() as u64 {
            let samples = members.len();
            return Err(PartitionError::Overdrawn { path: path.to_owned(), class, wanted, samples });
        }
        let mut rest = members.into_iter();
        for (share, counts) in shares.iter_mut().zip(&table) {
            share.extend(rest.by_ref().take(counts[class] as usize));
        }
    }
    no_empty_client(path, shares)
}

/// The rows of a file as text.
fn records(path: &Path) -> Result<impl Iterator<Item = Result<StringRecord, PartitionError>>, PartitionError> {
    let unreadable = |source| PartitionError::Unreadable { path: path.to_owned(), source };
    let reader = ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_path(path);
    Ok(reader.map_err(unreadable)?.into_records().map(move |row| row.map_err(unreadable)))
}

/// A cell as a number below `limit`.
fn cell(path: &Path, row: &StringRecord, column: usize, expected: &str, limit: usize) -> Result<u32, PartitionError> {
    let value = row[column].parse::<u32>().ok().filter(|&value| (value as usize) < limit);
    value.ok_or_else(|| PartitionError::Cell {
        path: path.to_owned(),
        line: line(row),
        found: row[column].to_owned(),
        expected: expected.to_owned(),
    })
}

fn columns(path: &Path, row: &StringRecord, expected: String) -> PartitionError {
    let found = row.iter().collect::<Vec<_>>().join(",");
    PartitionError::Columns { path: path.to_owned(), line: line(row), found, expected }
}

fn line(row: &StringRecord) -> u64 {
    row.position().map_or(1, csv::Position::line)
}

fn no_empty_client(path: &Path, shares: Vec<Vec<u32>>) -> Result<Vec<Vec<u32>>, PartitionError> {
    match shares.iter().position(Vec::is_empty) {
        Some(client) => Err(PartitionError::EmptyClient { path: path.to_owned(), client }),
        None => Ok(shares),
    }
}

#[cfg(test)]
mod tests;
