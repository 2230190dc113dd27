//! IDX, the format of MNIST: a big-endian header and bytes, plain or gzip, told apart by content.
//!
//! Images: magic 0x0803, count, height, width (u32 each), then count·height·width grey levels, row by row.
//! Labels: magic 0x0801, count, then count labels. (LeCun, Cortes, Burges: "The MNIST database".)
//! Absent on purpose: other element types and ranks, which no registered data set uses.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use ndarray::Array2;

use super::{DataError, Dataset, Features, IdxProblem, Samples};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
/// Most sample bytes of one file: above EMNIST's 640 MB, below what a header could make us allocate.
const LIMIT: u64 = 1 << 30;

/// Bytes to read with the name that errors give them.
pub(super) struct Source<'a> {
    /// File name, or what stands for it.
    pub(super) name: String,
    /// The bytes, plain or gzip.
    pub(super) bytes: Box<dyn BufRead + 'a>,
}

/// Images of one part.
struct Images {
    /// One image a row.
    rows: Array2<u8>,
    /// Height and width.
    size: (usize, usize),
}

/// Reads a whole data set: images and labels of the training part, then of the test part.
pub(super) fn dataset(name: &str, train: [Source<'_>; 2], test: [Source<'_>; 2]) -> Result<Dataset, DataError> {
    let (train, size) = part(train, None)?;
    let classes = usize::from(train.labels.iter().copied().max().unwrap_or(0)) + 1;
    let (test, _) = part(test, Some((size, classes)))?;
    Ok(Dataset { name: name.to_owned(), classes, shape: (1, size.0, size.1), train, test })
}

/// The files of a directory: stems, of which one must be there, and the rest of the name, `.gz` or not.
const FILES: [(&[&str], &str); 4] = [
    (&["train"], "images-idx3-ubyte"),
    (&["train"], "labels-idx1-ubyte"),
    (&["t10k", "test"], "images-idx3-ubyte"),
    (&["t10k", "test"], "labels-idx1-ubyte"),
];

/// Reads a data set from the four files of a directory, named as MNIST's.
pub(super) fn directory(name: &str, directory: &Path) -> Result<Dataset, DataError> {
    let open = |i: usize| file(find(directory, FILES[i])?);
    dataset(name, [open(0)?, open(1)?], [open(2)?, open(3)?])
}

/// Whether a directory has all four files.
pub(super) fn is_complete(directory: &Path) -> bool {
    FILES.into_iter().all(|file| find(directory, file).is_ok())
}

fn find(directory: &Path, (stems, rest): (&[&str], &str)) -> Result<PathBuf, DataError> {
    let names: Vec<String> =
        stems.iter().flat_map(|stem| ["", ".gz"].map(|end| format!("{stem}-{rest}{end}"))).collect();
    let path = names.iter().map(|name| directory.join(name)).find(|path| path.is_file());
    path.ok_or_else(|| DataError::MissingFile { directory: directory.to_owned(), names: names.join(", ") })
}

fn file(path: PathBuf) -> Result<Source<'static>, DataError> {
    let name = path.display().to_string();
    let file = File::open(&path).map_err(|source| DataError::Io { action: "open", path, source })?;
    Ok(Source { name, bytes: Box::new(BufReader::new(file)) })
}

/// One part; a test part must have the image size and the classes of the training part.
fn part(
    [images, labels]: [Source<'_>; 2],
    expected: Option<((usize, usize), usize)>,
) -> Result<(Samples, (usize, usize)), DataError> {
    let (images_file, labels_file) = (images.name.clone(), labels.name.clone());
    let images = read_images(images)?;
    let labels = read_labels(labels)?;
    if images.rows.nrows() != labels.len() {
        let (images, labels) = (images.rows.nrows(), labels.len());
        return Err(DataError::Counts { images_file, images, labels_file, labels });
    }
    if let Some((size, classes)) = expected {
        if images.size != size {
            let problem = IdxProblem::Shape { expected: size, found: images.size };
            return Err(DataError::Idx { file: images_file, part: "images", problem });
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= classes) {
            let problem = IdxProblem::Label { index, found: labels[index], classes };
            return Err(DataError::Idx { file: labels_file, part: "labels", problem });
        }
    }
    Ok((Samples { features: Features::Bytes(images.rows), labels, owners: None }, images.size))
}

fn read_images(source: Source<'_>) -> Result<Images, DataError> {
    let fail = |file, problem| DataError::Idx { file, part: "images", problem };
    let ([count, height, width], bytes) =
        body(source.bytes, IMAGES).map_err(|problem| fail(source.name.clone(), problem))?;
    let (count, height, width) = (count as usize, height as usize, width as usize);
    let rows = Array2::from_shape_vec((count, height * width), bytes).expect("body() returns count·height·width bytes");
    Ok(Images { rows, size: (height, width) })
}

fn read_labels(source: Source<'_>) -> Result<Vec<u8>, DataError> {
    let ([_], bytes) = body(source.bytes, LABELS).map_err(|problem| DataError::Idx {
        file: source.name.clone(),
        part: "labels",
        problem,
    })?;
    Ok(bytes)
}

/// Checks the header of `D` dimensions and reads exactly the bytes it announces, never more than [`LIMIT`].
fn body<const D: usize>(mut raw: Box<dyn BufRead + '_>, magic: u32) -> Result<([u32; D], Vec<u8>), IdxProblem> {
    let gzip = raw.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]);
    let mut plain: Box<dyn Read + '_> = if gzip { Box::new(MultiGzDecoder::new(raw)) } else { raw };

    let header_bytes = 4 + 4 * D as u64;
    let header = read_up_to(&mut plain, header_bytes)?;
    let words: Vec<u32> = header.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    match words.first() {
        Some(&found) if found != magic => return Err(IdxProblem::Magic { expected: magic, found }),
        _ => {}
    }
    let dimensions: [u32; D] = words
        .get(1..)
        .and_then(|words| words.try_into().ok())
        .ok_or(IdxProblem::Truncated { expected: header_bytes, found: header.len() as u64 })?;

    let total = dimensions.iter().try_fold(1u64, |total, &n| total.checked_mul(u64::from(n)));
    let Some(total) = total.filter(|total| (1..=LIMIT).contains(total)) else {
        let at = |i: usize| dimensions.get(i).copied().unwrap_or(1);
        return Err(IdxProblem::Dimensions { count: at(0), height: at(1), width: at(2), limit: LIMIT });
    };
    let bytes = read_up_to(&mut plain, total)?;
    let (expected, found) = (header_bytes + total, header_bytes + bytes.len() as u64);
    if found < expected {
        return Err(IdxProblem::Truncated { expected, found });
    }
    // Reading on to the end also makes the decoder check gzip's own checksum.
    match plain.take(1).read_to_end(&mut Vec::new()) {
        Ok(0) => Ok((dimensions, bytes)),
        Ok(_) => Err(IdxProblem::Trailing { expected }),
        Err(error) => Err(broken(error)),
    }
}

/// The next `limit` bytes or all there are; memory grows with what arrives, not with what was announced.
fn read_up_to(read: &mut dyn Read, limit: u64) -> Result<Vec<u8>, IdxProblem> {
    let mut bytes = Vec::new();
    match read.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(bytes), // gzip cut off: reported as truncated
        Err(error) => Err(broken(error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an error mapper")]
fn broken(error: std::io::Error) -> IdxProblem {
    IdxProblem::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests;
