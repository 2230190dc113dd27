use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

fn idx(magic: u32, dimensions: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    dimensions.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend(body);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let body: Vec<u8> = (0..count * height * width).map(|i| i as u8).collect();
    idx(IMAGES, &[count, height, width], &body)
}

fn labels(labels: &[u8]) -> Vec<u8> {
    idx(LABELS, &[labels.len() as u32], labels)
}

fn source(name: &str, bytes: Vec<u8>) -> Source<'static> {
    Source { name: name.to_owned(), bytes: Box::new(Cursor::new(bytes)) }
}

fn load(images: Vec<u8>, labels: Vec<u8>) -> Result<Dataset, DataError> {
    let test = [source("test-images", self::images(1, 2, 2)), source("test-labels", self::labels(&[0]))];
    dataset("x", [source("images", images), source("labels", labels)], test)
}

fn problem(images: Vec<u8>, labels: Vec<u8>) -> IdxProblem {
    match load(images, labels) {
        Err(DataError::Idx { problem, .. }) => problem,
        other => panic!("{other:?} is not an IDX error"),
    }
}

#[test]
fn plain_and_gzip_read_the_same() {
    for pack in [|bytes: Vec<u8>| bytes, |bytes: Vec<u8>| gzip(&bytes)] {
        let data = load(pack(images(3, 2, 2)), pack(labels(&[2, 0, 1]))).unwrap();
        assert_eq!((data.classes, data.shape), (3, (1, 2, 2)));
        assert_eq!(data.train.labels, [2, 0, 1]);
        let Features::Bytes(rows) = &data.train.features else { panic!("images are bytes") };
        assert_eq!(rows.row(1).to_vec(), [4, 5, 6, 7]);
    }
}

#[test]
fn each_broken_file_is_told_apart() {
    let good = labels(&[0, 1, 1]);
    let wrong_kind = problem(labels(&[1, 2, 3]), good.clone());
    assert_eq!(wrong_kind, IdxProblem::Magic { expected: IMAGES, found: LABELS });
    assert_eq!(wrong_kind.to_string(), "its magic number is 0x00000801, not 0x00000803");

    let mut cut = images(3, 2, 2);
    cut.pop();
    assert_eq!(problem(cut, good.clone()), IdxProblem::Truncated { expected: 28, found: 27 });
    assert_eq!(problem(images(3, 2, 2)[..9].to_vec(), good.clone()), IdxProblem::Truncated { expected: 16, found: 9 });
    assert_eq!(problem(Vec::new(), good.clone()), IdxProblem::Truncated { expected: 16, found: 0 });

    let mut long = images(3, 2, 2);
    long.push(0);
    assert_eq!(problem(long.clone(), good.clone()), IdxProblem::Trailing { expected: 28 });
    assert_eq!(problem(gzip(&long), good.clone()), IdxProblem::Trailing { expected: 28 });

    for dimensions in [[0, 2, 2], [u32::MAX; 3], [1 << 30, 1, 2]] {
        let found = problem(idx(IMAGES, &dimensions, &[0; 64]), good.clone());
        assert!(matches!(found, IdxProblem::Dimensions { .. }), "{dimensions:?}: {found}");
    }
}

#[test]
fn gzip_that_is_cut_or_altered_is_refused() {
    let packed = gzip(&images(3, 2, 2));
    for cut in 3..packed.len() {
        let found = problem(packed[..cut].to_vec(), labels(&[0, 1, 1]));
        assert!(matches!(found, IdxProblem::Truncated { .. } | IdxProblem::Unreadable(_)), "{cut}: {found}");
    }
    let mut altered = packed.clone();
    let checksum = packed.len() - 8;
    altered[checksum] ^= 1;
    assert!(matches!(problem(altered, labels(&[0, 1, 1])), IdxProblem::Unreadable(_)));
}

#[test]
fn parts_must_fit_together() {
    let error = load(images(3, 2, 2), labels(&[0, 1])).unwrap_err();
    assert!(matches!(error, DataError::Counts { images: 3, labels: 2, .. }), "{error}");
    let found = problem(images(1, 3, 2), labels(&[0]));
    assert_eq!(found, IdxProblem::Shape { expected: (3, 2), found: (2, 2) });
    let train = [source("a", images(1, 2, 2)), source("b", labels(&[1]))];
    let test = [source("c", images(2, 2, 2)), source("d", labels(&[1, 2]))];
    let error = dataset("x", train, test).unwrap_err();
    let problem = IdxProblem::Label { index: 1, found: 2, classes: 2 };
    assert!(matches!(&error, DataError::Idx { file, problem: p, .. } if file == "d" && *p == problem), "{error}");
}

#[test]
fn a_directory_is_read_by_mnists_names() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(directory.path().join(name), bytes).unwrap();
    write("train-images-idx3-ubyte", images(2, 2, 2));
    write("train-labels-idx1-ubyte.gz", gzip(&labels(&[1, 0])));
    write("test-images-idx3-ubyte.gz", images(1, 2, 2)); // the name does not decide, the content does
    let error = super::directory("x", directory.path()).unwrap_err();
    assert!(error.to_string().contains("t10k-labels-idx1-ubyte.gz, test-labels-idx1-ubyte"), "{error}");
    write("t10k-labels-idx1-ubyte", labels(&[1]));
    let data = super::directory("x", directory.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.classes), (2, 1, 2));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(bytes.clone(), labels(&[0]));
        let _ = load(gzip(&bytes), labels(&[0]));
        let _ = load(idx(IMAGES, &[1, 2, 2], &bytes), bytes);
    }
}
