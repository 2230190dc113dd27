//! Samples in memory: features with labels, and the split into a training and a test part.

use ndarray::Array2;

/// A classification data set in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// How it was asked for: a registered name or a path.
    pub name: String,
    /// Number of classes; labels are `0..classes`.
    pub classes: usize,
    /// Shape of one sample as (channels, height, width); tabular data is (1, 1, columns).
    pub shape: (usize, usize, usize),
    /// Samples that clients train on.
    pub train: Samples,
    /// Samples the global model is evaluated on.
    pub test: Samples,
}

/// Features with their labels, one sample a row.
#[derive(Clone, Debug)]
pub struct Samples {
    /// One row a sample.
    pub features: Features,
    /// The class of each sample.
    pub labels: Vec<u8>,
    /// Who each sample belongs to, where the data says so: the basis of the natural partition.
    pub owners: Option<Vec<u32>>,
}

/// Rows of features. Images stay bytes in memory, a quarter of the floats they become.
#[derive(Clone, Debug)]
pub enum Features {
    /// Grey levels; a row is read as value / 255.
    Bytes(Array2<u8>),
    /// Numbers as they are.
    Floats(Array2<f32>),
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

impl Features {
    /// Number of features of a sample.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Self::Bytes(rows) => rows.ncols(),
            Self::Floats(rows) => rows.ncols(),
        }
    }

    /// Writes row `index` to `out`, which has the width of a sample.
    pub fn read(&self, index: usize, out: &mut [f32]) {
        match self {
            Self::Bytes(rows) => {
                for (out, &byte) in out.iter_mut().zip(rows.row(index)) {
                    *out = f32::from(byte) / 255.0;
                }
            }
            Self::Floats(rows) => {
                for (out, &value) in out.iter_mut().zip(rows.row(index)) {
                    *out = value;
                }
            }
        }
    }
}
