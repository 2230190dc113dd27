//! `mnist-10k`: 10,000 digits that travel with the program. Source and licence are in `learning/data/mnist-10k/README.md`.

#[cfg(feature = "mnist-10k")]
use super::idx;
use super::{DataError, Dataset};

/// The registered name.
pub(super) const NAME: &str = "mnist-10k";

/// A file of the data set, named as in the tree.
#[cfg(feature = "mnist-10k")]
macro_rules! file {
    ($name:literal) => {
        idx::Source {
            name: concat!("mnist-10k/", $name).to_owned(),
            bytes: Box::new(&include_bytes!(concat!("../../data/mnist-10k/", $name))[..]),
        }
    };
}

/// 8,000 training and 2,000 test digits.
#[cfg(feature = "mnist-10k")]
pub(super) fn mnist_10k() -> Result<Dataset, DataError> {
    let train = [file!("train-images-idx3-ubyte.gz"), file!("train-labels-idx1-ubyte.gz")];
    let test = [file!("test-images-idx3-ubyte.gz"), file!("test-labels-idx1-ubyte.gz")];
    idx::dataset(NAME, train, test)
}

/// Nothing, in a program that was built without them.
#[cfg(not(feature = "mnist-10k"))]
pub(super) fn mnist_10k() -> Result<Dataset, DataError> {
    Err(DataError::LeftOut { name: NAME })
}

#[cfg(all(test, feature = "mnist-10k"))]
mod tests {
    #[test]
    fn the_embedded_digits_are_all_there() {
        let data = super::mnist_10k().unwrap();
        assert_eq!((data.classes, data.shape), (10, (1, 28, 28)));
        assert_eq!((data.train.len(), data.test.len()), (8_000, 2_000));
        assert_eq!(data.train.labels[..5], [9, 3, 7, 0, 9]);
        let mut digit = [0.0; 784];
        data.train.features.read(0, &mut digit);
        assert!(digit.contains(&1.0) && digit.contains(&0.0));
    }
}
