//! What can be wrong with a data set: every text says what, where, and how to mend it.

use std::path::PathBuf;

/// Errors of finding, fetching and reading data sets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A name nobody registered.
    #[error(
        "there is no data set `{name}`: known names are {known}; a directory of IDX files or a .csv file does as well"
    )]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// Registered names, comma-separated.
        known: String,
    },
    /// The embedded data set, in a program without it.
    #[error(
        "{name} was left out of this program: name a directory of IDX files or a CSV file, or build it with --features {name}"
    )]
    LeftOut {
        /// The data set.
        name: &'static str,
    },
    /// A registered data set that is not on this machine.
    #[error("{name} is not on this machine (looked in {looked}): run `nibble-sim data fetch {name}`{or}")]
    NotHere {
        /// The data set.
        name: String,
        /// Directories searched, comma-separated.
        looked: String,
        /// Another mend, as the rest of the sentence.
        or: &'static str,
    },
    /// A data set that cannot be downloaded.
    #[error("`{name}` cannot be fetched: fetchable data sets are {known}")]
    NotFetchable {
        /// The name asked for.
        name: String,
        /// Fetchable names, comma-separated.
        known: String,
    },
    /// An option this kind of data set has no use for.
    #[error("`{option}` is for CSV files, but `{dataset}` is not one: remove the option")]
    OnlyCsv {
        /// The option.
        option: &'static str,
        /// The data set it was given with.
        dataset: String,
    },
    /// Options that exclude one another.
    #[error("both `test` and `test_fraction` are given: keep `test` for a test file of its own, or the fraction")]
    TwoTestParts,
    /// A test fraction outside (0, 1), or one that leaves a part empty.
    #[error(
        "`test_fraction` = {found} of {samples} samples does not leave both parts a sample: take a value between 0 and 1"
    )]
    Fraction {
        /// The fraction.
        found: f64,
        /// Samples to split.
        samples: usize,
    },
    /// A file system error.
    #[error(
        "cannot {action} {path}: {source}{}", if source.kind() == std::io::ErrorKind::NotFound { ": check the path" } else { "" },
        path = path.display()
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A directory without one of the files of an IDX data set.
    #[error("{directory} has none of {names}: an IDX data set needs one of them", directory = directory.display())]
    MissingFile {
        /// The directory.
        directory: PathBuf,
        /// Accepted names, comma-separated.
        names: String,
    },
    /// A file that is not what IDX says.
    #[error("{file} is not usable as IDX {part}: {problem}")]
    Idx {
        /// The file.
        file: String,
        /// `images` or `labels`.
        part: &'static str,
        /// What is wrong with it.
        problem: IdxProblem,
    },
    /// Images and labels that do not belong together.
    #[error("{images_file} has {images} images, but {labels_file} has {labels} labels: they are not of one data set")]
    Counts {
        /// File of the images.
        images_file: String,
        /// Images in it.
        images: usize,
        /// File of the labels.
        labels_file: String,
        /// Labels in it.
        labels: usize,
    },
    /// A CSV file whose columns are not as needed.
    #[error("{file}: {problem}")]
    CsvHeader {
        /// The file.
        file: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A cell that does not hold what its column needs.
    #[error("{file}, line {line}, column `{column}`: `{found}` is not {expected}")]
    CsvCell {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What the cell holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A file the CSV reader gave up on: a row of another length, broken UTF-8, an I/O error.
    #[error("{file} is not readable as CSV: {source}")]
    Csv {
        /// The file.
        file: String,
        /// Why, with the line.
        source: csv::Error,
    },
    /// Labels that make fewer than 2 or more than 256 classes.
    #[error("{file}, column `{column}` has {found} different labels, not 2 to 256: is it the label column?")]
    Classes {
        /// The file.
        file: String,
        /// The label column.
        column: String,
        /// Different labels, counted up to the first too many.
        found: usize,
    },
    /// A download that failed for good.
    #[error("cannot fetch {url}, attempt {attempts}: {problem}")]
    Download {
        /// The address.
        url: String,
        /// Attempts made.
        attempts: u32,
        /// The last attempt's error.
        problem: String,
    },
    /// A download that is not the file we know. Nothing of it is kept.
    #[error("{url} has SHA-256 {found}, expected {expected}: the server sent another file; nothing was kept")]
    Checksum {
        /// The address.
        url: String,
        /// The published checksum, in hex.
        expected: String,
        /// The checksum of what came.
        found: String,
    },
    /// No place for downloads.
    #[error("there is no cache directory: set NIBBLE_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
}

/// What is wrong with the bytes of an IDX file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    /// Another kind of file.
    #[error("its magic number is {found:#010x}, not {expected:#010x}")]
    Magic {
        /// The number of this part.
        expected: u32,
        /// The first four bytes.
        found: u32,
    },
    /// A header that promises nothing, or more than is accepted.
    #[error("its header says {count} samples of {height} x {width}; 1 to {limit} bytes of samples are read")]
    Dimensions {
        /// Samples.
        count: u32,
        /// Rows of a sample.
        height: u32,
        /// Columns of a sample.
        width: u32,
        /// Most bytes read.
        limit: u64,
    },
    /// Fewer bytes than the header promises.
    #[error("it ends after {found} of {expected} bytes: it was cut off; get it again")]
    Truncated {
        /// Bytes by the header, itself included.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// More bytes than the header promises.
    #[error("bytes follow the {expected} that its header announces")]
    Trailing {
        /// Bytes by the header, itself included.
        expected: u64,
    },
    /// A label past the last class.
    #[error("label {found} of sample {index} is not below {classes}, the number of classes in training")]
    Label {
        /// Index of the sample.
        index: usize,
        /// Its label.
        found: u8,
        /// Number of classes.
        classes: usize,
    },
    /// Images of another size than the training images.
    #[error("its images are {found:?} (height, width), those of the training part {expected:?}")]
    Shape {
        /// Height and width in training.
        expected: (usize, usize),
        /// Height and width here.
        found: (usize, usize),
    },
    /// An I/O error, or gzip that does not decompress.
    #[error("it cannot be read or decompressed ({0}); get it again")]
    Unreadable(String),
}
