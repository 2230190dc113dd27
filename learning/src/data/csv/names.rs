//! Columns of names (labels, owners): distinct cells, sorted by value if all are numbers, by text otherwise.

use std::{cmp::Ordering, collections::HashMap};

/// A column as read: its distinct cells in order of appearance, and which of them each row holds.
#[derive(Default)]
pub(super) struct Column {
    cells: Vec<String>,
    ids: HashMap<String, u32>,
    rows: Vec<u32>,
}

/// The distinct names of a column in sorted order; a name's number is its place.
pub(super) enum Names {
    /// All cells are finite numbers: `1` and `1.0` are one name.
    Numbers(Vec<f64>),
    /// Some are not.
    Texts(Vec<String>),
}

impl Column {
    pub(super) fn push(&mut self, cell: &str) {
        let id = self.ids.get(cell).copied().unwrap_or_else(|| {
            let id = self.cells.len() as u32;
            self.cells.push(cell.to_owned());
            self.ids.insert(cell.to_owned(), id);
            id
        });
        self.rows.push(id);
    }

    /// Different cells so far.
    pub(super) fn distinct(&self) -> usize {
        self.cells.len()
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn names(&self) -> Names {
        if let Some(mut numbers) = self.cells.iter().map(|cell| number(cell)).collect::<Option<Vec<f64>>>() {
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            return Names::Numbers(numbers);
        }
        let mut texts = self.cells.clone();
        texts.sort_unstable();
        Names::Texts(texts)
    }

    /// Each row's number among `names`, or the first cell that is none of them.
    pub(super) fn numbered(&self, names: &Names) -> Result<Vec<u32>, &str> {
        let places = self.cells.iter().map(|cell| names.place(cell).ok_or(cell.as_str()));
        let places = places.collect::<Result<Vec<u32>, &str>>()?;
        Ok(self.rows.iter().map(|&id| places[id as usize]).collect())
    }
}

impl Names {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    fn place(&self, cell: &str) -> Option<u32> {
        let place = match self {
            Self::Numbers(numbers) => {
                let value = number(cell)?;
                numbers.binary_search_by(|other| other.partial_cmp(&value).unwrap_or(Ordering::Less)).ok()
            }
            Self::Texts(texts) => texts.binary_search_by(|other| other.as_str().cmp(cell)).ok(),
        };
        place.map(|place| place as u32)
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}
